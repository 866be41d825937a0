//! A region of a few records in each section.

use super::publication;
use crate::wire::live::counters::Counter;
use crate::wire::live::layout::{Section, SectionId};
use crate::wire::live::words::Words;
use loom::sync::atomic::{AtomicU64, Ordering};

pub(crate) struct Region {
    words: Vec<AtomicU64>,
    capacity: usize,
}

impl Region {
    /// A region of `capacity` records in each section of records.
    pub(crate) fn of(capacity: usize) -> Region {
        let words = RECORDS.iter().map(|id| id.record_words() * capacity).sum();
        Region { words: (0..words).map(|_| AtomicU64::new(0)).collect(), capacity }
    }

    pub(crate) fn at(&self, index: usize) -> &AtomicU64 {
        &self.words[index]
    }

    pub(crate) fn section(&self, id: SectionId) -> Section {
        let before = RECORDS.iter().take_while(|&&other| other != id);
        let start = before.map(|id| id.record_words() * self.capacity).sum();
        Section { start, capacity: self.capacity, record_words: id.record_words() }
    }

    pub(crate) fn back(&self, _id: SectionId, _record: u32) -> bool {
        true
    }

    pub(crate) fn record<const N: usize>(&self, index: usize) -> Option<&[AtomicU64; N]> {
        self.words.get(index..)?.first_chunk()
    }

    pub(crate) fn count(&self, _counter: Counter, _amount: u64) {}

    pub(crate) fn note_used(&self, _id: SectionId, _count: u32) {}

    pub(crate) fn publish<const N: usize>(&self, at: usize, record: &[u64; N]) {
        let store = |(word, value): (usize, &u64)| self.at(at + 1 + word).store(*value, Ordering::Relaxed);
        self.publish_with(at, || record.iter().enumerate().for_each(store));
    }

    pub(crate) fn publish_with(&self, at: usize, write: impl FnOnce()) {
        publication::publish(self.at(at), write);
    }

    pub(crate) fn withdraw(&self, at: usize) {
        publication::withdraw(self.at(at));
    }

    pub(crate) fn live_word(&self, at: usize) -> Option<u64> {
        publication::live_word(self.at(at))
    }

    pub(crate) fn is_live(&self, at: usize) -> bool {
        publication::is_live(self.at(at))
    }
}

/// The sections that the models use.
const RECORDS: [SectionId; 5] =
    [SectionId::Stacks, SectionId::Chunks, SectionId::Threads, SectionId::JavaMethods, SectionId::Names];

impl Words for Region {
    fn len(&self) -> usize {
        self.words.len()
    }

    fn word(&self, index: usize) -> u64 {
        self.at(index).load(Ordering::Acquire)
    }
}
