//! Floor 4 of the CLI: answers as bytes. One trait, one file per format.

pub(crate) mod json;
pub(crate) mod text;
pub(crate) mod units;

use crate::cli::analyze::report::Report;
use crate::cli::profile::series::Series;
use std::io::{self, Write};

/// What every format is made from.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// The named profile and its history.
    pub(crate) series: &'a Series,
    /// The answer worked out from it.
    pub(crate) report: &'a Report,
}

/// A format.
pub(crate) trait Renderer {
    /// Writes the whole output; stops at the first error (a closed pipe is one).
    fn render(&self, view: View<'_>, out: &mut dyn Write) -> io::Result<()>;
}
