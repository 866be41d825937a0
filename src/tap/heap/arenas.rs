//! The arenas of sampled blocks: jemalloc's, with extents that all lie in the reserved [`Range`].
//!
//! So `free` can tell sampled blocks from an address alone. The blocks never enter a thread cache, where an unsampled
//! request could pick them up.
//!
//! # Safety
//! Pointers go to jemalloc only if they came from it. The extent hooks are called by jemalloc with
//! extents of our arenas, and hand out only memory that the range has just given.
#![allow(unsafe_code)]

use crate::tap::backend::ControlName;
use crate::tap::os::{map, range::Range};
use std::ffi::{c_int, c_uint, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};
use tikv_jemalloc_ctl::raw;
use tikv_jemalloc_sys as je;

/// How many: one alone is a bottleneck, more than a few only cost memory.
const ARENAS: usize = 4;
/// From here on blocks have an arena of their own, whose freed pages go back at once, as jemalloc does it by default
/// (`oversize_threshold`). There a block that grows step by step finds room behind it: in the others the dirty rest of
/// its last move, smaller than a step, lies in between, and it moves every 2 MiB.
const OVERSIZE: usize = 8 << 20;
/// How long jemalloc keeps unused pages where nobody says otherwise (`dirty_decay_ms`), and how long they are kept
/// here. A program's own arenas take them up again; these see one allocation in hundreds, and kept 5 MiB of
/// Elasticsearch's for nobody.
const USUAL_MS: isize = 10_000;
const KEPT_MS: isize = 1_000;

/// The arenas and their range.
#[repr(C)]
pub(super) struct Arenas {
    /// First, so that jemalloc's pointer to the hooks is a pointer to the arenas.
    hooks: je::extent_hooks_t,
    pub(super) range: Range,
    each: [LazyArena; ARENAS + 1],
}

/// One arena, which is made when a thread first wants it. One word: a [`State`].
struct LazyArena(AtomicU32);

/// The state of an arena.
#[derive(Clone, Copy)]
enum State {
    /// No thread has wanted it yet.
    NotMade,
    /// jemalloc could not make it.
    Refused,
    /// Its index.
    Made(u32),
}

impl State {
    const fn to_word(self) -> u32 {
        match self {
            State::NotMade => 0,
            State::Refused => u32::MAX,
            State::Made(index) => index + 1,
        }
    }

    #[inline(always)]
    const fn of_word(word: u32) -> State {
        match word {
            0 => State::NotMade,
            u32::MAX => State::Refused,
            word => State::Made(word - 1),
        }
    }

    fn index(self) -> Option<u32> {
        if let State::Made(index) = self { Some(index) } else { None }
    }
}

impl LazyArena {
    // Relaxed, here and below: the word is all that there is; what an index stands for is jemalloc's.
    #[inline(always)]
    fn state(&self) -> State {
        State::of_word(self.0.load(Ordering::Relaxed))
    }

    /// Notes what became of the arena, unless another thread did before.
    fn settle(&self, state: State) {
        let _ =
            self.0.compare_exchange(State::NotMade.to_word(), state.to_word(), Ordering::Relaxed, Ordering::Relaxed);
    }
}

// SAFETY: the hooks are never written; everything else is atomic.
unsafe impl Sync for Arenas {}

impl Arenas {
    /// Arenas without a range: every allocation fails.
    pub(super) const fn new() -> Arenas {
        Arenas {
            hooks: je::extent_hooks_t {
                alloc: Some(extent_alloc),
                dalloc: Some(extent_free),
                destroy: None,
                commit: None,
                decommit: None,
                purge_lazy: None,
                purge_forced: Some(extent_purge),
                split: Some(extent_split),
                merge: Some(extent_merge),
            },
            range: Range::new(),
            each: [const { LazyArena(AtomicU32::new(State::NotMade.to_word())) }; ARENAS + 1],
        }
    }

