//! The live region: the layout of the one file that is heaptap's interface.
//!
//! A region is an array of 64-bit words in host byte order. Its writer is the tap, which stores
//! with atomic operations while the program runs; its readers (the tap's own dumps, the CLI in
//! another process, recovery after death) take a [`Snapshot`](snapshot::Snapshot) of it at any
//! instant, without the writer's help. Records never move; they refer to each other by index.
//!
//! ```text
//! | header 4 KiB | counters | threads | java methods | strings | stacks | chunks | samples |
//! ```
//!
//! Each section has a fixed capacity, set when the region is made, and grows from its start: only
//! `used` records of it may hold anything. Every record begins with a state word (see [`state`])
//! which the writer stores *last*, with release order, when the record is whole, and *first* when
//! it takes the record back; so a reader that finds the same published word before and after
//! reading the rest has read one whole record.

pub(crate) mod counters;
pub(crate) mod layout;
pub(crate) mod records;
pub(crate) mod snapshot;
pub(crate) mod state;

/// What a region can be read from: a mapping that changes meanwhile, or a copy of one.
pub(crate) trait Words {
    /// Number of words.
    fn len(&self) -> usize;

    /// The word at `index`, 0 beyond the end. Loads are at least acquire loads.
    fn word(&self, index: usize) -> u64;
}

impl Words for [u64] {
    fn len(&self) -> usize {
        <[u64]>::len(self)
    }

    fn word(&self, index: usize) -> u64 {
        self.get(index).copied().unwrap_or(0)
    }
}
