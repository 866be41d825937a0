//! A value under a key in two words that all threads read and write without a lock.
//!
//! The words are `{key ^ spread(value), value}`, both relaxed. A reader that sees halves of two writes computes a key
//! that is not the one it looks for, and misses. Hence no ordering is needed: a value is the whole truth about its key
//! and points to nothing. Values are not zero: two words of zeros hold nothing. A model in `tests/loom` runs this file.

use crate::tap::hash::spread;
use crate::tap::os::atomic::{AtomicU64, Ordering::Relaxed};

/// The two words: check, value.
pub(super) type Pair = [AtomicU64; 2];

/// The value under this key.
#[inline(always)]
pub(super) fn get([check, value]: &Pair, key: u64) -> Option<u64> {
    let value = value.load(Relaxed);
    (check.load(Relaxed) ^ spread(value) == key && value != 0).then_some(value)
}

/// The key that the words hold a value for; of an empty pair zero, of a torn one any.
#[inline(always)]
pub(super) fn key([check, value]: &Pair) -> u64 {
    check.load(Relaxed) ^ spread(value.load(Relaxed))
}

/// Stores a value over whatever is there.
#[inline(always)]
pub(super) fn put([check, stored]: &Pair, key: u64, value: u64) {
    check.store(key ^ spread(value), Relaxed);
    stored.store(value, Relaxed);
}
