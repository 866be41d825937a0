//! A loaded object, and its unwind tables as they lie in memory.
//!
//! # Safety
//! Plain reads are of objects that stay, or, where the kernel copies nothing for us and the walk rests on no guess, of
//! an object one of whose functions is on the stack, so that it is not being unloaded.

#![allow(unsafe_code)]

use core::slice;

use super::eh_frame_hdr::Tables;
use super::elf::{self, Range};
use super::reader::Segment;
use crate::wire::elf::{PT_PHDR, SEGMENT_BYTES, Segments};

/// A loaded object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// Its mapping.
    pub(super) mapping: Range,
    /// Where its unwind tables are, if it has any.
    pub(super) tables: Option<UnwindTables>,
    /// It is there as long as the process is.
    pub(super) is_permanent: bool,
}

/// Where unwind tables lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnwindTables {
    /// The mapped segment that holds them, if it is known yet.
    pub(super) segment: Option<Range>,
    /// Address of `.eh_frame_hdr` in it.
    pub(super) header: usize,
}

impl Object {
    /// Hands the unwind tables to `use_tables`, which reads them plainly: see the head.
    pub(super) fn with_tables<R>(&self, use_tables: impl FnOnce(&Tables<'_>) -> R) -> Option<R> {
        let UnwindTables { segment, header } = self.tables?;
        let segment = segment.or_else(|| segment_of(self.mapping.start, header))?;
        let length = segment.end.checked_sub(segment.start)?;
        // SAFETY: a readable segment of a loaded object, unwritable or not written to; see the head.
        let bytes = unsafe { slice::from_raw_parts(segment.start as *const u8, length) };
        Some(use_tables(&Tables { segment: Segment { bytes, address: segment.start }, header }))
    }
}

/// The segment with the tables whose header lies at `header` in the object mapped at `start`.
pub(super) fn segment_of(start: usize, header: usize) -> Option<Range> {
    let (segments, bias) =
        main_program().filter(|main| elf::eh_frame_header(main.0, main.1) == Some(header)).or_else(|| {
            // SAFETY: the loader says that an object is mapped at `start`, and it is in use (see the head). It
            // maps whole objects; only the program, which the kernel mapped, may begin elsewhere.
            let segments = unsafe { elf::segments(start) }?;
            Some((segments, elf::bias(segments, start)?))
        })?;
    elf::segment_of(segments, bias, header)
}

/// The program headers of the executable, from the kernel's auxiliary vector, and its bias.
///
/// If it has gaps between its segments (linked for large pages), the loader names the segment of a
/// pc alone, and the ELF header is not at its start.
fn main_program() -> Option<(Segments<'static>, usize)> {
    // SAFETY: reads a vector that never changes.
    let start = unsafe { libc::getauxval(libc::AT_PHDR) } as usize;
    // SAFETY: as above.
    let count = unsafe { libc::getauxval(libc::AT_PHNUM) } as usize;
    if start == 0 {
        return None;
    }
    let bytes = count.checked_mul(SEGMENT_BYTES)?;
    // SAFETY: the kernel's word for that many headers of the executable, which stays mapped.
    let segments = Segments::new(unsafe { slice::from_raw_parts(start as *const u8, bytes) });
    let table = segments.first(PT_PHDR)?;
    Some((segments, start.wrapping_sub(table.address as usize)))
}
