//! Files. libc's own functions are cancellation points, and the ones that other preloads interpose most often.
//!
//! # Safety
//! As for the rest of the entries.
#![allow(unsafe_code)]

use super::raw;
use crate::tap::os::sys;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::ptr;

/// The working directory, for the calls that take a folder.
const HERE: usize = libc::AT_FDCWD as usize;

/// open(2). Variadic in C; a third argument stands where it would stand here.
pub(super) unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_openat, [HERE, path as usize, flags as usize, mode as usize, 0, 0]) as c_int }
}

/// close(2).
pub(super) unsafe extern "C" fn close(fd: c_int) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) as c_int }
}

/// read(2).
pub(super) unsafe extern "C" fn read(fd: c_int, place: *mut c_void, bytes: usize) -> isize {
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_read, [fd as usize, place as usize, bytes, 0, 0, 0]) }
}

/// pread(2).
pub(super) unsafe extern "C" fn pread(fd: c_int, place: *mut c_void, bytes: usize, offset: i64) -> isize {
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_pread64, [fd as usize, place as usize, bytes, offset as usize, 0, 0]) }
}

/// write(2).
pub(super) unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, count: usize) -> isize {
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_write, [fd as usize, bytes as usize, count, 0, 0, 0]) }
}

/// pwrite(2).
pub(super) unsafe extern "C" fn pwrite(fd: c_int, bytes: *const c_void, count: usize, offset: i64) -> isize {
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_pwrite64, [fd as usize, bytes as usize, count, offset as usize, 0, 0]) }
}

/// writev(2).
pub(super) unsafe extern "C" fn writev(fd: c_int, parts: *const libc::iovec, count: c_int) -> isize {
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_writev, [fd as usize, parts as usize, count as usize, 0, 0, 0]) }
}

/// lseek(2).
pub(super) unsafe extern "C" fn lseek(fd: c_int, offset: i64, whence: c_int) -> i64 {
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_lseek, [fd as usize, offset as usize, whence as usize, 0, 0, 0]) as i64 }
}

/// ftruncate(2).
pub(super) unsafe extern "C" fn ftruncate(fd: c_int, bytes: i64) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_ftruncate, [fd as usize, bytes as usize, 0, 0, 0, 0]) as c_int }
}

/// fstat(2).
pub(super) unsafe extern "C" fn fstat(fd: c_int, status: *mut libc::stat64) -> c_int {
    // SAFETY: passed on to the caller; on both architectures the kernel's struct is libc's.
    unsafe { raw::asked(libc::SYS_fstat, [fd as usize, status as usize, 0, 0, 0, 0]) as c_int }
}

/// fstatat(2).
pub(super) unsafe extern "C" fn fstatat(
    folder: c_int,
    path: *const c_char,
    status: *mut libc::stat64,
    flags: c_int,
) -> c_int {
    let arguments = [folder as usize, path as usize, status as usize, flags as usize, 0, 0];
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_newfstatat, arguments) as c_int }
}

/// stat(2).
pub(super) unsafe extern "C" fn stat(path: *const c_char, status: *mut libc::stat64) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { fstatat(libc::AT_FDCWD, path, status, 0) }
}

/// lstat(2).
pub(super) unsafe extern "C" fn lstat(path: *const c_char, status: *mut libc::stat64) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { fstatat(libc::AT_FDCWD, path, status, libc::AT_SYMLINK_NOFOLLOW) }
}

/// statx(2); older kernels say ENOSYS, which the standard library expects.
pub(super) unsafe extern "C" fn statx(
    folder: c_int,
    path: *const c_char,
    flags: c_int,
    mask: c_uint,
    status: *mut libc::statx,
) -> c_int {
    let arguments = [folder as usize, path as usize, flags as usize, mask as usize, status as usize, 0];
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_statx, arguments) as c_int }
}

/// flock(2).
pub(super) unsafe extern "C" fn flock(fd: c_int, operation: c_int) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_flock, [fd as usize, operation as usize, 0, 0, 0, 0]) as c_int }
}

