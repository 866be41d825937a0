//! Why a file is no profile. Anything less than that is a warning in the profile.

use std::fmt;
use std::io;

/// Why a file could not be read as a profile at all.
#[derive(Debug)]
pub(crate) enum ParseError {
    /// Reading failed; what came before the line is not enough to show.
    Read {
        /// The line that could not be read.
        line: u64,
        /// What the system said.
        error: io::Error,
    },
    /// The file holds nothing.
    Empty,
    /// The first line is of no kind that we know.
    NotAProfile {
        /// Its number.
        line: u64,
        /// Its beginning.
        text: String,
    },
    /// The header gives no usable sampling distance.
    BadPeriod {
        /// Its number.
        line: u64,
        /// What stood there.
        text: String,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::Read { line, error } => write!(f, "line {line}: {error}"),
            ParseError::Empty => {
                f.write_str("the file is empty: the process died, or the disk was full, before it was written")
            }
            ParseError::NotAProfile { line, text } => {
                write!(f, "line {line}: not a jemalloc heap profile (expected `heap_v2/…`, found `{text}`)")
            }
            ParseError::BadPeriod { line, text } => write!(f, "line {line}: no sampling distance in `{text}`"),
        }
    }
}

impl std::error::Error for ParseError {}
