//! A lane: what one visit has of the store for itself, a set of counters and a free slot.
//!
//! A locked instruction costs some twenty cycles even where no other processor wants the word, and a sample with its
//! free made 22 of them. Who holds a lane, which costs one, counts in its set by plain loads and stores and takes the
//! slot that the last holder left there. Who gets none counts where everybody does.

use crate::tap::os::atomic::{AtomicU32, Ordering};
use crate::wire::live::counters::LANES;
use std::array;

/// A lane that the caller holds: nobody else has it before it is given back, a signal handler's visit included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane(usize);

impl Lane {
    /// The lane of this number, of which the caller is the only holder. Numbers begin anew at [`LANES`].
    pub(crate) const fn held(number: usize) -> Lane {
        Lane(number % LANES)
    }

    /// Its number, below [`LANES`].
    #[inline]
    pub(crate) const fn index(self) -> usize {
        self.0
    }
}

/// A free slot and one, 0: none. In a cache line of its own.
#[repr(align(64))]
struct Spare(AtomicU32);

/// The free slots that the last holders of the lanes left.
pub(crate) struct SpareSlots([Spare; LANES]);

impl SpareSlots {
    /// None yet.
    pub(crate) fn new() -> SpareSlots {
        SpareSlots(array::from_fn(|_| Spare(AtomicU32::new(0))))
    }

    /// The slot that lies in the lane.
    #[inline]
    pub(crate) fn take(&self, lane: Option<Lane>) -> Option<u32> {
        let Spare(place) = self.0.get(lane?.index())?;
        let slot = place.load(Ordering::Relaxed).checked_sub(1)?;
        place.store(0, Ordering::Relaxed);
        Some(slot)
    }

    /// Leaves a slot there. `false`: there is no lane, or one lies there.
    #[inline]
    pub(crate) fn put(&self, lane: Option<Lane>, slot: u32) -> bool {
        let Some(Spare(place)) = lane.and_then(|lane| self.0.get(lane.index())) else { return false };
        let is_free = place.load(Ordering::Relaxed) == 0;
        if is_free {
            place.store(slot + 1, Ordering::Relaxed);
        }
        is_free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lane_keeps_one_slot() {
        let spares = SpareSlots::new();
        let [one, other] = [3, LANES + 4].map(|number| Some(Lane::held(number)));
        assert!(spares.put(one, 0) && !spares.put(one, 7) && spares.put(other, 7) && !spares.put(None, 8));
        assert_eq!((spares.take(one), spares.take(one), spares.take(None)), (Some(0), None, None));
        assert_eq!((spares.take(Some(Lane::held(4))), spares.take(other)), (Some(7), None));
    }
}
