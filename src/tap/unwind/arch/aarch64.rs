//! aarch64: reading the registers, the thread pointer and the loader's look-up function; call sites.
//!
//! Untested on hardware: compiled for the target and its rules tested as values (`arch::AARCH64`).
//! Nothing here allocates, locks or blocks; the asm blocks read registers and our own GOT only.
//!
//! # Safety
//! Each asm block writes nothing but its outputs. `follows_call` takes a slice and cannot fault.

#![allow(unsafe_code)]

use core::arch::asm;

use super::cpu::{AARCH64, Cpu};
use crate::tap::code_address::ReturnAddress;
use crate::tap::os::libc_names::weak_address;
use crate::tap::stack::Registers;

/// The processor that this library is built for.
pub(in crate::tap::unwind) const CPU: Cpu = AARCH64;

/// Where the part of `struct pthread` that is looked at lies, from the thread pointer, and its length. The structure
/// ends where the thread pointer points to; 1,536 bytes are less than it has in any glibc (1,776 in 2.17).
pub(in crate::tap::unwind) const CONTROL_BLOCK: (isize, usize) = (-1536, 1536);

/// The same of musl's, which has 200 bytes in 1.2.
pub(in crate::tap::unwind) const MUSLS_CONTROL_BLOCK: (isize, usize) = (-192, 192);

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
    Registers { pc: ReturnAddress::new(pc), sp, fp }
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
    weak_address!("_dl_find_object")
}

/// Whether these bytes, which end where a return address points to, end in `bl` or `blr`.
pub(in crate::tap::unwind) fn follows_call(code: &[u8]) -> bool {
    let Some(word) = code.last_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes)) else { return false };
    let (bl, blr) = (word >> 26 == 0b10_0101, word & 0xffff_fc1f == 0xd63f_0000);
    let blr_authenticated = word & 0xfeff_f800 == 0xd63f_0800;
    bl || blr || blr_authenticated
}

/// Where the first direct call of this code leads, from its beginning, if only moves between registers stand before it.
pub(in crate::tap::unwind) fn first_call(code: &[u8]) -> Option<isize> {
    for (number, word) in code.chunks_exact(4).enumerate() {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        if word >> 26 == 0b10_0101 {
            // The low 26 bits are a signed number of words.
            return Some(4 * (number as isize + ((word << 6).cast_signed() >> 6) as isize));
        }
        // mov of registers (orr with the zero register) and sxtw.
        let is_move = word & 0x7fe0_ffe0 == 0x2a00_03e0 || word & 0xffff_fc00 == 0x9340_7c00;
        if !is_move {
            return None;
        }
    }
    None
}
