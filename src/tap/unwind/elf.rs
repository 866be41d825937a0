//! Program headers of loaded objects: where their unwind tables and their code lie.
//!
//! Floor 3, cold paths only. Reads headers that the loader has mapped; allocates and locks nothing.
//!
//! # Safety
//! Memory is read in two places: the ELF header at the start of an object's mapping, and the program
//! headers behind it, which are refused unless they lie in the same first page.

#![allow(unsafe_code)]

use core::slice;

use libc::{Elf64_Ehdr, Elf64_Phdr, PF_R, PF_X, PT_GNU_EH_FRAME, PT_LOAD};

/// Headers beyond this are not looked at (they would leave the first page of the mapping).
const FIRST_PAGE: usize = 4096;

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

/// The program headers of the object whose mapping starts at `start`.
///
/// # Safety
/// At least one readable page must be mapped at `start`, and stay mapped while the slice is used.
pub(super) unsafe fn program_headers<'a>(start: usize) -> Option<&'a [Elf64_Phdr]> {
    // SAFETY: the caller vouches for one page, which is page-aligned, as every mapping is.
    let header = unsafe { (start as *const Elf64_Ehdr).read() };
    let offset = usize::try_from(header.e_phoff).ok()?;
    let count = usize::from(header.e_phnum);
    let end = count.checked_mul(size_of::<Elf64_Phdr>())?.checked_add(offset)?;
    let is_ours = header.e_ident.starts_with(b"\x7fELF\x02\x01")
        && usize::from(header.e_phentsize) == size_of::<Elf64_Phdr>()
        && offset.is_multiple_of(align_of::<Elf64_Phdr>());
    if !is_ours || end > FIRST_PAGE {
        return None;
    }
    // SAFETY: aligned and inside the page that the caller vouches for; any bytes are valid headers.
    Some(unsafe { slice::from_raw_parts((start + offset) as *const Elf64_Phdr, count) })
}

/// What the loader added to the addresses in these headers, if the first segment lies at `start`.
pub(super) fn bias(headers: &[Elf64_Phdr], start: usize) -> Option<usize> {
    let first = headers.iter().find(|header| header.p_type == PT_LOAD)?;
    Some(start.wrapping_sub(first.p_vaddr as usize & !(FIRST_PAGE - 1)))
}

/// Address of `.eh_frame_hdr`.
pub(super) fn eh_frame_header(headers: &[Elf64_Phdr], bias: usize) -> Option<usize> {
    let header = headers.iter().find(|header| header.p_type == PT_GNU_EH_FRAME)?;
    Some(bias.wrapping_add(header.p_vaddr as usize))
}

/// The part that is read from the file of the readable segment that holds this address.
pub(super) fn segment_of(headers: &[Elf64_Phdr], bias: usize, address: usize) -> Option<Range> {
    headers
        .iter()
        .filter(|header| header.p_type == PT_LOAD && header.p_flags & PF_R != 0)
        .map(|header| range(header, bias, header.p_filesz))
        .find(|range| range.contains(address))
}

/// From the first to the last executable address.
pub(super) fn code_range(headers: &[Elf64_Phdr], bias: usize) -> Option<Range> {
    headers
        .iter()
        .filter(|header| header.p_type == PT_LOAD && header.p_flags & PF_X != 0)
        .map(|header| range(header, bias, header.p_memsz))
        .reduce(|all, next| Range { start: all.start.min(next.start), end: all.end.max(next.end) })
}

/// From the first address to the end of the last segment.
pub(super) fn whole_range(headers: &[Elf64_Phdr], bias: usize) -> Option<Range> {
    headers
        .iter()
        .filter(|header| header.p_type == PT_LOAD)
        .map(|header| range(header, bias, header.p_memsz))
        .reduce(|all, next| Range { start: all.start.min(next.start), end: all.end.max(next.end) })
}

/// The first `size` bytes of a segment.
pub(super) fn range(header: &Elf64_Phdr, bias: usize, size: u64) -> Range {
    let start = bias.wrapping_add(header.p_vaddr as usize);
    Range { start, end: start.saturating_add(size as usize) }
}
