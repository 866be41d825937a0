//! How much of the stack around a stack pointer can be read.
//!
//! The warm path compares two words of a cache that the caller keeps per thread. The slow path asks the
//! kernel, page by page, from the stack pointer up to where the thread's stack ends: at its control block
//! (glibc puts it on top of the stacks of threads) or at `__libc_stack_end` (first thread). Every other
//! stack (signal stack, coroutine) is given a window that is found again for each sample, since such
//! stacks come and go. `pthread_getattr_np` is of no use here: it allocates, and locks.
//!
//! A page is probed by `rt_sigprocmask` with an operation that does not exist: the kernel copies the set
//! from user memory before it looks at the operation, so the answer is EFAULT or EINVAL, and nothing
//! changes. About 0.1 us a page, and no filter forbids a call that every thread creation makes
//! (`process_vm_readv` is 20 times slower, and filters for services do refuse it).
//!
//! # Safety
//! Reads the thread pointer, one word of the loader, and probes memory through the kernel.

#![allow(unsafe_code)]

use core::ffi::c_void;

use super::arch::thread_pointer;
use crate::tap::stack::StackBounds;

const PAGE: usize = 4096;
/// Pages of a stack that we do not know: 64 KiB, more than whole coroutine stacks, 17 probes.
const WINDOW_PAGES: usize = 16;
/// Pages between the stack pointer and a stack's end that are probed at most: 64 MiB, some ms, once.
const KNOWN_PAGES: usize = 16 * 1024;
/// No operation of `rt_sigprocmask`.
const NO_OPERATION: usize = usize::MAX;
/// Bytes of the kernel's signal set.
const SET_SIZE: usize = 8;

unsafe extern "C" {
    /// Exported by the loader since glibc 2.1: the first thread's stack, at its entry.
    static __libc_stack_end: *const c_void;
}

/// What one thread knows about its own stack; all zero: nothing yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StackCache {
    low: usize,
    high: usize,
}

impl StackCache {
    /// What `words` gave, kept in a thread block meanwhile.
    pub(crate) fn from_words([low, high]: [usize; 2]) -> StackCache {
        StackCache { low, high }
    }

    /// The cache as plain words.
    pub(crate) fn words(self) -> [usize; 2] {
        [self.low, self.high]
    }

    /// The readable stack around `sp`, as `stack_bounds`, but warm from the second time on.
    #[inline]
    pub(crate) fn bounds(&mut self, sp: usize) -> Option<StackBounds> {
        if self.low <= sp && sp < self.high {
            return Some(StackBounds { low: self.low, high: self.high });
        }
        self.look(sp)
    }

    #[cold]
    fn look(&mut self, sp: usize) -> Option<StackBounds> {
        if let Some(low) = self.lower(sp) {
            self.low = low;
            return Some(StackBounds { low, high: self.high });
        }
        let known = own_stack(sp);
        if let Some(StackBounds { low, high }) = known {
            *self = StackCache { low, high };
        }
        known.or_else(|| window(sp))
    }

    /// The lower bound for a stack pointer a little further down the stack that is known.
    fn lower(&self, sp: usize) -> Option<usize> {
        let low = sp & !(PAGE - 1);
        let is_near = self.high != 0 && sp < self.low && (self.low - low) / PAGE <= KNOWN_PAGES;
        (is_near && readable_until(low, self.low) == self.low).then_some(low)
    }
}

/// The readable stack around `sp`; `None` if there is none. Asks the kernel: see `StackCache`.
pub(crate) fn stack_bounds(sp: usize) -> Option<StackBounds> {
    own_stack(sp).or_else(|| window(sp))
}

/// The stack that this thread was started on, from the page of `sp` to its end.
fn own_stack(sp: usize) -> Option<StackBounds> {
    // SAFETY: a word that the loader has set before it ran any code of ours.
    let first_thread = unsafe { __libc_stack_end } as usize;
    [thread_pointer(), first_thread].into_iter().find_map(|high| {
        let low = sp & !(PAGE - 1);
        let is_near = sp < high && (high - low) / PAGE <= KNOWN_PAGES;
        (is_near && readable_until(low, high) >= high).then_some(StackBounds { low, high })
    })
}

/// What is readable of an unknown stack.
fn window(sp: usize) -> Option<StackBounds> {
    let low = sp & !(PAGE - 1);
    let high = readable_until(low, low.checked_add(WINDOW_PAGES * PAGE)?);
    (high > sp).then_some(StackBounds { low, high })
}

