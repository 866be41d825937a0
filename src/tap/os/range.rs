//! The reserved address range in which every sampled allocation lies.
//!
//! `free` must tell in a few instructions whether a pointer is sampled. So the range lies below everything that
//! jemalloc otherwise hands out (the kernel places mappings from the top down, or from a third of the address
//! space up), and `free` compares with its end, [`LIMIT`]: one comparison, and what is above is plain. What is
//! below [`Range::holds`] decides exactly, on the slow path. Where no such place can be had (valgrind), the range lies
//! anywhere, and many plain blocks take the slow path; nothing else changes. Memory is handed out once, upwards;
//! jemalloc's arenas reuse it among themselves.
//!
//! How much is reserved ahead is a matter of convenience: where a limit counts it, little is, and a program that limits
//! its address space later on gets the part back that was not handed out. When the reserved part is used up, the range
//! grows at its end by what the next block needs, as long as nothing else lies there. So a finite limit makes the range
//! short, and never the tap blind: what a sampled block needs is what the plain block would have needed.
//!
//! # Safety
//! The range is a PROT_NONE mapping of our own; memory is put only under parts just taken from it.
#![allow(unsafe_code)]

use super::boot_memory::BOOT_MEMORY;
use super::{clock, map, tls};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// Bytes of the range where there is room for it.
const LARGEST: usize = 1 << 40;
/// The least to begin with; it grows.
const SMALLEST: usize = ALIGNMENT;
/// The range begins at a multiple of this, and grows in such steps.
const ALIGNMENT: usize = 2 << 20;
/// What is reserved where each page of a reservation costs time: qemu-user keeps a table of them, 11 s and
/// 0.8 GiB of memory for each TiB.
const MOST_IF_SLOW: usize = 2 << 30;
/// What is reserved to find out, and far more than a kernel needs for it: it needs microseconds, qemu 11 ms.
const TRIAL: usize = 1 << 30;
const SLOW_NS: u64 = 1_000_000;

/// Where to look for room. The first lies between ZGC's usual heaps and a third of 47 bits, where the kernel begins
/// without a limit on stacks; the second is for the small address spaces of some aarch64 kernels.
const PLACES: [(usize, usize, usize); 2] = crate::wire::liveness::RANGE_PLACES;

/// What lies below goes the slow way in `free`: the range and the blocks of the first call, which lie below all others.
/// Until the first call is over everything does. A static of its own because the exported `free` compares with it
/// directly.
pub(crate) static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Moves the limit to the end of the range, zero where there is none, or to that of the first call's blocks.
fn set_limit(end: usize) {
    LIMIT.store(end.max(BOOT_MEMORY.end()), Ordering::Release);
}

/// How far it grows: up to where the kernel begins without a limit on stacks, there is nothing else.
const LARGEST_GROWN: usize = 4 << 40;
/// Tries to become the thread that changes the range's end. Each try lasts as long as another thread's change: some
/// system calls, a few microseconds.
const TRIES: u32 = 10_000;
/// Beside the thread in [`Range::changing`]: it keeps the end from changing while it forks.
const FORKS: usize = 1;

/// Why memory of the range was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Refusal {
    /// It was not.
    None = 0,
    /// The range is used up and something else lies behind it.
    Room = 1,
    /// The kernel has no memory for the process, or a limit says so.
    Memory = 2,
}

/// The range: set by [`reserve`](Range::reserve). Then `next` moves with each block, and now and then the end.
pub(crate) struct Range {
    base: AtomicUsize,
    end: AtomicUsize,
    next: AtomicUsize,
    /// The thread that is changing the end (`ThreadBlock::address`), 0: none. In a child of a raw `clone` it may be
    /// one of the parent's for ever: that child's range grows no more.
    changing: AtomicUsize,
    refusal: AtomicU32,
    /// Address space is limited: what is not needed goes back.
    is_limited: AtomicBool,
}

