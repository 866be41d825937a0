//! The jumps of the fast exports to jemalloc, led elsewhere: `prof_allocator:keep`.
//!
//! `malloc` and its like pass on what is not sampled by one conditional jump each, straight to jemalloc; a table of
//! functions would cost each call an instruction. A process that keeps its allocator has those jumps rewritten instead,
//! once, during the first call: the code of the process itself is changed, a few bytes of one or two pages of this
//! library. Where the kernel does not let a process do that (MemoryDenyWriteExecute of systemd, `execmod` of SELinux),
//! nothing is changed. They lead to the functions of the other allocator where those lie near enough (2 GiB; 128 MiB on
//! aarch64), else to stubs of one more instruction. No thread takes such a jump before the first call is over: the
//! waits of all threads are used up, and the limit that `free` compares with is the highest address.
//!
//! # Safety
//! Only bytes that are the jumps expected there are rewritten, each to a jump of the same length.
#![allow(unsafe_code)]

use super::next::{self, NEXT, Place};
use crate::tap::os::map;
use std::sync::atomic::Ordering;

unsafe extern "C" {
    // Labels of `exports/four`, at the jumps.
    static heaptap_plain_malloc: u8;
    static heaptap_plain_free: u8;
}

// On aarch64 the other two are Rust and look at the table.
#[cfg(target_arch = "x86_64")]
unsafe extern "C" {
    static heaptap_plain_calloc: u8;
    static heaptap_plain_calloc_overflow: u8;
    static heaptap_plain_realloc: u8;
    static heaptap_plain_realloc_null: u8;
}

/// A jump of the exports, and where it may lead.
struct Jump {
    at: usize,
    stub: usize,
    function: &'static Place,
}

impl Jump {
    fn new(label: *const u8, stub: unsafe extern "C" fn(), function: &'static Place) -> Jump {
        Jump { at: label as usize, stub: stub as usize, function }
    }

    /// The function itself, if the jump reaches it.
    fn nearest(&self) -> usize {
        let function = self.function.load(Ordering::Relaxed) as usize;
        if code::reaches(self.at, function) { function } else { self.stub }
    }
}

/// Makes the jumps lead to the next allocator's stubs. `false`: they could not be rewritten, and lead where they did.
///
/// # Safety
/// During the first call.
pub(crate) unsafe fn to_next() -> bool {
    // SAFETY: passed on to the caller.
    unsafe { lead(|jump| jump.stub) }
}

/// Makes the jumps lead to the next allocator's functions, past the stubs where they reach so far.
///
/// # Safety
/// During the first call; the next allocator is known.
pub(crate) unsafe fn past_stubs() {
    // SAFETY: passed on to the caller.
    unsafe { lead(Jump::nearest) };
}

/// # Safety
/// During the first call; the jumps may lead there.
unsafe fn lead(to: impl Fn(&Jump) -> usize) -> bool {
    let jumps = [
        Jump::new(&raw const heaptap_plain_malloc, next::to_malloc, &NEXT.malloc),
        Jump::new(&raw const heaptap_plain_free, next::to_free, &NEXT.free),
        #[cfg(target_arch = "x86_64")]
        Jump::new(&raw const heaptap_plain_calloc, next::to_calloc, &NEXT.calloc),
        #[cfg(target_arch = "x86_64")]
        Jump::new(&raw const heaptap_plain_calloc_overflow, next::to_calloc, &NEXT.calloc),
        #[cfg(target_arch = "x86_64")]
        Jump::new(&raw const heaptap_plain_realloc, next::to_realloc, &NEXT.realloc),
        #[cfg(target_arch = "x86_64")]
        Jump::new(&raw const heaptap_plain_realloc_null, next::to_realloc, &NEXT.realloc),
    ];
    // SAFETY: labels of this library's code, which can be read.
    if !jumps.iter().all(|jump| unsafe { code::is_jump(jump.at) } && code::reaches(jump.at, to(jump))) {
        return false;
    }
    let page = map::page_size();
    let first = jumps.iter().map(|jump| jump.at).min().unwrap_or(0) & !(page - 1);
    let end = jumps.iter().map(|jump| jump.at + code::BYTES).max().unwrap_or(0).next_multiple_of(page);
    // SAFETY: whole pages of this library's code; executable all the while.
    if !unsafe { map::make_code_writable(first as *mut u8, end - first) } {
        return false;
    }
    for jump in &jumps {
        // SAFETY: a jump of this form, writable now.
        unsafe { code::write(jump.at, to(jump)) };
    }
    // SAFETY: as they were.
    unsafe { map::make_code_fixed(first as *mut u8, end - first) };
    true
}

/// Conditional jumps with 32-bit displacements: 0F 8x and the distance from the end of the instruction.
#[cfg(target_arch = "x86_64")]
mod code {
    use std::ptr;

    pub(super) const BYTES: usize = 6;

    /// # Safety
    /// The bytes at `at` can be read.
    pub(super) unsafe fn is_jump(at: usize) -> bool {
        let at = ptr::with_exposed_provenance::<[u8; 2]>(at);
        // SAFETY: passed on to the caller.
        let [first, second] = unsafe { at.read() };
        first == 0x0f && second & 0xf0 == 0x80
    }

    pub(super) fn reaches(at: usize, to: usize) -> bool {
        distance(at, to).is_some()
    }

    fn distance(at: usize, to: usize) -> Option<i32> {
        i32::try_from(to.wrapping_sub(at + BYTES).cast_signed()).ok()
    }

    /// # Safety
    /// There is such a jump, and it can be written.
    pub(super) unsafe fn write(at: usize, to: usize) {
        if let Some(distance) = distance(at, to) {
            let place = ptr::with_exposed_provenance_mut::<i32>(at + 2);
            // SAFETY: passed on to the caller.
            unsafe { place.write_unaligned(distance) };
        }
    }
}

/// Unconditional jumps of 26 bits, in words of four bytes.
#[cfg(target_arch = "aarch64")]
mod code {
    use std::ptr;

    pub(super) const BYTES: usize = 4;

    /// # Safety
    /// The bytes at `at` can be read.
    pub(super) unsafe fn is_jump(at: usize) -> bool {
        let at = ptr::with_exposed_provenance::<u32>(at);
        // SAFETY: passed on to the caller.
        let word = unsafe { at.read() };
        word >> 26 == 0b000101
    }

    pub(super) fn reaches(at: usize, to: usize) -> bool {
        (-(1_isize << 27)..1 << 27).contains(&to.wrapping_sub(at).cast_signed())
    }

    /// # Safety
    /// There is such a jump, and it can be written.
    pub(super) unsafe fn write(at: usize, to: usize) {
        let words = (to.wrapping_sub(at).cast_signed() >> 2) as u32 & 0x03ff_ffff;
        let place = ptr::with_exposed_provenance_mut::<u32>(at);
        // SAFETY: passed on to the caller; the processor is told of the new instruction.
        unsafe {
            place.write_volatile(0b000101 << 26 | words);
            core::arch::asm!(
                "dc cvau, {at}", "dsb ish", "ic ivau, {at}", "dsb ish", "isb",
                at = in(reg) at,
                options(nostack),
            );
        }
    }
}