/// The first unreadable page at or above the page-aligned `low`, or the first page at or above `high`.
fn readable_until(low: usize, high: usize) -> usize {
    let mut page = low;
    while page < high && is_readable(page) {
        page += PAGE;
    }
    page.min(high)
}

/// Whether the kernel can read a word at `address`, now.
pub(super) fn is_readable(address: usize) -> bool {
    let word = address & !(SET_SIZE - 1);
    if word == 0 {
        // The call takes a null set for none.
        return false;
    }
    // SAFETY: changes nothing, whatever is at the address: the operation does not exist (see the head).
    unsafe { raw_sigprocmask(NO_OPERATION, word) != -(libc::EFAULT as isize) }
}

/// `rt_sigprocmask(operation, set, NULL, 8)` without libc's errno.
///
/// # Safety
/// `operation` must not be one that exists.
#[cfg(target_arch = "x86_64")]
unsafe fn raw_sigprocmask(operation: usize, set: usize) -> isize {
    let result: isize;
    // SAFETY: the caller's promise; a system call clobbers rcx and r11.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") libc::SYS_rt_sigprocmask as isize => result,
            in("rdi") operation,
            in("rsi") set,
            in("rdx") 0_usize,
            in("r10") SET_SIZE,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack)
        );
    }
    result
}

/// `rt_sigprocmask(operation, set, NULL, 8)` without libc's errno.
///
/// # Safety
/// `operation` must not be one that exists.
#[cfg(target_arch = "aarch64")]
unsafe fn raw_sigprocmask(operation: usize, set: usize) -> isize {
    let result: isize;
    // SAFETY: the caller's promise.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") libc::SYS_rt_sigprocmask,
            inlateout("x0") operation as isize => result,
            in("x1") set,
            in("x2") 0_usize,
            in("x3") SET_SIZE,
            options(nostack)
        );
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of our own: `pages` readable ones, then one that is not.
    fn guarded(pages: usize) -> usize {
        let size = (pages + 1) * PAGE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, which nothing else knows.
        let start = unsafe { libc::mmap(core::ptr::null_mut(), size, libc::PROT_READ, flags, -1, 0) } as usize;
        // SAFETY: the last page of the mapping above.
        assert_eq!(unsafe { libc::mprotect((start + pages * PAGE) as *mut c_void, PAGE, libc::PROT_NONE) }, 0);
        start
    }

    #[test]
    fn probing_tells_readable_pages_from_others() {
        let start = guarded(1);
        assert!(is_readable(start) && is_readable(start + PAGE - 1) && is_readable(&raw const start as usize));
        for unreadable in [0, start + PAGE, 1 << 47, usize::MAX] {
            assert!(!is_readable(unreadable), "{unreadable:#x}");
        }
    }

    #[test]
    fn an_unknown_stack_is_a_window_that_ends_before_what_is_unreadable() {
        let start = guarded(3);
        let bounds = stack_bounds(start + PAGE + 64).expect("readable");
        assert_eq!(bounds, StackBounds { low: start + PAGE, high: start + 3 * PAGE });
        assert_eq!(stack_bounds(start + 3 * PAGE), None);
        let start = guarded(WINDOW_PAGES * 2);
        assert_eq!(window(start + 8).map(|bounds| bounds.high), Some(start + WINDOW_PAGES * PAGE));
    }

    #[test]
    fn a_threads_own_stack_reaches_to_its_control_block_and_stays_known() {
        let mark = 0_usize;
        let sp = &raw const mark as usize;
        let mut cache = StackCache::default();
        let bounds = cache.bounds(sp).expect("our stack");
        assert_eq!(bounds.high, thread_pointer());
        assert!(bounds.low <= sp && sp - bounds.low < PAGE);
        assert_eq!(cache.bounds(sp + PAGE), Some(bounds));
        let deeper = cache.bounds(sp - 2 * PAGE).expect("our stack, further down");
        assert_eq!((deeper.high, bounds.low - deeper.low), (bounds.high, 2 * PAGE));
        let other = guarded(1);
        assert_eq!(cache.bounds(other).map(|bounds| bounds.high), Some(other + PAGE));
        assert_eq!(cache.bounds(sp), Some(deeper), "another stack is not remembered");
    }
}
