//! A file on tmpfs, mapped and shared: memory that survives this process, whatever ends it.
//!
//! Never on a disk: application threads store into it, and writeback would stall them. Pages are asked for
//! in time (MADV_POPULATE_WRITE), because a store into a full tmpfs is a SIGBUS; kernels without that (before
//! 5.14) get no shared file. A region is made read-only once mapped, so that no accident of the same user
//! truncates it under us. Raw system calls throughout: libc's open and close are cancellation points.
//!
//! # Safety
//! Paths are NUL-terminated arrays of ours; the mapping belongs to the caller.
#![allow(unsafe_code)]

use super::sys;
use std::ffi::{CStr, c_long};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// Where tmpfs is mounted everywhere.
const PLACE: &str = "/dev/shm";
/// Magic of tmpfs (statfs(2)).
const TMPFS: i64 = 0x0102_1994;

/// A path that needs no allocation.
#[derive(Clone, Copy)]
pub(crate) struct Path {
    bytes: [u8; 128],
    len: usize,
}

impl Path {
    /// The directory of this user's regions. Somebody else may have made one of that name: a process in a user namespace
    /// without a mapping has nobody's number and root's hands. Then the next name is taken.
    pub(crate) fn directory() -> Path {
        let mut path = Path::numbered(0);
        for number in 1..=3 {
            if matches!(path.belongs_to_us(), None | Some(true)) {
                break;
            }
            path = Path::numbered(number);
        }
        path
    }

    fn numbered(number: u32) -> Path {
        let mut path = Path { bytes: [0; 128], len: 0 };
        let _ = std::fmt::Write::write_fmt(&mut path, format_args!("{PLACE}/heaptap-{}", sys::user_id()));
        if number > 0 {
            let _ = std::fmt::Write::write_fmt(&mut path, format_args!(".{number}"));
        }
        path
    }

    /// Whether it is a directory that only this user can have made and enter; `None`: nothing is there.
    fn belongs_to_us(&self) -> Option<bool> {
        let mut status = MaybeUninit::<libc::stat>::zeroed();
        let at = libc::AT_SYMLINK_NOFOLLOW;
        // SAFETY: a NUL-terminated path, and a struct to fill. fstatat is no cancellation point.
        let result = unsafe { libc::fstatat(libc::AT_FDCWD, self.as_c_str().as_ptr(), status.as_mut_ptr(), at) };
        // SAFETY: all bit patterns are valid; filled or zeros.
        let status = unsafe { status.assume_init() };
        let is_private = status.st_mode & (libc::S_IFMT | 0o077) == libc::S_IFDIR;
        (result == 0).then_some(is_private && status.st_uid == sys::user_id())
    }

    /// The region of a process.
    pub(crate) fn region(pid: u32, token: u64) -> Path {
        Path::file(pid, token, "region")
    }

    /// The control file beside a region.
    pub(crate) fn control(&self) -> Path {
        let mut path = Path { bytes: [0; 128], len: 0 };
        let stem = self.as_str().trim_end_matches("region");
        let _ = std::fmt::Write::write_fmt(&mut path, format_args!("{stem}control"));
        path
    }

    fn parent(&self) -> Path {
        let mut path = Path { bytes: [0; 128], len: 0 };
        let parent = self.as_str().rsplit_once('/').map_or("", |(parent, _)| parent);
        let _ = std::fmt::Write::write_str(&mut path, parent);
        path
    }

    fn file(pid: u32, token: u64, kind: &str) -> Path {
        let mut path = Path::directory();
        let _ = std::fmt::Write::write_fmt(&mut path, format_args!("/{pid}.{token:016x}.{kind}"));
        path
    }

    /// The path as text.
    pub(crate) fn as_str(&self) -> &str {
        self.as_c_str().to_str().unwrap_or_default()
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

impl std::fmt::Write for Path {
    /// What does not fit (nothing of ours) is cut.
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            if let Some(slot) = self.bytes.get_mut(self.len).filter(|_| self.len < 127) {
                *slot = byte;
                self.len += 1;
            }
        }
        Ok(())
    }
}