/// getcwd(3) into the caller's buffer. A folder that cannot be reached has no path.
pub(super) unsafe extern "C" fn getcwd(place: *mut c_char, bytes: usize) -> *mut c_char {
    // SAFETY: passed on to the caller.
    let length = unsafe { raw::asked(libc::SYS_getcwd, [place as usize, bytes, 0, 0, 0, 0]) };
    if length <= 0 {
        return ptr::null_mut();
    }
    // SAFETY: the kernel wrote a C string there.
    if unsafe { place.read() } as u8 != b'/' {
        sys::set_errno(libc::ENOENT);
        return ptr::null_mut();
    }
    place
}

/// rename(2).
pub(super) unsafe extern "C" fn rename(old: *const c_char, new: *const c_char) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_renameat, [HERE, old as usize, HERE, new as usize, 0, 0]) as c_int }
}

/// linkat(2).
pub(super) unsafe extern "C" fn linkat(
    old_folder: c_int,
    old: *const c_char,
    new_folder: c_int,
    new: *const c_char,
    flags: c_int,
) -> c_int {
    let arguments = [old_folder as usize, old as usize, new_folder as usize, new as usize, flags as usize, 0];
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_linkat, arguments) as c_int }
}

/// unlink(2).
pub(super) unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_unlinkat, [HERE, path as usize, 0, 0, 0, 0]) as c_int }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_found_and_read() {
        let [first, second] = ["first", "second"].map(|name| {
            let path = std::env::temp_dir().join(format!("heaptap-entries-{}-{name}", std::process::id()));
            std::ffi::CString::new(path.into_os_string().into_encoded_bytes()).unwrap()
        });
        // SAFETY: C strings, and places of the sizes given.
        unsafe {
            let fd = open(first.as_ptr(), libc::O_CREAT | libc::O_RDWR | libc::O_EXCL, 0o600);
            assert!(fd >= 0 && write(fd, b"hello".as_ptr().cast(), 5) == 5);
            assert_eq!((lseek(fd, 1, libc::SEEK_SET), flock(fd, libc::LOCK_EX)), (1, 0));
            let mut text = [0u8; 8];
            assert_eq!((read(fd, text.as_mut_ptr().cast(), 8), &text[..4]), (4, &b"ello"[..]));
            assert_eq!((pread(fd, text.as_mut_ptr().cast(), 8, 3), &text[..2]), (2, &b"lo"[..]));
            assert_eq!((pwrite(fd, b"p!".as_ptr().cast(), 2, 3), ftruncate(fd, 5)), (2, 0));
            assert_eq!((pread(fd, text.as_mut_ptr().cast(), 8, 2), &text[..3]), (3, &b"lp!"[..]));
            assert_eq!(rename(first.as_ptr(), second.as_ptr()), 0);
            let [mut by_fd, mut by_path, mut libcs]: [libc::stat64; 3] = std::mem::zeroed();
            assert_eq!((fstat(fd, &raw mut by_fd), lstat(second.as_ptr(), &raw mut by_path)), (0, 0));
            assert_eq!(libc::fstat64(fd, &raw mut libcs), 0);
            for found in [by_fd, by_path] {
                assert_eq!((found.st_ino, found.st_mode, found.st_uid), (libcs.st_ino, libcs.st_mode, libcs.st_uid));
                assert_eq!((found.st_size, found.st_nlink, found.st_mtime), (5, 1, libcs.st_mtime));
            }
            assert_eq!((unlink(second.as_ptr()), close(fd), close(fd)), (0, 0, -1));
            assert_eq!((stat(second.as_ptr(), &raw mut by_path), sys::errno()), (-1, libc::ENOENT));
        }
    }

    #[test]
    fn the_working_directory_is_found() {
        let mut place = [0 as c_char; 4096];
        // SAFETY: a place of that size.
        let found = unsafe { getcwd(place.as_mut_ptr(), 4096) };
        // SAFETY: a C string.
        let found = unsafe { std::ffi::CStr::from_ptr(found) };
        assert_eq!(found.to_str().unwrap(), std::env::current_dir().unwrap().to_str().unwrap());
        // SAFETY: as above.
        assert!(unsafe { getcwd(place.as_mut_ptr(), 1) }.is_null() && sys::errno() == libc::ERANGE);
    }
}