impl Range {
    /// No range yet.
    pub(crate) const fn new() -> Range {
        Range {
            base: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            changing: AtomicUsize::new(0),
            refusal: AtomicU32::new(Refusal::None as u32),
            is_limited: AtomicBool::new(false),
        }
    }

    /// Reserves the range, at most `most` bytes of it, at an address that `random` decides. `false`: none can be had.
    /// Called once.
    pub(crate) fn reserve(&self, most: usize, random: u64) -> bool {
        let most = if most > MOST_IF_SLOW && is_slow() { MOST_IF_SLOW } else { most };
        let low = PLACES.iter().find_map(|&(start, room, largest)| {
            let start = start + ((random as usize % room) & !(ALIGNMENT - 1));
            largest_of(most.min(largest), |bytes| map::reserve_at(start as *mut u8, bytes))
        });
        let Some((base, bytes)) = low.or_else(|| largest_of(most.min(LARGEST), map::reserve)) else { return false };
        self.next.store(base, Ordering::Relaxed);
        self.base.store(base, Ordering::Relaxed);
        // Release: a thread that sees the end (`holds`) sees the base.
        self.end.store(base + bytes, Ordering::Release);
        true
    }

    /// From now on `free` tells by the limit: that is the end of the range, zero where there is none, or that of the
    /// first call's blocks.
    pub(crate) fn settle(&self) {
        set_limit(self.end.load(Ordering::Acquire));
    }

    /// Whether there is no range.
    pub(crate) fn is_empty(&self) -> bool {
        self.end.load(Ordering::Acquire) == 0
    }

    /// Whether an address lies in the range.
    #[inline]
    pub(crate) fn holds(&self, address: usize) -> bool {
        address < self.end.load(Ordering::Acquire) && address >= self.base.load(Ordering::Relaxed)
    }

    /// Gives the part back that was not handed out, but for `keep` bytes; how much that was.
    ///
    /// The whole rest is claimed first, as [`take`](Range::take) claims; then the end is lowered, so that no foreign
    /// address is taken for ours; then the kept part is offered again. A thread that reads that offer sees the new end.
    pub(crate) fn give_back(&self, keep: usize) -> usize {
        self.in_turn(|| {
            let end = self.end.load(Ordering::Acquire);
            let next = self.next.swap(end, Ordering::AcqRel);
            let kept = next.saturating_add(keep).next_multiple_of(map::page_size());
            if next == 0 || kept >= end {
                self.next.store(next, Ordering::Release);
                return 0;
            }
            self.put_end(kept);
            self.next.store(next, Ordering::Release);
            // SAFETY: addresses of our reservation that nobody was given, nor will be.
            unsafe { map::unmap(kept as *mut u8, end - kept) };
            end - kept
        })
        .unwrap_or(0)
    }

    /// Reserves again what [`give_back`](Range::give_back) gave back, as far as it is still free.
    pub(crate) fn restore(&self, bytes: usize) {
        self.in_turn(|| {
            let end = self.end.load(Ordering::Acquire);
            let reserve = |bytes| map::reserve_at(end as *mut u8, bytes).filter(|_| bytes > 0);
            let whole = (end != 0).then(|| reserve(bytes)).flatten().map(|_| bytes);
            let part = || largest_of(bytes / 2, reserve).filter(|_| end != 0).map(|(_, bytes)| bytes);
            if let Some(bytes) = whole.or_else(part) {
                self.put_end(end + bytes);
            }
        });
    }

    /// From now on the address space of freed memory goes back, too: the program may need it for something else.
    pub(crate) fn heed_limit(&self) {
        self.is_limited.store(true, Ordering::Relaxed);
    }

