//! Free and total bytes of a file system (statfs(2)). A raw call: for exiting threads too. Allocates nothing.
//!
//! # Safety
//! The kernel fills one struct of this frame.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_long};
use std::mem::MaybeUninit;

/// Magic of tmpfs.
const TMPFS: i64 = 0x0102_1994;

/// What a file system has.
pub(crate) struct Space {
    /// Bytes that are free for this user.
    pub(crate) free: u64,
    /// Bytes in all.
    pub(crate) all: u64,
    /// Whether it is kept in memory.
    pub(crate) is_tmpfs: bool,
}

/// The space of the file system that this is on; `None` where it cannot be told.
pub(crate) fn of(directory: &CStr) -> Option<Space> {
    // SAFETY: a NUL-terminated path, and a struct to fill.
    asked(|place| unsafe { libc::syscall(libc::SYS_statfs, directory.as_ptr(), place) })
}

/// The same of a directory that is open.
pub(crate) fn of_open(directory: c_long) -> Option<Space> {
    // SAFETY: a number, and a struct to fill.
    asked(|place| unsafe { libc::syscall(libc::SYS_fstatfs, directory, place) })
}

fn asked(ask: impl FnOnce(*mut libc::statfs) -> c_long) -> Option<Space> {
    let mut place = MaybeUninit::<libc::statfs>::zeroed();
    let result = ask(place.as_mut_ptr());
    // SAFETY: all bit patterns are valid; filled or zeros.
    let place = unsafe { place.assume_init() };
    let bytes = |blocks: u64| blocks.saturating_mul(place.f_bsize as u64);
    let space = Space { free: bytes(place.f_bavail), all: bytes(place.f_blocks), is_tmpfs: place.f_type == TMPFS };
    (result == 0).then_some(space)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_folder_has_space_and_nothing_has_none() {
        let space = super::of(c"/").unwrap();
        assert!(space.free <= space.all && !super::of(c"/proc").unwrap().is_tmpfs);
        assert!(super::of(c"/no/such/place").is_none());
    }
}
