//! The words of an index, four of them: a look-up may visit each.

use loom::sync::atomic::AtomicU64;
use std::array;

pub(super) struct Entries([AtomicU64; 4]);

impl Entries {
    pub(super) fn new(_capacity: usize) -> Option<Entries> {
        Some(Entries(array::from_fn(|_| AtomicU64::new(0))))
    }

    pub(super) fn at(&self, index: usize) -> &AtomicU64 {
        &self.0[index % self.0.len()]
    }
}
