//! Space on a file system.
//!
//! # Safety
//! The kernel fills one struct of this frame.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes that are free for this user, and bytes in all; `None` where it cannot be told. A raw call: for exiting
/// threads too.
pub(crate) fn of(directory: &Path) -> Option<(u64, u64)> {
    let path = CString::new(directory.as_os_str().as_bytes()).ok()?;
    let mut place = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: a NUL-terminated path, and a struct to fill.
    let result = unsafe { libc::syscall(libc::SYS_statfs, path.as_ptr(), place.as_mut_ptr()) };
    // SAFETY: all bit patterns are valid; filled or zeros.
    let place = unsafe { place.assume_init() };
    let unit = place.f_bsize as u64;
    (result == 0).then(|| (place.f_bavail.saturating_mul(unit), place.f_blocks.saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_folder_has_space_and_nothing_has_none() {
        let (free, all) = super::of(std::path::Path::new("/tmp")).unwrap();
        assert!(free <= all && all > 0);
        assert_eq!(super::of(std::path::Path::new("/no/such/place")), None);
    }
}
