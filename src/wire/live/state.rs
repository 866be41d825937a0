//! The state word that begins every record: state in the low byte, generation above.
//!
//! The generation grows whenever a slot is given to a new record, so a reader can tell that the
//! record it has half read is not the one it began with, and a stale reference from its target.

/// Nothing here; other words of the record mean nothing.
pub(crate) const FREE: u64 = 0;
/// Being written or taken back; a reader skips it and counts it.
pub(crate) const BUSY: u64 = 1;
/// Whole and valid.
pub(crate) const LIVE: u64 = 2;

const STATE_BITS: u32 = 8;

/// Joins a state and a generation.
pub(crate) fn word(state: u64, generation: u64) -> u64 {
    generation << STATE_BITS | state
}

/// The state of a state word.
pub(crate) fn state(word: u64) -> u64 {
    word & ((1 << STATE_BITS) - 1)
}

/// The generation of a state word.
pub(crate) fn generation(word: u64) -> u64 {
    word >> STATE_BITS
}
