//! A heap profile in memory, in pprof's nouns, what puts it together, and the parser of dumps.
//!
//! Pure: readers take `impl BufRead`, nothing here opens a file, knows a terminal or guesses a name.
//! Values are kept twice: as written in the dump (`Counts`) and unbiased (`Estimate`, what jeprof
//! shows), because only estimates may be added up over stacks and only counts can be checked.

pub(crate) mod builder;
pub(crate) mod filter;
pub(crate) mod heap_v2;
pub(crate) mod history;
pub(crate) mod labels;
pub(crate) mod location;
pub(crate) mod mapped;
pub(crate) mod mapped_stack;
pub(crate) mod mapping;
pub(crate) mod merge;
pub(crate) mod metadata;
pub(crate) mod metric;
#[allow(clippy::module_inception, reason = "the folder is called by its main noun, and so is the noun's file")]
mod profile;
pub(crate) mod sample;
pub(crate) mod series;
pub(crate) mod shape;
mod thread;
pub(crate) mod threads;
pub(crate) mod timestamp;
pub(crate) mod warnings;

pub(crate) use profile::Profile;
pub(crate) use thread::Thread;
