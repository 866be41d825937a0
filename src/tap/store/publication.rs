//! Publication of a record: a reader in another process sees it whole or not at all.
//!
//! The state word of a record is stored first when the record begins to change and last when it is whole. A reader that
//! finds the same published word before and after it read the rest has read one whole record: a change in between
//! leaves another generation. The slot belongs to the caller, so there is one writer.

use crate::tap::os::atomic::{AtomicU64, Ordering, fence};
use crate::wire::live::state::{self, BUSY, FREE, LIVE};

/// Publishes the record whose other words `write` stores, with relaxed stores.
#[inline]
pub(super) fn publish(state_word: &AtomicU64, write: impl FnOnce()) {
    let generation = state::generation(state_word.load(Ordering::Relaxed)) + 1;
    state_word.store(state::word(BUSY, generation), Ordering::Relaxed);
    // A reader that sees any of the stores below also sees BUSY when it looks at the state again.
    fence(Ordering::Release);
    write();
    state_word.store(state::word(LIVE, generation), Ordering::Release);
}

/// Takes the record back: its words may be reused afterwards.
#[inline]
pub(super) fn withdraw(state_word: &AtomicU64) {
    let generation = state::generation(state_word.load(Ordering::Relaxed));
    state_word.store(state::word(FREE, generation), Ordering::Relaxed);
    fence(Ordering::Release);
}

/// Takes the record back that was live in this state, where several threads may want to. `false`: it is no longer that
/// one.
#[inline]
pub(super) fn withdraw_if(state_word: &AtomicU64, word: u64) -> bool {
    let free = state::word(FREE, state::generation(word));
    // Acquire: what its owner wrote came before. The fence is `withdraw`'s.
    let done = state_word.compare_exchange(word, free, Ordering::Acquire, Ordering::Relaxed).is_ok();
    fence(Ordering::Release);
    done
}

/// The state word if the record is live.
#[inline]
pub(super) fn live_word(state_word: &AtomicU64) -> Option<u64> {
    Some(state_word.load(Ordering::Acquire)).filter(|&word| state::state(word) == LIVE)
}

/// Whether the record is live.
#[inline]
pub(super) fn is_live(state_word: &AtomicU64) -> bool {
    state::state(state_word.load(Ordering::Acquire)) == LIVE
}
