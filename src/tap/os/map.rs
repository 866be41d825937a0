//! Memory straight from the kernel.
//!
//! # Safety
//! Fresh anonymous mappings belong to whoever asked for them. The calls that act on given addresses
//! are `unsafe` and say what must hold.
#![allow(unsafe_code)]

use std::ptr::{self, NonNull};

/// Page size of the running kernel.
pub(crate) fn page_size() -> usize {
    // SAFETY: reads a constant that libc got from the auxiliary vector.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// Address space that the process may have in all (RLIMIT_AS), `None` without a limit.
pub(crate) fn address_space_limit() -> Option<usize> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: writes one rlimit; on failure it stays infinite.
    unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) };
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur as usize)
}

fn map(at: *mut u8, bytes: usize, protection: i32, flags: i32) -> Option<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | flags;
    // SAFETY: callers pass either no address, or MAP_FIXED over memory that is theirs.
    let address = unsafe { libc::mmap(at.cast(), bytes, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED { None } else { NonNull::new(address.cast()) }
}

/// Zeroed memory, used page by page as it is touched, never given back.
pub(crate) fn anonymous(bytes: usize) -> Option<NonNull<u8>> {
    map(ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, 0)
}

/// Address space that nothing else can get, without memory.
pub(crate) fn reserve(bytes: usize) -> Option<NonNull<u8>> {
    map(ptr::null_mut(), bytes, libc::PROT_NONE, 0)
}

/// Puts fresh zeroed memory at an address. `false`: no memory, nothing changed.
///
/// By mmap and not by mprotect or madvise, which under `mlockall` would fault all of it in, or fail.
///
/// # Safety
/// `at .. at + bytes` lies inside a mapping of the caller's own, and nothing in it is needed any more.
pub(crate) unsafe fn renew(at: *mut u8, bytes: usize) -> bool {
    map(at, bytes, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_FIXED).is_some()
}

/// Gives address space back.
///
/// # Safety
/// As for [`renew`], and nobody uses those addresses any more.
pub(crate) unsafe fn unmap(at: *mut u8, bytes: usize) {
    if bytes > 0 {
        // SAFETY: passed on to the caller.
        unsafe { libc::munmap(at.cast(), bytes) };
    }
}

/// Lets the kernel take the pages back; they read as zeros afterwards. `false`: it did not.
///
/// # Safety
/// As for [`renew`].
pub(crate) unsafe fn discard(at: *mut u8, bytes: usize) -> bool {
    // SAFETY: passed on to the caller.
    unsafe { libc::madvise(at.cast(), bytes, libc::MADV_DONTNEED) == 0 }
}

/// Marks pages that the kernel shall zero in children of `fork` and `clone` (Linux 4.14).
///
/// # Safety
/// The pages belong to the caller and expect to be zeroed there.
pub(crate) unsafe fn wipe_on_fork(at: *mut u8, bytes: usize) -> bool {
    // SAFETY: passed on to the caller.
    unsafe { libc::madvise(at.cast(), bytes, libc::MADV_WIPEONFORK) == 0 }
}