/// Bytes that a file there may have: a quarter of what is free, for the place belongs to others too. 0: no
/// tmpfs, or files of that size are not allowed.
pub(crate) fn room() -> usize {
    let mut place = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: a NUL-terminated path, and a struct to fill.
    let result = unsafe { libc::syscall(libc::SYS_statfs, c"/dev/shm".as_ptr(), place.as_mut_ptr()) };
    // SAFETY: all bit patterns are valid; filled or zeros.
    let place = unsafe { place.assume_init() };
    if result != 0 || place.f_type != TMPFS {
        return 0;
    }
    let free = place.f_bavail.saturating_mul(place.f_bsize as u64);
    usize::try_from((free / 4).min(sys::file_size_limit())).unwrap_or(usize::MAX)
}

/// Makes and maps a new file of that size, at most [`room`], and gives it that mode once it is mapped. `None`: not here, for
/// whatever reason.
pub(crate) fn create(path: &Path, bytes: usize, mode: u32) -> Option<NonNull<u8>> {
    let file = open(path, bytes)?;
    let mapped = map(&file, bytes, mode);
    if mapped.is_none() {
        remove(path);
    }
    mapped
}

fn open(path: &Path, bytes: usize) -> Option<File> {
    if bytes > room() || !own_directory(&path.parent()) {
        return None;
    }
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: a NUL-terminated path.
    let fd = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_c_str().as_ptr(), flags, 0o600) };
    (fd >= 0).then_some(File(fd))
}

/// A descriptor that is closed when it is dropped.
struct File(c_long);

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: opened by us, given to nobody.
        unsafe { libc::syscall(libc::SYS_close, self.0) };
    }
}

fn map(file: &File, bytes: usize, mode: u32) -> Option<NonNull<u8>> {
    // SAFETY: our own new file.
    if unsafe { libc::syscall(libc::SYS_ftruncate, file.0, bytes) } != 0 {
        return None;
    }
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: a new mapping at an address that the kernel chooses.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, file.0 as i32, 0) };
    let start = NonNull::new(address.cast::<u8>()).filter(|_| address != libc::MAP_FAILED)?;
    // SAFETY: our own file.
    unsafe { libc::syscall(libc::SYS_fchmod, file.0, mode) };
    if !populate(start, super::map::page_size()) {
        // SAFETY: the mapping made above, known to nobody.
        unsafe { super::map::unmap(start.as_ptr(), bytes) };
        return None;
    }
    Some(start)
}

/// Gives pages memory before they are stored to. `false`: there is none, or the kernel cannot.
pub(crate) fn populate(start: NonNull<u8>, bytes: usize) -> bool {
    // SAFETY: advice about pages of a mapping of ours; it changes no contents.
    unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_POPULATE_WRITE) == 0 }
}

/// Removes a file of ours.
pub(crate) fn remove(path: &Path) {
    // SAFETY: a NUL-terminated path.
    unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path.as_c_str().as_ptr(), 0) };
}

/// Makes this user's directory, or checks that it is one that only this user can have made.
fn own_directory(directory: &Path) -> bool {
    // SAFETY: a NUL-terminated path; it may exist.
    unsafe { libc::syscall(libc::SYS_mkdirat, libc::AT_FDCWD, directory.as_c_str().as_ptr(), 0o700) };
    directory.belongs_to_us() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_file_keeps_what_was_stored_and_cannot_be_opened_for_writing_by_accident() {
        let path = Path::region(sys::process_id(), 0x1234);
        remove(&path);
        let Some(start) = create(&path, 1 << 20, 0o400) else {
            eprintln!("skipped: no tmpfs with room, or a kernel before 5.14");
            return;
        };
        assert!(populate(start, 1 << 16) && create(&path, 1 << 20, 0o400).is_none());
        // SAFETY: the first page of our mapping.
        unsafe { start.as_ptr().write(42) };
        let name = path.as_str();
        assert_eq!(std::fs::read(name).unwrap()[0], 42);
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(name).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o400);
        remove(&path);
        assert!(!std::path::Path::new(name).exists());
    }

    #[test]
    fn a_control_file_lies_beside_its_region() {
        let region = Path::region(7, 0xff);
        assert_eq!(region.control().as_str(), region.as_str().replace(".region", ".control"));
        assert_eq!(region.parent().as_str(), Path::directory().as_str());
    }

    #[test]
    fn too_large_files_are_refused() {
        assert!(create(&Path::region(1, 2), 1 << 60, 0o400).is_none());
    }
}
