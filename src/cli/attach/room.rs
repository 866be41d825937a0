//! How much room a folder's file system has, and whether it is a tmpfs.
//!
//! # Safety
//! One system call that fills a struct of this frame.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Magic of tmpfs (statfs(2)).
const TMPFS: u64 = 0x0102_1994;

/// What is free in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Bytes that are free of a tmpfs.
    Tmpfs(u64),
    /// Another file system.
    Other,
}

/// Asks the kernel; `None`: the folder cannot be looked at.
pub(crate) fn of(folder: &Path) -> Option<Room> {
    let (is_tmpfs, free) = ask(folder)?;
    Some(if is_tmpfs { Room::Tmpfs(free) } else { Room::Other })
}

/// Bytes that are free in a folder's file system, whatever it is.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    ask(folder).map(|(_, free)| free)
}

fn ask(folder: &Path) -> Option<(bool, u64)> {
    let path = CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mut found = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: a NUL-terminated path, and a struct to fill.
    let result = unsafe { libc::statfs(path.as_ptr(), found.as_mut_ptr()) };
    // SAFETY: all bit patterns are valid; filled or zeros.
    let found = unsafe { found.assume_init() };
    // Types and sizes have another sign in each libc.
    let free = found.f_bavail.saturating_mul(u64::try_from(found.f_bsize).unwrap_or(0));
    (result == 0).then_some((found.f_type as u64 == TMPFS, free))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_no_tmpfs() {
        assert_eq!(of(Path::new("/proc")), Some(Room::Other));
        assert_eq!(of(Path::new("/no/such/folder")), None);
    }
}
