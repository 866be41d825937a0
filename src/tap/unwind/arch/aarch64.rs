//! aarch64: reading the registers, the thread pointer and the loader's look-up function; call sites.
//!
//! Untested on hardware: compiled for the target and its rules tested as values (`arch::AARCH64`).
//! Nothing here allocates, locks or blocks; the asm blocks read registers and our own GOT only.
//!
//! # Safety
//! Each asm block writes nothing but its outputs. `follows_call` takes a slice and cannot fault.

#![allow(unsafe_code)]

use core::arch::asm;

use super::{AARCH64, Cpu};
use crate::tap::stack::Registers;

/// The processor that this library is built for.
pub(in crate::tap::unwind) const CPU: Cpu = AARCH64;

/// The registers at this very point of the calling function: where a walk starts (`first`).
///
/// Always inlined: in a function of its own it would describe a frame that is gone on return.
#[inline(always)]
pub(crate) fn capture_here() -> Registers {
    let (pc, sp, fp): (usize, usize, usize);
    // SAFETY: reads pc, sp and x29 and writes only the three outputs.
    unsafe {
        asm!(
            "adr {pc}, .",
            "mov {sp}, sp",
            "mov {fp}, x29",
            pc = out(reg) pc,
            sp = out(reg) sp,
            fp = out(reg) fp,
            options(nomem, nostack, preserves_flags)
        );
    }
    Registers { pc, sp, fp }
}

/// The thread pointer; glibc puts a thread's control block just below it, at the top of its stack.
pub(in crate::tap::unwind) fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a system register that user space may read.
    unsafe { asm!("mrs {}, tpidr_el0", out(reg) pointer, options(pure, nomem, nostack, preserves_flags)) };
    pointer
}

/// Address of glibc's `_dl_find_object` (2.35 and later), or 0.
///
/// Weak, so that an older glibc leaves 0 in the GOT instead of refusing the library.
pub(in crate::tap::unwind) fn dl_find_object() -> usize {
    let address: usize;
    // SAFETY: loads one word of our own GOT, which the loader filled before any code of ours ran.
    unsafe {
        asm!(
            ".weak _dl_find_object",
            "adrp {0}, :got:_dl_find_object",
            "ldr {0}, [{0}, :got_lo12:_dl_find_object]",
            out(reg) address,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    address
}

/// A return address without its pointer authentication code (user addresses have 48 bits here; the
/// signature and the tag stand above them).
#[inline(always)]
pub(in crate::tap::unwind) fn bare_return_address(word: usize) -> usize {
    word & ((1 << 48) - 1)
}

/// Whether these bytes, which end where a return address points to, end in `bl` or `blr`.
pub(in crate::tap::unwind) fn follows_call(code: &[u8]) -> bool {
    let Some(word) = code.last_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes)) else { return false };
    let (bl, blr) = (word >> 26 == 0b10_0101, word & 0xffff_fc1f == 0xd63f_0000);
    let blr_authenticated = word & 0xfeff_f800 == 0xd63f_0800;
    bl || blr || blr_authenticated
}
