//! Mappings: memory straight from the kernel.
//!
//! # Safety
//! A fresh anonymous mapping belongs to its caller. The calls that act on given addresses
//! are `unsafe` and say what must hold.
#![allow(unsafe_code)]

#[cfg(not(test))]
pub(crate) use super::entries::memory::{mmap as raw_mmap, mremap as raw_mremap, munmap as raw_munmap};

use super::sys;
use std::ptr::{self, NonNull};

/// Page size of the running kernel.
pub(crate) fn page_size() -> usize {
    // SAFETY: reads a constant that the kernel gave the process.
    let size = unsafe { libc::getauxval(libc::AT_PAGESZ) };
    usize::try_from(size).ok().filter(|&size| size > 0).unwrap_or(4096)
}

/// A finite limit of the process.
fn limit(resource: libc::__rlimit_resource_t) -> Option<usize> {
    sys::limit(resource).filter(|&limit| limit != libc::RLIM_INFINITY).map(|limit| limit as usize)
}

/// Address space that the process may have in all (RLIMIT_AS), `None` without a limit.
pub(crate) fn address_space_limit() -> Option<usize> {
    limit(libc::RLIMIT_AS)
}

/// Memory that the process may lock (RLIMIT_MEMLOCK), `None` without a limit.
pub(crate) fn locked_memory_limit() -> Option<usize> {
    limit(libc::RLIMIT_MEMLOCK)
}

/// Address space that may be reserved ahead under these limits. `mlockall` counts all that is mapped, without memory or
/// not, so a limit on locked memory counts like one on address space. A small one (8 MiB is usual) is no sign of a
/// program that locks itself: it could not.
pub(crate) fn most_reserved(address_space: Option<usize>, locked: Option<usize>) -> usize {
    const LARGE: usize = 64 << 20;
    const LEAST: usize = 4 << 20;
    let smallest = [address_space, locked.filter(|&limit| limit >= LARGE)].into_iter().flatten().min();
    smallest.map_or(usize::MAX, |limit| (limit / 16).max(LEAST))
}

fn map(at: *mut u8, bytes: usize, protection: i32, flags: i32) -> Option<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | flags;
    // SAFETY: callers pass no address, or one that nothing is at, or MAP_FIXED over memory that is theirs.
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

/// The same at an address, if nothing is there.
pub(crate) fn reserve_at(at: *mut u8, bytes: usize) -> Option<NonNull<u8>> {
    let place = map(at, bytes, libc::PROT_NONE, libc::MAP_FIXED_NOREPLACE)?;
    if place.as_ptr() == at {
        return Some(place);
    }
    // Kernels before 4.17, and emulators, take the address for a wish.
    // SAFETY: mapped just now, nobody knows it.
    unsafe { unmap(place.as_ptr(), bytes) };
    None
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

/// The same without memory: nothing there may be touched until it is [`allow`]ed.
///
/// # Safety
/// As for [`renew`].
pub(crate) unsafe fn renew_reserved(at: *mut u8, bytes: usize) -> bool {
    map(at, bytes, libc::PROT_NONE, libc::MAP_FIXED).is_some()
}

/// Lets memory be touched, or not: what may not be touched is not made resident by `mlockall` either. `false`: nothing
/// changed.
///
/// # Safety
/// As for [`renew`]; nobody touches memory that may not be touched.
pub(crate) unsafe fn allow(at: *mut u8, bytes: usize, touch: bool) -> bool {
    let protection = if touch { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_NONE };
    // SAFETY: passed on to the caller.
    unsafe { libc::mprotect(at.cast(), bytes, protection) == 0 }
}

/// Lets code be written to while it may still be executed. `false`: nothing changed.
///
/// # Safety
/// Whole pages of our own library's code.
pub(crate) unsafe fn make_code_writable(at: *mut u8, bytes: usize) -> bool {
    // SAFETY: passed on to the caller.
    unsafe { libc::mprotect(at.cast(), bytes, libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC) == 0 }
}

/// Lets nobody write to it any more.
///
/// # Safety
/// As for [`make_code_writable`].
pub(crate) unsafe fn make_code_fixed(at: *mut u8, bytes: usize) {
    // SAFETY: passed on to the caller.
    unsafe { libc::mprotect(at.cast(), bytes, libc::PROT_READ | libc::PROT_EXEC) };
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

#[cfg(test)]
mod tests {
    use super::most_reserved;

    #[test]
    fn a_sixteenth_of_the_smallest_limit_is_reserved() {
        assert_eq!(most_reserved(None, None), usize::MAX);
        assert_eq!(most_reserved(None, Some(8 << 20)), usize::MAX);
        assert_eq!(most_reserved(None, Some(64 << 30)), 4 << 30);
        assert_eq!(most_reserved(None, Some(160 << 20)), 10 << 20);
        assert_eq!(most_reserved(Some(1 << 20), None), 4 << 20);
        assert_eq!(most_reserved(Some(16 << 30), Some(64 << 30)), 1 << 30);
    }
}
