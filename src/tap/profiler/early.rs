//! Mappings from before there is a live profile: a server maps its shared memory first of all.
//!
//! The first few wait here with their native frames until the thread's next allocation makes the profile. A call that
//! maps may come from a signal handler, so it may not make it itself. No lock: a place is claimed and given back by its
//! state. One that is unmapped meanwhile, if only in part, is forgotten.

use crate::tap::stack::StackTrace;
use crate::tap::store::Span;
use crate::wire::live::mapped::MappingRecord;
use crate::wire::live::supply::Supply;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Mappings that wait.
const PLACES: usize = 16;
/// Frames of each.
pub(super) const FRAMES: usize = 48;
const RECORD: usize = 7;

const FREE: u32 = 0;
const BUSY: u32 = 1;
const WHOLE: u32 = 2;

/// Those of the process. All zeros, so that they take no room in the file.
pub(crate) static EARLY: Early = Early { count: AtomicUsize::new(0), places: [const { Place::new() }; PLACES] };

/// The places.
pub(crate) struct Early {
    /// How many are in use, about.
    count: AtomicUsize,
    places: [Place; PLACES],
}

struct Place {
    state: AtomicU32,
    supply: AtomicU32,
    depth: AtomicUsize,
    record: [AtomicU64; RECORD],
    frames: [AtomicU64; FRAMES],
}

impl Place {
    const fn new() -> Place {
        Place {
            state: AtomicU32::new(FREE),
            supply: AtomicU32::new(0),
            depth: AtomicUsize::new(0),
            record: [const { AtomicU64::new(0) }; RECORD],
            frames: [const { AtomicU64::new(0) }; FRAMES],
        }
    }

    fn record(&self) -> MappingRecord {
        MappingRecord::unpack(self.record.each_ref().map(|word| word.load(Ordering::Relaxed)))
    }

    fn goes_from(&self, state: u32, to: u32) -> bool {
        // Acquire: what the place holds was written before.
        self.state.compare_exchange(state, to, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
}

impl Early {
    /// Whether any waits.
    pub(super) fn has_any(&self) -> bool {
        self.count.load(Ordering::Relaxed) != 0
    }

    /// Keeps one. Without a place it is lost.
    pub(super) fn keep(&self, record: &MappingRecord, supply: Supply, trace: &StackTrace) {
        let Some(place) = self.places.iter().find(|place| place.goes_from(FREE, BUSY)) else { return };
        self.count.fetch_add(1, Ordering::Relaxed);
        place.supply.store(supply as u32, Ordering::Relaxed);
        place.depth.store(trace.pcs().len().min(FRAMES), Ordering::Relaxed);
        place.record.iter().zip(record.pack()).for_each(|(to, word)| to.store(word, Ordering::Relaxed));
        place.frames.iter().zip(trace.pcs()).for_each(|(to, pc)| to.store(*pc, Ordering::Relaxed));
        place.state.store(WHOLE, Ordering::Release);
    }

    /// A range is unmapped.
    pub(super) fn forget(&self, span: Span) {
        for place in &self.places {
            if place.state.load(Ordering::Acquire) == WHOLE {
                let record = place.record();
                if record.start < span.end && span.start < record.end() && place.goes_from(WHOLE, BUSY) {
                    self.give(place);
                }
            }
        }
    }

    /// Takes all out: `each` gets them, with their frames in `trace`.
    pub(super) fn take(&self, trace: &mut StackTrace, mut each: impl FnMut(&MappingRecord, Supply, &StackTrace)) {
        for place in self.places.iter().filter(|place| place.goes_from(WHOLE, BUSY)) {
            trace.cut(0);
            let frames = place.frames.iter().take(place.depth.load(Ordering::Relaxed));
            trace.push_all(frames.map(|frame| frame.load(Ordering::Relaxed)));
            let supply = Supply::of_number(place.supply.load(Ordering::Relaxed) as u8);
            let record = place.record();
            self.give(place);
            each(&record, supply, trace);
        }
    }

    /// Forgets all, in a fork child: what its parent mapped is not its own.
    pub(super) fn clear(&self) {
        self.places.iter().for_each(|place| place.state.store(FREE, Ordering::Relaxed));
        self.count.store(0, Ordering::Relaxed);
    }

    fn give(&self, place: &Place) {
        place.state.store(FREE, Ordering::Release);
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_comes_out_once_unless_it_was_unmapped() {
        let early = Early { count: AtomicUsize::new(0), places: [const { Place::new() }; PLACES] };
        let record = |n: u64| MappingRecord { start: n << 20, bytes: 1 << 20, ..MappingRecord::default() };
        let mut trace = StackTrace::new(64);
        assert_eq!(trace.push_all(1..=60), 60);
        (1..20).for_each(|n| early.keep(&record(n), Supply::Thread, &trace));
        early.forget(Span { start: 3 << 20, end: (3 << 20) + 4096 });
        let mut seen = Vec::new();
        early.take(&mut StackTrace::new(64), |record, supply, trace| {
            assert_eq!((supply, trace.pcs().len(), trace.pcs()[47]), (Supply::Thread, FRAMES, 48));
            seen.push(record.start >> 20);
        });
        assert_eq!(seen, [&[1, 2][..], &(4..=16).collect::<Vec<u64>>()].concat());
        assert!(!early.has_any());
        early.take(&mut trace, |_, _, _| unreachable!());
        early.keep(&record(1), Supply::Mapping, &trace);
        early.clear();
        assert!(!early.has_any());
    }
}