    /// Allocates from an arena. `flags`: alignment and zeros, as `mallocx` takes them; `hint` spreads threads.
    pub(super) fn allocate(&'static self, bytes: usize, flags: c_int, hint: usize) -> Option<NonNull<c_void>> {
        let flags = flags | self.flags(bytes, hint)?;
        // SAFETY: the size is not zero; the arena exists.
        let base = NonNull::new(unsafe { je::mallocx(bytes, flags) })?;
        if !self.range.holds(base.as_ptr() as usize) {
            // Called by jemalloc itself (pthread_create in its background threads), it takes its arena 0.
            // SAFETY: allocated above.
            unsafe { Arenas::free(base.as_ptr()) };
            return None;
        }
        Some(base)
    }

    /// Changes the size of a large block: in place if there is room behind it, else it moves within the arenas.
    ///
    /// # Safety
    /// `base` came from [`allocate`](Self::allocate) and is the caller's.
    pub(super) unsafe fn resize(
        &'static self,
        base: *mut c_void,
        bytes: usize,
        flags: c_int,
        hint: usize,
    ) -> Option<NonNull<c_void>> {
        let flags = flags | self.flags(bytes, hint)?;
        // SAFETY: passed on to the caller; the arena exists.
        NonNull::new(unsafe { je::rallocx(base, bytes, flags) })
    }

    /// Changes the size of a large block if that can be done in place. What jemalloc then says of it.
    ///
    /// # Safety
    /// As for [`resize`](Self::resize).
    pub(super) unsafe fn resize_in_place(base: *mut c_void, bytes: usize, flags: c_int) -> usize {
        // SAFETY: passed on to the caller.
        unsafe { je::xallocx(base, bytes, 0, flags) }
    }

    /// All bytes of a block, as jemalloc counts. Not for threads that are ending: see the head of the heap.
    ///
    /// # Safety
    /// As for [`resize`](Self::resize).
    pub(super) unsafe fn all_bytes(base: *const c_void) -> usize {
        // SAFETY: passed on to the caller.
        unsafe { je::sallocx(base, 0) }
    }

    /// Gives a block back.
    ///
    /// # Safety
    /// `base` came from [`allocate`](Self::allocate) and nobody uses it any more.
    pub(super) unsafe fn free(base: *mut c_void) {
        // Never in a thread cache. Of a thread without state jemalloc makes the minimal one here, that needs no end.
        // SAFETY: passed on to the caller.
        unsafe { je::dallocx(base, je::MALLOCX_TCACHE_NONE) }
    }

    /// Whether an arena of this index is one of these. A program that counts jemalloc's arenas counts them, too.
    pub(super) fn has(&self, index: u32) -> bool {
        self.each.iter().any(|arena| arena.state().index() == Some(index))
    }

    /// Moves the calling thread, which has just been given an arena, out of these: what it allocates is not sampled.
    pub(super) fn send_away(&self) {
        // SAFETY: reads an `unsigned` under a NUL-terminated name.
        let current = unsafe { raw::read::<c_uint>(b"thread.arena\0") };
        if current.is_ok_and(|index| self.has(index)) {
            // SAFETY: the control takes the index of an arena: the first one is always there.
            let _ = unsafe { raw::write::<c_uint>(b"thread.arena\0", 0) };
        }
    }

    fn flags(&'static self, bytes: usize, hint: usize) -> Option<c_int> {
        Some(je::MALLOCX_ARENA(self.arena(bytes, hint)? as usize) | je::MALLOCX_TCACHE_NONE)
    }

    #[inline]
    fn arena(&'static self, bytes: usize, hint: usize) -> Option<u32> {
        let number = if bytes < OVERSIZE { hint % ARENAS } else { ARENAS };
        let arena = self.each.get(number)?;
        match arena.state() {
            State::NotMade => self.make_arena(arena, number == ARENAS),
            State::Refused => None,
            State::Made(index) => Some(index),
        }
    }

    /// Makes an arena. Two threads may both make one; the second one's stays unused.
    #[cold]
    #[inline(never)]
    fn make_arena(&'static self, arena: &LazyArena, keeps_nothing: bool) -> Option<u32> {
        // SAFETY: reads the index of the new arena, an `unsigned`, under a NUL-terminated name.
        let made = unsafe { raw::read::<c_uint>(b"arenas.create\0") };
        let made = made.ok().filter(|&index| self.take_over(index)).map_or(State::Refused, State::Made);
        if let Some(index) = made.index() {
            if keeps_nothing {
                keep_for(index, b".dirty_decay_ms\0", 0);
                keep_for(index, b".muzzy_decay_ms\0", 0);
            } else if is_usual_decay() {
                keep_for(index, b".dirty_decay_ms\0", KEPT_MS);
            }
        }
        arena.settle(made);
        arena.state().index()
    }

