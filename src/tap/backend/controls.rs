//! What is asked of the embedded jemalloc by name (mallctl): to boot, to purge, how many pages it has. No allocation here.
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
    /// Moves this thread to an arena of its own; where none can be had, it stays where it is.
    pub(crate) fn settle() -> OwnArena {
        // SAFETY: reads the index of the new arena, an `unsigned`, under a NUL-terminated name.
        let made = unsafe { raw::read::<c_uint>(b"arenas.create\0") }.ok();
        // SAFETY: the control takes the index of an arena.
        OwnArena(made.filter(|&arena| unsafe { raw::write(b"thread.arena\0", arena) }.is_ok()))
    }

    /// Gives its unused memory back to the system at once, not in ten seconds: it is not the program's.
    pub(crate) fn purge(&self) {
        if let Some(arena) = self.0 {
            purge_arena(u64::from(arena));
        }
    }
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

fn purge_arena(arena: u64) {
    let mut name = Name::new();
    name.push(b"arena.").number(arena).push(b".purge\0");
    // SAFETY: the name is NUL-terminated, and this control takes and gives nothing.
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
        let mut name = Name::new();
        name.push(b"stats.arenas.").number(ALL_ARENAS).push(kind);
        // SAFETY: reads a `size_t` under a NUL-terminated name.
        unsafe { raw::read::<usize>(name.as_bytes()) }.unwrap_or(0).saturating_mul(page)
    };
    [pages(b".pactive\0"), pages(b".pdirty\0") + pages(b".pmuzzy\0")]
}

/// A mallctl name put together without allocating.
pub(super) struct Name {
    bytes: [u8; 64],
    len: usize,
}

impl Name {
    pub(super) fn new() -> Name {
        Name { bytes: [0; 64], len: 0 }
    }

    pub(super) fn push(&mut self, part: &[u8]) -> &mut Name {
        for byte in part {
            if let Some(slot) = self.bytes.get_mut(self.len) {
                *slot = *byte;
                self.len += 1;
            }
        }
        self
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Name {
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

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(b"\0")
    }

    pub(super) fn as_ptr(&self) -> *const std::ffi::c_char {
        self.as_bytes().as_ptr().cast()
    }
}
