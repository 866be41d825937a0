//! Controls of the embedded jemalloc, by name (mallctl): boot, purge, counts of pages. No allocation here.
//!
//! # Safety
//! Names are NUL-terminated, and each control gets a value of its type: jemalloc(3).
#![allow(unsafe_code)]

use std::ffi::c_uint;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use tikv_jemalloc_ctl::raw;
use tikv_jemalloc_sys as je;

/// The index that stands for all arenas (MALLCTL_ARENAS_ALL in jemalloc.h).
const ALL_ARENAS: u64 = 4096;

unsafe extern "C" {
    /// jemalloc's `opt.retain`, by the name that the crate's build gives it.
    static _rjem_je_opt_retain: AtomicBool;
    /// jemalloc's tree of pages: what of which size begins where (`emap.h`).
    #[cfg(not(miri))]
    static _rjem_je_arena_emap_global: [u64; 0];
}

/// Where jemalloc's tree of pages lies, for who looks for the blocks of this process from outside.
pub(crate) fn block_tree() -> u64 {
    #[cfg(miri)]
    return 0;
    #[cfg(not(miri))]
    // The address only, nothing is read.
    (&raw const _rjem_je_arena_emap_global as usize as u64)
}

/// Boots jemalloc, so that its own fork handlers are registered before ours.
pub(crate) fn boot() {
    // SAFETY: reads a number under a NUL-terminated name.
    let _ = unsafe { raw::read::<c_uint>(b"arenas.narenas\0") };
}

/// An arena that no other thread allocates from. A child of a raw `clone` runs no handler of fork and finds the
/// locks as they were: those of an arena that only the keeper uses are nothing to it.
pub(crate) struct OwnArena(Option<c_uint>);

impl OwnArena {
    /// Moves this thread to an arena of its own, a new one unless there is an earlier one; where none can be had, it
    /// stays where it is.
    pub(crate) fn settle(earlier: Option<c_uint>) -> OwnArena {
        // SAFETY: reads the index of the new arena, an `unsigned`, under a NUL-terminated name.
        let made = earlier.or_else(|| unsafe { raw::read::<c_uint>(b"arenas.create\0") }.ok());
        // SAFETY: the control takes the index of an arena.
        OwnArena(made.filter(|&arena| unsafe { raw::write(b"thread.arena\0", arena) }.is_ok()))
    }

    /// Its index, for the next thread that it shall serve.
    pub(crate) fn index(&self) -> Option<c_uint> {
        self.0
    }

    /// Gives its unused memory back to the system at once, not in ten seconds: it is not the program's.
    pub(crate) fn purge(&self) {
        if let Some(arena) = self.0 {
            purge_arena(u64::from(arena));
        }
    }
}

/// Whether this thread has an arena, which it gets now if there is memory for one.
pub(crate) fn has_arena() -> bool {
    // SAFETY: reads the index of the arena, an `unsigned`, under a NUL-terminated name.
    unsafe { raw::read::<c_uint>(b"thread.arena\0") }.is_ok()
}

/// From now on address space goes back to the system with the memory. jemalloc keeps freed address space in pieces;
/// under a limit a large request then fails for ever. It looks at this option whenever it frees pages.
pub(crate) fn stop_retaining() {
    // SAFETY: a `bool` of jemalloc's, which is true or false and is only ever read there.
    unsafe { _rjem_je_opt_retain.store(false, Ordering::Relaxed) };
}

/// Gives unused memory of all arenas back to the system.
pub(crate) fn purge() {
    purge_arena(ALL_ARENAS);
}

/// Gives back what has been unused for longer than jemalloc's `dirty_decay_ms` says, in all arenas: those that no
/// thread uses any more notice the time by nothing else. Arenas that are never to decay do not.
pub(crate) fn decay() {
    // SAFETY: reads a `bool` under a NUL-terminated name.
    let has_threads = unsafe { raw::read::<bool>(b"background_thread\0") };
    if has_threads == Ok(true) {
        // They do it.
        return;
    }
    order(ALL_ARENAS, b".decay\0");
}

fn purge_arena(arena: u64) {
    order(arena, b".purge\0");
}

fn order(arena: u64, what: &[u8]) {
    let mut name = ControlName::new();
    name.push(b"arena.").number(arena).push(what);
    // SAFETY: the name is NUL-terminated, and these controls take and give nothing.
    unsafe { je::mallctl(name.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
}

/// Bytes of the pages that blocks lie in, and of the free pages that jemalloc keeps for later. It keeps count
/// of these without its statistics, which are compiled out.
pub(crate) fn page_bytes() -> [usize; 2] {
    // SAFETY: any number refreshes what the names below read.
    let _ = unsafe { raw::write(b"epoch\0", 1u64) };
    // jemalloc's own pages, which may be larger than the kernel's.
    // SAFETY: reads a `size_t` under a NUL-terminated name.
    let page = unsafe { raw::read::<usize>(b"arenas.page\0") }.unwrap_or(0);
    let pages = |kind: &[u8]| {
        let mut name = ControlName::new();
        name.push(b"stats.arenas.").number(ALL_ARENAS).push(kind);
        // SAFETY: reads a `size_t` under a NUL-terminated name.
        unsafe { raw::read::<usize>(name.as_bytes()) }.unwrap_or(0).saturating_mul(page)
    };
    [pages(b".pactive\0"), pages(b".pdirty\0") + pages(b".pmuzzy\0")]
}

/// A mallctl name put together without allocating.
pub(crate) struct ControlName {
    bytes: [u8; 64],
    len: usize,
}

impl ControlName {
    pub(crate) fn new() -> ControlName {
        ControlName { bytes: [0; 64], len: 0 }
    }

    pub(crate) fn push(&mut self, part: &[u8]) -> &mut ControlName {
        for byte in part {
            if let Some(room) = self.bytes.get_mut(self.len) {
                *room = *byte;
                self.len += 1;
            }
        }
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut ControlName {
        let mut divisor = 1;
        while number / divisor >= 10 {
            divisor *= 10;
        }
        while divisor > 0 {
            self.push(&[b'0' + (number / divisor % 10) as u8]);
            divisor /= 10;
        }
        self
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(b"\0")
    }

    pub(crate) fn as_ptr(&self) -> *const std::ffi::c_char {
        self.as_bytes().as_ptr().cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_together() {
        let mut name = ControlName::new();
        name.push(b"arena.").number(4096).push(b".").number(0).push(b"\0");
        assert_eq!(name.as_bytes(), b"arena.4096.0\0");
    }
}