    /// Puts our extent hooks under a new arena. Its metadata, allocated before, stays outside the range.
    fn take_over(&'static self, arena: u32) -> bool {
        let mut name = ControlName::new();
        name.push(b"arena.").number(u64::from(arena)).push(b".extent_hooks\0");
        let hooks: *const je::extent_hooks_t = &raw const self.hooks;
        // SAFETY: the control takes a pointer to hooks, which live as long as the process.
        unsafe { raw::write(name.as_bytes(), hooks.cast_mut()) }.is_ok()
    }
}

/// Whether the user left it to jemalloc how long unused pages are kept.
fn is_usual_decay() -> bool {
    // SAFETY: reads an `ssize_t` under a NUL-terminated name.
    let kept = unsafe { raw::read::<isize>(b"arenas.dirty_decay_ms\0") };
    kept.is_ok_and(|ms| ms == USUAL_MS)
}

/// Lets an arena keep unused pages for so long; `kind`: which pages, as a control of jemalloc's.
fn keep_for(arena: u32, kind: &[u8], ms: isize) {
    let mut name = ControlName::new();
    name.push(b"arena.").number(u64::from(arena)).push(kind);
    // SAFETY: these controls take an `ssize_t`.
    let _ = unsafe { raw::write(name.as_bytes(), ms) };
}

unsafe extern "C" fn extent_alloc(
    hooks: *mut je::extent_hooks_t,
    new_address: *mut c_void,
    size: usize,
    alignment: usize,
    zero: *mut bool,
    commit: *mut bool,
    _arena: c_uint,
) -> *mut c_void {
    if !new_address.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: our hooks are the first field of the one Arenas, which is a static.
    let arenas = unsafe { &*hooks.cast::<Arenas>() };
    let Some(extent) = arenas.range.take(size, alignment.max(1)) else { return ptr::null_mut() };
    // SAFETY: jemalloc passes places for two answers: fresh mappings are zeroed and committed.
    unsafe { zero.write(true) };
    // SAFETY: as above.
    unsafe { commit.write(true) };
    extent.cast()
}

/// Gives an extent back with its address space, where that is limited; `true` tells jemalloc to keep it.
unsafe extern "C" fn extent_free(
    hooks: *mut je::extent_hooks_t,
    address: *mut c_void,
    size: usize,
    _committed: bool,
    _arena: c_uint,
) -> bool {
    // SAFETY: our hooks are the first field of the one Arenas, which is a static.
    let arenas = unsafe { &*hooks.cast::<Arenas>() };
    // SAFETY: jemalloc owns this extent of our range and needs nothing in it.
    !unsafe { arenas.range.put_back(address.cast(), size) }
}

/// Gives pages back; `false` tells jemalloc that it worked. Under mlockall madvise fails and a
/// fresh mapping does it.
unsafe extern "C" fn extent_purge(
    _hooks: *mut je::extent_hooks_t,
    address: *mut c_void,
    _size: usize,
    offset: usize,
    length: usize,
    _arena: c_uint,
) -> bool {
    let start = address.cast::<u8>().wrapping_add(offset);
    // SAFETY: jemalloc owns this extent of our range and needs nothing in this part of it.
    let done = unsafe { map::discard(start, length) }
        // SAFETY: the same.
        || unsafe { map::renew(start, length) };
    !done
}

/// Extents of one mapping can always be split.
unsafe extern "C" fn extent_split(
    _hooks: *mut je::extent_hooks_t,
    _address: *mut c_void,
    _size: usize,
    _first: usize,
    _second: usize,
    _committed: bool,
    _arena: c_uint,
) -> bool {
    false
}

/// Neighbours of one mapping can always be merged.
unsafe extern "C" fn extent_merge(
    _hooks: *mut je::extent_hooks_t,
    _first: *mut c_void,
    _first_size: usize,
    _second: *mut c_void,
    _second_size: usize,
    _committed: bool,
    _arena: c_uint,
) -> bool {
    false
}