    /// Gives memory back that was taken, address space and all, if that is limited. `false`: it is the caller's to
    /// keep. The addresses are not handed out again; no plain block comes to lie there, because the kernel looks for
    /// room further up.
    ///
    /// # Safety
    /// The memory came from [`take`](Range::take), and nothing in it is needed any more.
    pub(crate) unsafe fn put_back(&self, start: *mut u8, bytes: usize) -> bool {
        let is_limited = self.is_limited.load(Ordering::Relaxed);
        if is_limited {
            // SAFETY: passed on to the caller.
            unsafe { map::unmap(start, bytes) };
        }
        is_limited
    }

    /// Takes `bytes` at a multiple of `alignment` (a power of two) and puts memory there.
    pub(crate) fn take(&self, bytes: usize, alignment: usize) -> Option<*mut u8> {
        let claimed = || self.claim(bytes, alignment);
        let Some(start) = claimed().or_else(|| self.grow(bytes, alignment).then(claimed).flatten()) else {
            self.refuse(Refusal::Room);
            return None;
        };
        // SAFETY: these addresses lie in our reservation and were given to nobody before.
        if unsafe { map::renew(start, bytes) } {
            return Some(start);
        }
        self.refuse(Refusal::Memory);
        None
    }

    /// Why memory was last refused, since this was last asked. Of several threads one may get another's answer: it is
    /// for counters only.
    pub(crate) fn last_refusal(&self) -> Refusal {
        match self.refusal.swap(Refusal::None as u32, Ordering::Relaxed) {
            refusal if refusal == Refusal::Room as u32 => Refusal::Room,
            refusal if refusal == Refusal::Memory as u32 => Refusal::Memory,
            _ => Refusal::None,
        }
    }

    fn refuse(&self, why: Refusal) {
        self.refusal.store(why as u32, Ordering::Relaxed);
    }

    fn claim(&self, bytes: usize, alignment: usize) -> Option<*mut u8> {
        let mut start = 0;
        let step = |next: usize| {
            start = next.checked_next_multiple_of(alignment)?;
            start.checked_add(bytes).filter(|&after| after <= self.end.load(Ordering::Acquire))
        };
        // The counter decides who gets which addresses. Acquire: see `give_back`.
        self.next.fetch_update(Ordering::Acquire, Ordering::Acquire, step).ok()?;
        (start + bytes <= self.end.load(Ordering::Acquire)).then_some(start as *mut u8)
    }

    /// Makes room for a block behind the end. `false`: there is none.
    #[cold]
    fn grow(&self, bytes: usize, alignment: usize) -> bool {
        let grown = self.in_turn(|| {
            let (base, end) = (self.base.load(Ordering::Relaxed), self.end.load(Ordering::Acquire));
            let start = self.next.load(Ordering::Acquire).checked_next_multiple_of(alignment)?;
            let wanted = start.checked_add(bytes)?.checked_next_multiple_of(ALIGNMENT)?;
            if end == 0 || wanted - base > LARGEST_GROWN {
                return None;
            }
            if wanted > end {
                // Nothing else lies there: the kernel would not reserve it. So no plain block comes to lie below the
                // end.
                map::reserve_at(end as *mut u8, wanted - end)?;
                self.put_end(wanted);
            }
            Some(())
        });
        grown.flatten().is_some()
    }

    /// Moves the end, and the limit, which is never below it: else what another thread takes of a new part, and frees
    /// before this one has come to the limit, would pass for a plain block. One thread at a time.
    fn put_end(&self, end: usize) {
        // Release: a thread that sees the end sees the limit that was raised before it.
        if end > self.end.load(Ordering::Relaxed) {
            set_limit(end);
            self.end.store(end, Ordering::Release);
        } else {
            self.end.store(end, Ordering::Release);
            set_limit(end);
        }
    }

    /// Before a fork: waits until no other thread changes the end, and lets none begin. So the child finds no change
    /// half made by a thread that it does not have. Nothing is waited for without a bound, as everywhere here.
    pub(crate) fn hold_end(&self) {
        let own = own_address();
        // A handler of a signal may fork, and have interrupted this thread in the middle of a change or of a fork.
        if self.changing.load(Ordering::Relaxed) & !FORKS != own {
            self.take_turn(own | FORKS);
        }
    }

