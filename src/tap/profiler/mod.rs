//! The profiler, THE static of the tap: an allocation becomes a sample (`sampling`), a free takes it back (`retire`).
//!
//! ```text
//! sample: guard held, wait drawn → block in the reserved range → counted → stack → store → named in the block's header
//! resize: block in the range → memory resized → record taken back → sampled anew if a wait is over
//! free:   block in the range → header → record taken back → memory given back
//! ```
//!
//! **Lock order**: none. Sampling takes try-locks only (the stack table's sweep), freeing
//! takes no lock, and nothing is held across unwinding or into jemalloc. The dump lock (`dump`) is
//! taken by the keeper and by an exiting thread, with a deadline, never while sampling.
//!
//! Trouble costs one counted sample and nothing else: the caller gets `None` and lets jemalloc serve the request.

mod capture;
mod dumps;
mod early;
mod failures;
mod file_groups;
mod life;
mod mapped;
mod probes;
#[allow(clippy::module_inception, reason = "the folder is called by its main noun, and so is the noun's file")]
mod profiler;
mod request;
mod retire;
mod sampling;
mod scratch;
mod stopwatch;
mod store_cell;
mod youth;

#[cfg_attr(test, allow(unused_imports, reason = "the exports, which use it, are not part of unit tests"))]
pub(crate) use mapped::Source;
pub(crate) use profiler::{PROFILER, STOP};
pub(crate) use request::{Request, Taken, Wait};
pub(crate) use scratch::SCRATCH;
pub(crate) use youth::is_look_due;
