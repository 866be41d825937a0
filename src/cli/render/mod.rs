//! Floor 4 of the CLI: answers as bytes. One trait, one file per format.

pub(crate) mod callers;
pub(crate) mod collected;
pub(crate) mod flame;
pub(crate) mod folded;
pub(crate) mod gperftools;
pub(crate) mod growth;
pub(crate) mod info;
pub(crate) mod json;
pub(crate) mod layout;
pub(crate) mod leaks;
pub(crate) mod pprof;
pub(crate) mod profile_json;
pub(crate) mod rss;
pub(crate) mod speedscope;
pub(crate) mod svg;
pub(crate) mod symbols;
pub(crate) mod text;
pub(crate) mod top;
pub(crate) mod tree;
pub(crate) mod units;

use std::io::{self, Write};

/// A format for answers of type `T`.
pub(crate) trait Renderer<T> {
    /// Writes the whole output; stops at the first error (a closed pipe is one).
    fn render(&self, answer: &T, out: &mut dyn Write) -> io::Result<()>;
}
