//! What stdout and stderr are: width, colour, and a progress line for what takes longer.

use crate::cli::render::layout::Layout;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Silence before a progress line appears.
const PATIENCE: Duration = Duration::from_secs(1);

/// The page that stdout is.
pub(super) fn layout() -> Layout {
    Layout { width: width(), has_colour: has_colour() }
}

/// Columns to write in: the terminal's, between 80 and 120.
fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let real = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    columns.or_else(real).unwrap_or(100).clamp(80, 120)
}

/// Whether stdout shows bold and dim text (see no-color.org).
fn has_colour() -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    !forbidden && !dumb && io::stdout().is_terminal()
}

/// A line on stderr that says how far a long step is; only on a terminal, and gone at the end.
pub(super) struct Progress {
    what: &'static str,
    began: Instant,
    is_shown: bool,
    is_terminal: bool,
}

impl Progress {
    /// Nothing is written before [`PATIENCE`] has passed.
    pub(super) fn new(what: &'static str) -> Progress {
        Progress { what, began: Instant::now(), is_shown: false, is_terminal: io::stderr().is_terminal() }
    }

    /// `done` of `all` steps are over.
    pub(super) fn at(&mut self, done: usize, all: usize) {
        if self.is_terminal && self.began.elapsed() > PATIENCE {
            self.is_shown = true;
            // Nothing is lost if stderr is closed.
            let _ = write!(io::stderr(), "\r{} {done} of {all} …\u{1b}[K", self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}
