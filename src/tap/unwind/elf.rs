//! Segments of loaded objects: where their unwind tables and their code lie.
//!
//! Cold paths only. Reads headers that the loader has mapped (`wire::elf`); allocates and locks nothing.
//!
//! # Safety
//! Memory is read in one place: the first page of an object's mapping. Program headers that do not lie in it are
//! refused.

#![allow(unsafe_code)]

use core::slice;

use crate::wire::elf::{PF_R, PF_X, PT_GNU_EH_FRAME, Segment, Segments};

/// What is looked at of an object.
pub(super) const FIRST_PAGE: usize = 4096;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// First address.
    pub(super) start: usize,
    /// One past the last.
    pub(super) end: usize,
}

impl Range {
    /// Whether the address lies in it.
    pub(super) fn contains(&self, address: usize) -> bool {
        self.start <= address && address < self.end
    }
}

/// The segments of the object whose mapping starts at `start`.
///
/// # Safety
/// At least one readable page must be mapped at `start`, and stay mapped while the segments are used.
pub(super) unsafe fn segments<'a>(start: usize) -> Option<Segments<'a>> {
    // SAFETY: the caller vouches for one page.
    Segments::of_object(unsafe { slice::from_raw_parts(start as *const u8, FIRST_PAGE) })
}

/// The difference between addresses in memory and in these segments, if the first of them lies at `start`.
pub(super) fn bias(segments: Segments<'_>, start: usize) -> Option<usize> {
    let first = segments.loaded().next()?;
    Some(start.wrapping_sub(first.address as usize & !(FIRST_PAGE - 1)))
}

/// Address of `.eh_frame_hdr`.
pub(super) fn eh_frame_header(segments: Segments<'_>, bias: usize) -> Option<usize> {
    Some(bias.wrapping_add(segments.first(PT_GNU_EH_FRAME)?.address as usize))
}

/// The part that is read from the file of the readable segment that holds this address.
pub(super) fn segment_of(segments: Segments<'_>, bias: usize, address: usize) -> Option<Range> {
    let readable = segments.loaded().filter(|segment| segment.flags & PF_R != 0);
    readable.map(|segment| range(&segment, bias, segment.file_bytes)).find(|range| range.contains(address))
}

/// From the first to the last executable address.
pub(super) fn code_range(segments: Segments<'_>, bias: usize) -> Option<Range> {
    around(segments.loaded().filter(|segment| segment.flags & PF_X != 0), bias)
}

/// From the first address to the end of the last segment.
pub(super) fn whole_range(segments: Segments<'_>, bias: usize) -> Option<Range> {
    around(segments.loaded(), bias)
}

fn around(segments: impl Iterator<Item = Segment>, bias: usize) -> Option<Range> {
    segments
        .map(|segment| range(&segment, bias, segment.memory_bytes))
        .reduce(|all, next| Range { start: all.start.min(next.start), end: all.end.max(next.end) })
}

/// The first `size` bytes of a segment.
pub(super) fn range(segment: &Segment, bias: usize, size: u64) -> Range {
    let start = bias.wrapping_add(segment.address as usize);
    Range { start, end: start.saturating_add(size as usize) }
}
