//! The bounds of the thread's own stack: whether a stack pointer lies on it, and how far up it can be read.
//!
//! The warm path compares two words of a cache that the caller keeps per thread. A thread's own stack is the memory
//! that libc notes in its control block, which lies at its top: it stays as long as the thread runs on it,
//! its neighbours or not. (Readable up to the control block is not enough: a coroutine's stack may lie right below one
//! without guard page.) The first thread has none there; its stack is the kernel's, ends where its arguments begin,
//! keeps a gap of a megabyte to whatever lies below, and never goes. Every other stack (coroutine, signal stack, thread
//! that was made without libc) is foreign, and is read through the kernel (`windows`). `pthread_getattr_np` is of no
//! use here: it allocates, and locks.
//!
//! A page of the first thread's stack is probed by `rt_sigprocmask` with an operation that does not exist: the kernel
//! copies the set from user memory before it looks at the operation, so the answer is EFAULT or EINVAL, and nothing
//! changes. About 0.1 us a page, and no filter forbids a call that every thread creation makes.
//!
//! # Safety
//! Reads the thread's own control block, and probes memory through the kernel.

#![allow(unsafe_code)]

use super::arch::{CONTROL_BLOCK, MUSLS_CONTROL_BLOCK, thread_pointer};
use crate::tap::os::initial_stack;
use crate::tap::os::libc_names::is_glibc;
use crate::tap::stack::StackBounds;

const PAGE: usize = 4096;
/// Pages between the stack pointer and the end of the first thread's stack that are probed at most: 64 MiB, some ms,
/// once.
const KNOWN_PAGES: usize = 16 * 1024;
/// The smallest stack that glibc makes or takes (PTHREAD_STACK_MIN).
const SMALLEST: usize = 16 << 10;
/// Most that lies above the control block: thread-local storage, where it does, and what is left of a page.
const MOST_ABOVE: usize = 1 << 20;
/// No operation of `rt_sigprocmask`.
const NO_OPERATION: usize = usize::MAX;
/// Bytes of the kernel's signal set.
const SET_SIZE: usize = 8;

/// The bounds of one thread's own stack, remembered; all zero: not looked up yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StackCache {
    low: usize,
    high: usize,
}

impl StackCache {
    /// From the words that a thread block kept.
    pub(crate) fn from_words([low, high]: [usize; 2]) -> StackCache {
        StackCache { low, high }
    }

    /// The cache as plain words.
    pub(crate) fn words(self) -> [usize; 2] {
        [self.low, self.high]
    }

    /// The bounds of the stack around `sp`, as `stack_bounds`, but warm from the second time on.
    #[inline]
    pub(crate) fn bounds(&mut self, sp: usize) -> StackBounds {
        if self.low <= sp && sp < self.high {
            return from_page_of(sp, self.high);
        }
        self.look(sp)
    }

    #[cold]
    fn look(&mut self, sp: usize) -> StackBounds {
        let Some((low, high)) = own_stack(sp, *self) else { return StackBounds::FOREIGN };
        *self = StackCache { low, high };
        from_page_of(sp, high)
    }
}

/// The bounds of the stack around `sp`. May ask the kernel: see `StackCache`.
pub(crate) fn stack_bounds(sp: usize) -> StackBounds {
    own_stack(sp, StackCache::default()).map_or(StackBounds::FOREIGN, |(_, high)| from_page_of(sp, high))
}

/// From the page of the stack pointer on: a runtime may have made the pages below unreadable again (HotSpot's yellow
/// zone).
fn from_page_of(sp: usize, high: usize) -> StackBounds {
    StackBounds { low: sp & !(PAGE - 1), high }
}

/// Where this thread's own stack begins, as far as it is known, and ends; nothing if `sp` does not lie on it.
fn own_stack(sp: usize, known: StackCache) -> Option<(usize, usize)> {
    let control_block = thread_pointer();
    let noted = if is_glibc() {
        noted_start(control_block).map(|start| (start, control_block))
    } else {
        noted_by_musl(control_block)
    };
    noted.filter(|&(start, end)| start <= sp && sp < end).or_else(|| first_threads(sp, known))
}

