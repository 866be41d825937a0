//! A file that is opened and read by raw system calls: libc's `open`, `read` and `close` are cancellation points, and a
//! thread that the program cancels would end inside of an allocation.
//!
//! [`open`](File::open) is for names that only the kernel gives away (`/proc`, the program's own files). Where another
//! user may have put something in advance, as below `/dev/shm`, flags are chosen by who knows the place
//! ([`at`](File::at)): a FIFO that is opened without O_NONBLOCK waits for its other end for ever.
//!
//! # Safety
//! Paths are NUL-terminated; the kernel writes into buffers of the caller's, at most their length.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_long};
use std::fs::Metadata;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::FromRawFd;

/// An open file, closed when it is dropped.
pub(crate) struct File(c_long);

impl File {
    /// The current directory, for [`at`](File::at); absolute paths do not look at it.
    pub(super) const HERE: c_long = libc::AT_FDCWD as c_long;

    /// Opens a file for reading.
    pub(crate) fn open(path: &CStr) -> Option<File> {
        File::at(File::HERE, path, libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOCTTY, 0)
    }

    /// Opens or makes what has this name in an open directory, with these flags of openat(2). `None`: `errno` says why.
    pub(super) fn at(directory: c_long, name: &CStr, flags: c_int, mode: u32) -> Option<File> {
        // SAFETY: a NUL-terminated name.
        let fd = unsafe { libc::syscall(libc::SYS_openat, directory, name.as_ptr(), flags, mode) };
        // Not `then_some`: the file that there is not would be closed, and the error be that of closing it.
        (fd >= 0).then(|| File(fd))
    }

    /// Its number.
    pub(super) fn descriptor(&self) -> c_long {
        self.0
    }

    /// What the kernel says about it, without an allocation.
    pub(super) fn status(&self) -> Option<libc::stat> {
        let mut status = MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: a struct to fill. fstat is no cancellation point.
        let result = unsafe { libc::fstat(self.0 as i32, status.as_mut_ptr()) };
        // SAFETY: all bit patterns are valid; filled or zeros.
        (result == 0).then(|| unsafe { status.assume_init() })
    }

    /// The same in the standard library's form.
    pub(super) fn metadata(&self) -> Option<Metadata> {
        // SAFETY: an open descriptor; it is not closed here, because the value is not dropped.
        ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(self.0 as i32) }).metadata().ok()
    }

    /// The same file as the standard library's.
    pub(super) fn into_std(self) -> std::fs::File {
        let file = ManuallyDrop::new(self);
        // SAFETY: an open descriptor that nobody else closes: its owner is forgotten.
        unsafe { std::fs::File::from_raw_fd(file.0 as i32) }
    }

    /// The mappings of this process. Those of this thread: where the main thread is gone, the process's read as empty.
    pub(crate) fn own_maps() -> Option<File> {
        File::open(c"/proc/thread-self/maps").or_else(|| File::open(c"/proc/self/maps"))
    }

    /// Reads on from where the last read ended; 0: the file's end.
    pub(crate) fn read(&self, into: &mut [u8]) -> Option<usize> {
        // SAFETY: an exclusive buffer of that length.
        let count = unsafe { libc::syscall(libc::SYS_read, self.0, into.as_mut_ptr(), into.len()) };
        usize::try_from(count).ok()
    }

    /// Fills the buffer from an offset on. `false`: not all of it.
    pub(crate) fn fill_from(&self, offset: u64, into: &mut [u8]) -> bool {
        // SAFETY: an exclusive buffer of that length.
        let count = unsafe { libc::syscall(libc::SYS_pread64, self.0, into.as_mut_ptr(), into.len(), offset) };
        usize::try_from(count) == Ok(into.len())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: opened by us, given to nobody.
        unsafe { libc::syscall(libc::SYS_close, self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::File;

    #[test]
    fn a_file_is_read_and_a_missing_one_is_none() {
        let mut first = [0; 4];
        let program = File::open(c"/proc/self/exe").unwrap();
        assert!(program.fill_from(0, &mut first) && &first == b"\x7fELF");
        assert!(!program.fill_from(1 << 40, &mut first));
        assert_eq!(File::own_maps().unwrap().read(&mut first), Some(4));
        assert!(File::open(c"/no/such/file").is_none());
        assert_eq!(crate::tap::os::sys::errno(), libc::ENOENT);
    }
}
