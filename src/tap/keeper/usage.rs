//! What the process's own allocator says of itself, under `prof_allocator:keep`: bytes in use, bytes that it keeps
//! free, and in how many arenas.
//!
//! glibc's `mallinfo2` and `malloc_info` take the lock of one arena after the other and walk its lists of free blocks
//! meanwhile: microseconds for most programs, and as long as it takes for a heap in a million pieces. So the keeper
//! alone asks, on its own thread, and waits a thousand times as long as the last answer took. Dumps show what it was
//! told last.
//!
//! # Safety
//! `fopencookie` is given functions and a cookie that outlive the stream.
#![allow(unsafe_code)]

use super::pace::Pace;
use crate::tap::backend::keep::{self, Usage};
use crate::tap::backend::{next, next_stats};
use crate::tap::guard::Guard;
use crate::tap::profiler::PROFILER;
use std::ffi::{c_char, c_void};
use std::ptr;

/// An answer may cost one part in so many of a processor's time.
const SHARE: u64 = 1000;
/// Arenas are counted with each so many-th answer: that takes longer.
const COUNTED_EACH: u32 = 8;

/// A change by less than one part in so many is not told,
const CHANGE: u64 = 8;
/// nor one that comes sooner after the last.
const PAUSE_NS: u64 = 5_000_000_000;

/// When the keeper asks.
#[derive(Debug)]
pub(super) struct Asking {
    pace: Pace,
    count: u32,
    /// Bytes in use and kept that the region tells of, and before which time it is not written anew.
    written: [u64; 2],
    not_before_ns: u64,
}

impl Asking {
    /// Nothing was asked yet.
    pub(super) const fn new() -> Asking {
        Asking { pace: Pace::new(SHARE), count: 0, written: [0; 2], not_before_ns: 0 }
    }

    /// Asks, if it is time for it. On the keeper's thread.
    pub(super) fn ask(&mut self, now_ns: u64) {
        if !self.pace.is_due(now_ns) || !next_stats::can_tell() {
            return;
        }
        let counts = self.count.is_multiple_of(COUNTED_EACH);
        self.count = self.count.wrapping_add(1);
        self.pace.spend(now_ns, || {
            // What libc allocates for the answer is not the program's.
            let _guard = Guard::enter();
            let (bytes, arenas) = (next_stats::bytes(), if counts { arenas() } else { None });
            keep::tell(Usage { in_use: bytes.map(|[in_use, _]| in_use), kept: bytes.map(|[_, kept]| kept), arenas });
        });
        self.tell(now_ns);
    }

    /// Has the region tell what the last answer was, if that is another than it tells: a reader finds it also when
    /// there is no dump, and the process is dead.
    fn tell(&mut self, now_ns: u64) {
        let Usage { in_use: Some(in_use), kept: Some(kept), .. } = keep::last() else { return };
        let [in_use_before, kept_before] = self.written;
        let change = in_use.abs_diff(in_use_before).saturating_add(kept.abs_diff(kept_before));
        if change > in_use.saturating_add(kept) / CHANGE && now_ns >= self.not_before_ns {
            (self.written, self.not_before_ns) = ([in_use, kept], now_ns.saturating_add(PAUSE_NS));
            PROFILER.refresh();
        }
    }
}

/// What begins the part of an arena in the text of `malloc_info`.
const ARENA: &[u8] = b"<heap nr=";

/// Counts arenas in a text that comes in pieces.
#[derive(Default)]
struct Counter {
    /// Bytes of [`ARENA`] that the last piece ended with.
    matched: usize,
    arenas: u64,
}

impl Counter {
    fn take(&mut self, text: &[u8]) {
        for byte in text {
            let is_next = ARENA.get(self.matched) == Some(byte);
            // Its first byte stands nowhere else in it.
            self.matched = if is_next { self.matched + 1 } else { usize::from(ARENA.first() == Some(byte)) };
            if self.matched == ARENA.len() {
                (self.matched, self.arenas) = (0, self.arenas + 1);
            }
        }
    }
}

/// `cookie_io_functions_t` of glibc's stdio.h.
#[repr(C)]
struct CookieFunctions {
    read: *const c_void,
    write: extern "C" fn(*mut c_void, *const c_char, usize) -> isize,
    seek: *const c_void,
    close: *const c_void,
}

unsafe extern "C" {
    fn fopencookie(cookie: *mut c_void, mode: *const c_char, functions: CookieFunctions) -> *mut libc::FILE;
}

extern "C" fn write(cookie: *mut c_void, text: *const c_char, bytes: usize) -> isize {
    // SAFETY: the cookie of `arenas`, which nobody else uses meanwhile, and the stream's bytes.
    let (counter, text) =
        unsafe { (&mut *cookie.cast::<Counter>(), std::slice::from_raw_parts(text.cast::<u8>(), bytes)) };
    counter.take(text);
    bytes.cast_signed()
}

/// How many arenas there are, by the text that the allocator writes about itself (glibc; others have another text).
fn arenas() -> Option<u64> {
    let malloc_info = next::malloc_info()?;
    let mut counter = Counter::default();
    let functions = CookieFunctions { read: ptr::null(), write, seek: ptr::null(), close: ptr::null() };
    // SAFETY: the cookie outlives the stream, which is closed here.
    unsafe {
        let stream = fopencookie((&raw mut counter).cast(), c"w".as_ptr(), functions);
        if stream.is_null() {
            return None;
        }
        let is_told = malloc_info(0, stream) == 0;
        (libc::fclose(stream) == 0 && is_told && counter.arenas > 0).then_some(counter.arenas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arenas_are_counted_wherever_the_text_is_cut() {
        let text = b"<malloc version=\"1\">\n<heap nr=\"0\">\n<<heap nr=\"1\">\n</heap><heap nr</malloc>";
        for cut in 0..text.len() {
            let mut counter = Counter::default();
            let (start, end) = text.split_at(cut);
            counter.take(start);
            counter.take(end);
            assert_eq!(counter.arenas, 2, "cut at {cut}");
        }
    }
}