/// Where the stack below this control block starts, as glibc has noted it there; nothing in the first thread.
///
/// `struct pthread` holds `stackblock`, `stackblock_size`, `guardsize` in a row, at a place that differs from version
/// to version: two words that make a block which ends a little above are told from any others. Words that only look so
/// can but point into this very stack, and make the known part smaller.
fn noted_start(control_block: usize) -> Option<usize> {
    let first = control_block.wrapping_add_signed(CONTROL_BLOCK.0);
    let word = |index: usize| {
        // SAFETY: inside of this thread's control block, which is longer in every glibc.
        unsafe { ((first + index * size_of::<usize>()) as *const usize).read_volatile() }
    };
    let count = CONTROL_BLOCK.1 / size_of::<usize>();
    (0..count.saturating_sub(2)).find_map(|index| {
        let (start, size) = (word(index), word(index + 1));
        let above = start.checked_add(size)?.checked_sub(control_block)?;
        // A small number before a pointer into the control block makes such a sum, too: a stack is smaller than its
        // address.
        let is_size = size >= SMALLEST && size < start && word(index + 2) <= size;
        let is_block = is_size && above <= MOST_ABOVE && start < control_block;
        is_block.then_some(start)
    })
}

/// Start and end of the stack that musl has mapped for this thread, as it has noted them; nothing in the first thread,
/// nor on a stack of the program's.
///
/// `struct pthread` holds `map_base`, `map_size`, `stack`, `stack_size`, `guard_size` in a row: all that is mapped, the
/// stack's end in it, and its length down to the guard.
fn noted_by_musl(control_block: usize) -> Option<(usize, usize)> {
    let first = control_block.wrapping_add_signed(MUSLS_CONTROL_BLOCK.0);
    let word = |index: usize| {
        // SAFETY: inside of this thread's control block, which is longer in every musl.
        unsafe { ((first + index * size_of::<usize>()) as *const usize).read_volatile() }
    };
    let count = MUSLS_CONTROL_BLOCK.1 / size_of::<usize>();
    (0..count.saturating_sub(4)).find_map(|index| {
        let [base, bytes, end, stack_bytes, guard] = [0, 1, 2, 3, 4].map(|next| word(index + next));
        let start = base.checked_add(guard)?;
        let is_stack = base != 0 && end.checked_sub(stack_bytes)? == start && end <= base.checked_add(bytes)?;
        is_stack.then_some((start, end))
    })
}

/// The first thread's stack from the page of `sp` on. What is known of it already is not probed again.
fn first_threads(sp: usize, known: StackCache) -> Option<(usize, usize)> {
    let high = initial_stack::start() as usize;
    let low = sp & !(PAGE - 1);
    let until = if known.high == high && low < known.low { known.low } else { high };
    let is_near = sp < high && (high - low) / PAGE <= KNOWN_PAGES;
    (is_near && readable_until(low, until) >= until).then_some((low, high))
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
pub(crate) fn is_readable(address: usize) -> bool {
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
        assert_eq!(unsafe { libc::mprotect((start + pages * PAGE) as *mut _, PAGE, libc::PROT_NONE) }, 0);
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
    fn other_memory_is_foreign_and_not_remembered() {
        let other = guarded(3);
        let mut cache = StackCache::default();
        assert!(!cache.bounds(other + PAGE + 64).is_own() && !stack_bounds(other + 64).is_own());
        assert_eq!(cache.words(), [0; 2]);
    }

    #[test]
    fn a_threads_own_stack_is_what_glibc_noted_whatever_lies_below() {
        let walked = std::thread::spawn(|| {
            let mark = 0_usize;
            let sp = &raw const mark as usize;
            let mut cache = StackCache::default();
            let bounds = cache.bounds(sp);
            assert_eq!(bounds, StackBounds { low: sp & !(PAGE - 1), high: thread_pointer() });
            let [start, _] = cache.words();
            assert!(!is_readable(start), "the guard page");
            assert_eq!(cache.bounds(sp - 2 * PAGE).low, bounds.low - 2 * PAGE);
            assert!(!cache.bounds(start - 8).is_own());
            assert_eq!(cache.bounds(sp), bounds, "it stays known");
        });
        walked.join().expect("no difference");
    }

    #[test]
    fn the_first_thread_has_the_kernels_stack() {
        let end = initial_stack::start() as usize;
        let bounds = stack_bounds(end - 64);
        assert_eq!(bounds, StackBounds { low: (end - 64) & !(PAGE - 1), high: end });
        let mut cache = StackCache::default();
        cache.bounds(end - 64);
        assert_eq!(cache.words(), [bounds.low, end]);
        assert!(!stack_bounds(end + PAGE).is_own());
    }
}
