//! jemalloc's size classes up to 32 KiB, computed: four a doubling, at least 16 bytes apart.
//!
//! Asking jemalloc costs a call each time. The rule is that of jemalloc's `sc.h` for the usual quantum of 16
//! bytes; no option changes it. It is held against `nallocx` before the first sample ([`facts`](super::facts)). Above,
//! classes depend on options, and jemalloc is asked. No calls, no state.

/// Number of the classes computed here.
pub(super) const CLASSES: usize = 41;
/// The largest one.
pub(super) const LARGEST: usize = 32 << 10;
/// log2 of the smallest distance of two classes.
const LG_QUANTUM: u32 = 4;

/// One size class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SizeClass {
    /// Number, from 0.
    pub(super) index: usize,
    /// Bytes of a block.
    pub(super) bytes: usize,
}

/// The class of a request of so many bytes, if it is one of these.
#[inline]
pub(super) fn of(bytes: usize) -> Option<SizeClass> {
    if bytes > LARGEST {
        return None;
    }
    if bytes <= 8 {
        return Some(SizeClass { index: 0, bytes: 8 });
    }
    // The doubling that the size is in ends at a power of two; a quarter of its half is the distance.
    let lg = (bytes * 2 - 1).ilog2();
    let lg_distance = lg.saturating_sub(3).max(LG_QUANTUM);
    let steps = (bytes + (1 << lg_distance) - 1) >> lg_distance;
    Some(SizeClass { index: (lg_distance - LG_QUANTUM) as usize * 4 + steps, bytes: steps << lg_distance })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_numbered_without_gaps() {
        let mut numbers: Vec<usize> = (0..=LARGEST).filter_map(|bytes| Some(of(bytes)?.index)).collect();
        numbers.dedup();
        assert_eq!(numbers, (0..CLASSES).collect::<Vec<_>>());
        assert_eq!(of(LARGEST + 1), None);
    }
}