    /// After a fork, in the parent.
    pub(crate) fn let_end_go(&self) {
        // In vain if the wait was, or if a fork in a handler came to an end before.
        let _ = self.changing.compare_exchange(own_address() | FORKS, 0, Ordering::Release, Ordering::Relaxed);
    }

    /// After a fork, in the child, on its only thread: what that is in the middle of, it goes on with; no other will.
    pub(crate) fn let_end_go_in_child(&self) {
        let holder = self.changing.load(Ordering::Relaxed);
        if holder != own_address() {
            self.changing.store(0, Ordering::Release);
        }
    }

    /// Runs work that changes the end, one thread at a time. `None`: another one does not come to an end.
    fn in_turn<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        self.take_turn(own_address()).then(|| {
            let result = work();
            self.changing.store(0, Ordering::Release);
            result
        })
    }

    fn take_turn(&self, holder: usize) -> bool {
        (0..TRIES).any(|_| {
            std::hint::spin_loop();
            self.changing.compare_exchange_weak(0, holder, Ordering::Acquire, Ordering::Relaxed).is_ok()
        })
    }
}

fn own_address() -> usize {
    tls::thread().address()
}

/// Whether reserving address space takes time here: the fastest of three small tries.
fn is_slow() -> bool {
    (0..3).all(|_| {
        let start = clock::monotonic_ns();
        if let Some(raw) = map::reserve(TRIAL) {
            // SAFETY: reserved above.
            unsafe { map::unmap(raw.as_ptr(), TRIAL) };
        }
        clock::monotonic_ns().wrapping_sub(start) > SLOW_NS
    })
}

