//! The control file: how `heaptap dump`, `start`, `stop` … reach a running tap.
//!
//! A file of one page on tmpfs beside the region, `<pid>.<token>.control`, mode 0600 in a 0700 directory: the kernel
//! decides who may write it, and with it control the process. No socket, no signal. The CLI writes verb and argument,
//! then a new request number. The keeper looks once a second, acts, and writes result and path, then the request's
//! number as its answer. One request at a time: a CLI that finds one unanswered waits.
//!
//! This file is the layout; `tap/keeper/control.rs` answers, `cli/attach/control.rs` asks.
//!
//! ```text
//! word 0 magic | 1 request | 2 verb | 3 argument | 4 answer | 5 result | 6 path bytes | 8… path
//! ```

use super::word;

/// First word: "HEAPCTL\1" read as a little-endian number.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"HEAPCTL\x01");
/// Bytes of the file.
pub(crate) const BYTES: usize = 4096;
/// Bytes that a path may have.
pub(crate) const PATH_BYTES: usize = BYTES - word::bytes_of(Word::Path as usize);

/// The words of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Word {
    /// [`MAGIC`].
    Magic = 0,
    /// Number of the newest request.
    Request = 1,
    /// The request: a [`Verb`].
    Verb = 2,
    /// The verb's argument.
    Argument = 3,
    /// Number of the newest request that was answered.
    Answer = 4,
    /// How it went: an [`Outcome`].
    Result = 5,
    /// Bytes of the path.
    PathBytes = 6,
    /// First word of the path of the dump that was written.
    Path = 8,
}

impl Word {
    /// Offset of the word in the file, bytes.
    pub(crate) const fn offset(self) -> u64 {
        word::offset_of(self as usize)
    }
}

/// A request to the tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Verb {
    /// Write a dump now.
    Dump = 1,
    /// Sample.
    Start = 2,
    /// Do not sample; what is live stays recorded.
    Stop = 3,
    /// Sample one in 2^argument bytes from now on.
    Rate = 4,
    /// Forget all samples, and begin again.
    Reset = 5,
    /// Have the allocators give back what they keep unused, as `malloc_trim(3)` does.
    Trim = 6,
}

impl Verb {
    /// The verb of this number.
    pub(crate) fn from_number(number: u64) -> Option<Verb> {
        [Verb::Dump, Verb::Start, Verb::Stop, Verb::Rate, Verb::Reset, Verb::Trim]
            .into_iter()
            .find(|verb| *verb as u64 == number)
    }
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Outcome {
    /// Done.
    Done = 1,
    /// Tried, and failed; the process's stderr says why.
    Failed = 2,
    /// Unknown verb, or an argument out of range.
    Refused = 3,
}

impl Outcome {
    /// The outcome of this number.
    pub(crate) fn from_number(number: u64) -> Option<Outcome> {
        [Outcome::Done, Outcome::Failed, Outcome::Refused].into_iter().find(|outcome| *outcome as u64 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_back() {
        assert_eq!([0, 1, 6, 7].map(Verb::from_number), [None, Some(Verb::Dump), Some(Verb::Trim), None]);
        assert_eq!([0, 3, 4].map(Outcome::from_number), [None, Some(Outcome::Refused), None]);
    }
}
