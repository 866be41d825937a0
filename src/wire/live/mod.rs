//! The live region: the layout of the one file that is heaptap's interface.
//!
//! A region is an array of 64-bit words in host byte order. Its writer is the tap, which stores
//! with atomic operations while the program runs; its readers (the tap's own dumps, the CLI in
//! another process, recovery after death) take a [`Snapshot`](snapshot::Snapshot) of it at any
//! instant, without the writer's help. Records never move; they refer to each other by index.
//!
//! ```text
//! | header 4 KiB | counters | text | threads | java methods | strings | stacks | chunks | samples |
//! ```
//!
//! Each section has a fixed capacity, set when the region is made, and grows from its start: only
//! `used` records of it may hold anything. Every record begins with a state word (see [`state`])
//! which the writer stores *last*, with release order, when the record is whole, and *first* when
//! it takes the record back; so a reader that finds the same published word before and after
//! reading the rest has read one whole record.

pub(crate) mod copy;
pub(crate) mod counters;
pub(crate) mod layout;
pub(crate) mod mirror;
pub(crate) mod records;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod text;

/// What a region can be read from: a mapping that changes meanwhile, or a copy of one.
pub(crate) trait Words {
    /// Number of words.
    fn len(&self) -> usize;

    /// The word at `index`, 0 beyond the end. Loads are at least acquire loads.
    fn word(&self, index: usize) -> u64;

    /// The word at `index` as it is later: not before anything that [`word`](Self::word) has returned.
    fn word_again(&self, index: usize) -> u64 {
        self.word(index)
    }
}

/// Two copies of a region, the second begun when the first was complete: what a reader in another
/// process makes. A record whose state word is the same in both was whole in the first.
pub(crate) struct Copies {
    /// The first copy.
    pub(crate) first: Vec<u64>,
    /// The second.
    pub(crate) second: Vec<u64>,
}

impl Words for Copies {
    fn len(&self) -> usize {
        self.first.len()
    }

    fn word(&self, index: usize) -> u64 {
        self.first.as_slice().word(index)
    }

    fn word_again(&self, index: usize) -> u64 {
        self.second.as_slice().word(index)
    }
}

impl Words for [u64] {
    fn len(&self) -> usize {
        <[u64]>::len(self)
    }

    fn word(&self, index: usize) -> u64 {
        self.get(index).copied().unwrap_or(0)
    }
}