/// The largest piece, halving from `most`, that `reserve` has: its address, and its bytes.
fn largest_of(most: usize, reserve: impl Fn(usize) -> Option<std::ptr::NonNull<u8>>) -> Option<(usize, usize)> {
    let sizes = std::iter::successors(Some(most), |bytes| Some(bytes / 2)).map(|bytes| bytes & !(map::page_size() - 1));
    let mut sizes = sizes.take_while(|&bytes| bytes >= SMALLEST);
    sizes.find_map(|bytes| Some((reserve(bytes)?.as_ptr() as usize, bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_lies_below_other_mappings_and_hands_out_memory_once() {
        let other = map::anonymous(1 << 20).unwrap().as_ptr() as usize;
        for (most, random) in [(1 << 30, 7 << 30), (usize::MAX, 0x1234_5678_9abc_def0), (1 << 30, 7 << 30)] {
            let range = Range::new();
            assert!(!range.holds(0x1000) && range.reserve(most, random));
            let first = range.take(1 << 20, 1 << 21).unwrap();
            let second = range.take(1 << 20, 4096).unwrap();
            assert!((first as usize).is_multiple_of(1 << 21) && second as usize >= first as usize + (1 << 20));
            assert!(range.holds(first as usize) && range.holds(second as usize + (1 << 20) - 1));
            assert!(!range.holds(other) && !range.holds(range.end.load(Ordering::Relaxed)));
            assert_eq!((second as usize) < other, cfg!(target_pointer_width = "64"), "{first:?}");
            // SAFETY: the range just put memory there.
            unsafe { first.write(1) };
            assert_eq!(range.take(2 * LARGEST_GROWN, 4096), None);
        }
    }

    #[test]
    fn sizes_are_halved_until_one_is_to_be_had() {
        let at = std::ptr::NonNull::<u8>::dangling();
        let tried = std::cell::RefCell::new(Vec::new());
        let found = largest_of(100 << 20, |bytes| {
            tried.borrow_mut().push(bytes >> 20);
            (bytes <= 25 << 20).then_some(at)
        });
        assert_eq!((found.map(|(_, bytes)| bytes >> 20), tried.take()), (Some(25), vec![100, 50, 25]));
        assert_eq!(largest_of(100 << 20, |_| None), None);
    }

    #[test]
    fn what_was_not_handed_out_is_given_back() {
        let range = Range::new();
        range.give_back(0);
        assert!(range.reserve(1 << 30, 3 << 40));
        let first = range.take(1 << 20, 4096).unwrap() as usize;
        range.give_back(2 << 20);
        let second = range.take(1 << 20, 4096).unwrap() as usize;
        assert!(range.holds(first) && range.holds(second + (1 << 20) - 1) && !range.holds(second + (2 << 20)));
        let given = range.give_back(0);
        assert!(range.holds(first) && range.holds(second) && !range.holds(second + (1 << 20)));
        // SAFETY: handed out above.
        unsafe { (second as *mut u8).write(1) };
        range.restore(given);
        assert!(range.holds(second + (1 << 20)));
    }

    #[test]
    fn it_grows_as_long_as_nothing_lies_behind_it() {
        let range = Range::new();
        assert!(range.reserve(SMALLEST, 5 << 40));
        let end = range.end.load(Ordering::Relaxed);
        let blocks: Vec<_> = (0..20).map(|_| range.take(1 << 20, 4096).unwrap() as usize).collect();
        assert!(blocks.windows(2).all(|pair| pair[1] == pair[0] + (1 << 20)) && blocks[19] > end);
        assert!(range.holds(blocks[19]) && range.last_refusal() == Refusal::None);
        let behind = range.end.load(Ordering::Relaxed) as *mut u8;
        assert!(map::reserve_at(behind, 4096).is_some());
        assert_eq!((range.take(16 << 20, 4096), range.last_refusal()), (None, Refusal::Room));
        assert_eq!(range.last_refusal(), Refusal::None);
        assert!(!range.holds(behind as usize));
    }

    #[test]
    fn a_fork_child_takes_over_from_the_threads_that_it_has_not() {
        let range = Range::new();
        assert!(range.reserve(SMALLEST, 6 << 40));
        let other = std::thread::spawn(own_address).join().unwrap();
        // Its change does not come to an end: the fork goes on, and only the child knows that it never will.
        range.changing.store(other, Ordering::Relaxed);
        range.hold_end();
        range.let_end_go();
        assert_eq!(range.take(2 * SMALLEST, 4096), None);
        range.let_end_go_in_child();
        assert!(range.take(2 * SMALLEST, 4096).is_some());
        // What this very thread was interrupted in goes on, in both.
        range.in_turn(|| {
            range.hold_end();
            range.let_end_go();
            range.let_end_go_in_child();
            assert_eq!(range.changing.load(Ordering::Relaxed), own_address());
        });
        assert_eq!(range.changing.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_end_stays_where_it_is_during_a_fork() {
        let range = Range::new();
        assert!(range.reserve(SMALLEST, 2 << 40));
        range.hold_end();
        let given_back = || std::thread::scope(|scope| scope.spawn(|| range.give_back(0)).join().unwrap());
        assert_eq!(given_back(), 0);
        range.let_end_go();
        assert_eq!(given_back(), SMALLEST);
        range.hold_end();
        range.let_end_go_in_child();
        range.restore(SMALLEST);
        assert_eq!(given_back(), SMALLEST);
    }

    #[test]
    fn threads_that_let_it_grow_get_different_memory() {
        static RANGE: Range = Range::new();
        assert!(RANGE.reserve(SMALLEST, 1 << 40));
        // What one thread has made room for another may take, or give back: that costs a sample, and no more.
        let one = || (0..1000).find_map(|_| RANGE.take(256 << 10, 4096)).expect("room") as usize;
        let take = || (0..200).map(|_| one()).collect::<Vec<_>>();
        let mut all: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            (0..50).for_each(|_| _ = RANGE.give_back(0));
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        all.sort();
        assert!(all.windows(2).all(|pair| pair[1] - pair[0] >= 256 << 10) && all.iter().all(|&at| RANGE.holds(at)));
    }
}
