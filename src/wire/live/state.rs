//! The state word that begins every record: state in the low byte, generation above.
//!
//! The generation grows whenever the slot takes a new record, so a reader can tell that the
//! record it has half read is not the one it began with, and a stale reference from its target.

use super::words::Words;

/// Nothing here; other words of the record mean nothing.
pub(crate) const FREE: u64 = 0;
/// Being written or taken back; a reader skips it and counts it.
pub(crate) const BUSY: u64 = 1;
/// Whole and valid.
pub(crate) const LIVE: u64 = 2;

const STATE_BITS: u32 = 8;

/// The state of a record, as a reader finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading<const N: usize> {
    /// No record.
    Free,
    /// A record that was changing.
    Torn,
    /// The words after the state word, and that word: all of one record.
    Whole([u64; N], u64),
}

/// Reads the record at a word while its writer goes on.
pub(crate) fn read<const N: usize>(words: &(impl Words + ?Sized), at: usize) -> Reading<N> {
    let before = words.word(at);
    match state(before) {
        FREE => return Reading::Free,
        LIVE => {}
        _ => return Reading::Torn,
    }
    let mut record = [0; N];
    for (offset, word) in record.iter_mut().enumerate() {
        *word = words.word(at + 1 + offset);
    }
    if words.word_again(at) == before { Reading::Whole(record, before) } else { Reading::Torn }
}

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
