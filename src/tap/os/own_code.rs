//! Where this library's own code lies, so that frames of ours can be left out of stacks.
//!
//! # Safety
//! Takes the addresses of two symbols that the linker defines; reads nothing there.
#![allow(unsafe_code)]

unsafe extern "C" {
    static __ehdr_start: u8;
    static _end: u8;
}

/// Whether a code address is ours.
#[inline]
pub(crate) fn holds(pc: usize) -> bool {
    (&raw const __ehdr_start as usize..&raw const _end as usize).contains(&pc)
}
