//! The words of a queue's cells.

use loom::sync::atomic::AtomicU64;

pub(super) struct Entries(Box<[AtomicU64]>);

impl Entries {
    pub(super) fn new(capacity: usize) -> Option<Entries> {
        Some(Entries((0..capacity).map(|_| AtomicU64::new(0)).collect()))
    }

    pub(super) fn at(&self, index: usize) -> &AtomicU64 {
        &self.0[index % self.0.len()]
    }
}
