//! The control file: how `heaptap dump`, `start`, `stop` … reach a running tap.
//!
//! A page on tmpfs beside the region, `<pid>.<token>.control`, mode 0600 in a 0700 directory: whoever may
//! write it may control the process. No socket, no signal. The CLI writes verb and argument, then a new
//! request number; the keeper, which looks once a second, acts and writes result and path, then the number
//! as its answer. One request at a time: who finds one unanswered waits.
//!
//! ```text
//! word 0 magic | 1 request | 2 verb | 3 argument | 4 answer | 5 result | 6 path bytes | 8… path
//! ```

/// First word: "HEAPCTL\1" read as a little-endian number.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"HEAPCTL\x01");
/// Bytes of the file.
pub(crate) const BYTES: usize = 4096;
/// Word that holds the number of the newest request.
pub(crate) const REQUEST: usize = 1;
/// Word that holds what is asked for.
pub(crate) const VERB: usize = 2;
/// Word that holds its argument.
pub(crate) const ARGUMENT: usize = 3;
/// Word that holds the number of the newest answered request.
pub(crate) const ANSWER: usize = 4;
/// Word that holds the result.
pub(crate) const RESULT: usize = 5;
/// Word that holds the length of the path.
pub(crate) const PATH_BYTES: usize = 6;
/// First word of the path that a dump got.
pub(crate) const PATH: usize = 8;

/// What can be asked for.
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
}

impl Verb {
    /// The verb of this number.
    pub(crate) fn from_number(number: u64) -> Option<Verb> {
        [Verb::Dump, Verb::Start, Verb::Stop, Verb::Rate, Verb::Reset].into_iter().find(|verb| *verb as u64 == number)
    }
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Outcome {
    /// Done.
    Done = 1,
    /// Tried in vain; the process's stderr says why.
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
        assert_eq!([0, 1, 5, 6].map(Verb::from_number), [None, Some(Verb::Dump), Some(Verb::Reset), None]);
        assert_eq!([0, 3, 4].map(Outcome::from_number), [None, Some(Outcome::Refused), None]);
    }
}
