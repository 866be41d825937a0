//! The way back to the tmpfs, for a process that changes its root directory.
//!
//! A server that confines itself does so as root, and gives root up a moment later: then the files of its life as
//! root are to be removed and those of its next life made, at a path that leads nowhere by then. A descriptor leads
//! there. It is held from chroot(2) to the change of users and no longer: in the hands of a process that is not root
//! it would be the way out of the cell.
//!
//! The number may be closed or taken over by the program meanwhile, so what it leads to is looked at each time.
//!
//! # Safety
//! Raw system calls on a NUL-terminated path and on numbers.
#![allow(unsafe_code)]

use super::file::File;
use std::ffi::{CStr, c_long};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The descriptor; -1: none.
static HELD: AtomicI64 = AtomicI64::new(-1);
/// Device and inode that it led to.
static LEADS_TO: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Numbers below are the program's: it may count on the lowest free one.
const LEAST: c_long = 200;

/// Holds this directory open.
pub(crate) fn hold(directory: &CStr) {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC | libc::O_NONBLOCK;
    let Some(file) = File::at(File::HERE, directory, flags, 0) else { return };
    let Some(found) = file.status() else { return };
    // SAFETY: an open descriptor.
    let copy = unsafe { libc::syscall(libc::SYS_fcntl, file.descriptor(), libc::F_DUPFD_CLOEXEC, LEAST) };
    if copy < 0 {
        return;
    }
    release();
    for (word, value) in LEADS_TO.iter().zip([found.st_dev, found.st_ino]) {
        word.store(value, Ordering::Relaxed);
    }
    HELD.store(copy, Ordering::Release);
}

/// The descriptor, if it is held and still leads there.
pub(crate) fn held() -> Option<c_long> {
    let fd = HELD.load(Ordering::Acquire);
    if fd < 0 {
        return None;
    }
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: a struct to fill.
    let result = unsafe { libc::fstat(i32::try_from(fd).ok()?, status.as_mut_ptr()) };
    // SAFETY: all bit patterns are valid; filled or zeros.
    let status = unsafe { status.assume_init() };
    let expected = LEADS_TO.each_ref().map(|word| word.load(Ordering::Relaxed));
    (result == 0 && expected == [status.st_dev, status.st_ino]).then_some(fd as c_long)
}

/// Lets it go.
pub(crate) fn release() {
    if let Some(fd) = held() {
        // SAFETY: ours: it leads where ours led.
        unsafe { libc::syscall(libc::SYS_close, fd) };
    }
    HELD.store(-1, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_until_it_is_released_and_what_took_its_number_is_not_ours() {
        hold(c"/proc/self");
        let fd = held().unwrap();
        assert!(fd >= LEAST);
        let other = File::open(c"/dev/null").unwrap();
        // SAFETY: numbers of this test's own.
        unsafe { libc::syscall(libc::SYS_dup3, other.descriptor(), fd, libc::O_CLOEXEC) };
        assert_eq!(held(), None);
        release();
        // SAFETY: asks whether it is open.
        assert!(unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_GETFD) } >= 0, "the program's file stays open");
        // SAFETY: opened above.
        unsafe { libc::syscall(libc::SYS_close, fd) };
        hold(c"/no/such/place");
        assert_eq!(held(), None);
    }
}
