//! jemalloc's size classes up to those that its thread caches hold, computed: four a doubling, at least 16 bytes apart.
//!
//! Asking jemalloc costs a call each time and, for a block, a walk down its address tree; a sample needs a
//! size class three times. The rule is that of jemalloc's `sc.h` for the usual quantum of 16 bytes and is
//! checked against `nallocx` in the tests of `backend`. No calls, no state.

/// Number of the classes computed here.
pub(super) const CLASSES: usize = 42;
/// Largest size of four a doubling; beyond it, sizes are whole pages.
const LARGEST: usize = 32 << 10;
/// The first of those: a sampled block of the largest class that thread caches hold is a class larger. Zero where
/// pages may be of several sizes.
const PAGED: usize = if cfg!(target_arch = "x86_64") { 36 << 10 } else { 0 };
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
        return (bytes <= PAGED).then_some(SizeClass { index: CLASSES - 1, bytes: PAGED });
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

/// The class below a class of so many bytes, if both are of these.
#[inline]
pub(super) fn before(bytes: usize) -> Option<usize> {
    match bytes {
        0..=16 => Some(8),
        17..=LARGEST => Some(bytes - (1 << lg_distance(bytes))),
        PAGED => Some(LARGEST),
        _ => None,
    }
}

/// log2 of the distance to the class below.
#[inline]
pub(super) fn lg_distance(bytes: usize) -> u32 {
    (bytes - 1).ilog2().saturating_sub(2).max(LG_QUANTUM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_numbered_without_gaps() {
        let mut numbers: Vec<usize> = (0..=LARGEST.max(PAGED)).filter_map(|bytes| Some(of(bytes)?.index)).collect();
        numbers.dedup();
        assert_eq!(numbers, (0..CLASSES - usize::from(PAGED == 0)).collect::<Vec<_>>());
        assert_eq!(of(LARGEST.max(PAGED) + 1), None);
    }
}
