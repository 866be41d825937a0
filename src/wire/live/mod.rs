//! The live region: the layout of the one file that is heaptap's interface.
//!
//! A region is an array of 64-bit words in host byte order. Its writer is the tap, which stores
//! with atomic operations while the program runs; its readers (the tap's own dumps, the CLI in
//! another process, recovery after death) take a [`Snapshot`](snapshot::Snapshot) of it at any
//! instant, without the writer's help. Records never move; they refer to each other by index.
//!
//! ```text
//! | header 4 KiB | counters | text | timeline | events | threads | java methods | names | rows | stacks | chunks
//! | samples | mappings |
//! ```
//!
//! Each section has a fixed capacity, set when the region is made, and grows from its start: only
//! `used` records of it may hold anything. Every record begins with a state word (see [`state`])
//! which the writer stores *last*, with release order, when the record is whole, and *first* when
//! it takes the record back; so a reader that finds the same published word before and after
//! reading the rest has read one whole record.

pub(crate) mod copy;
pub(crate) mod counters;
pub(crate) mod failures;
pub(crate) mod history;
pub(crate) mod layout;
pub(crate) mod mapped;
pub(crate) mod mirror;
mod occasion;
pub(crate) mod records;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod supply;
pub(crate) mod text;
pub(crate) mod totals;
pub(crate) mod words;
