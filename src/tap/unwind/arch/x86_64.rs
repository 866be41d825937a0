//! x86-64: reading the registers, the thread pointer and the loader's look-up function; call sites.
//!
//! Nothing here allocates, locks or blocks; the asm blocks read registers and our own GOT only.
//!
//! # Safety
//! Each asm block writes nothing but its outputs. `follows_call` takes a slice and cannot fault.

#![allow(unsafe_code)]

use core::arch::asm;

use super::cpu::{Cpu, X86_64};
use crate::tap::code_address::ReturnAddress;
use crate::tap::os::libc_names::weak_address;
use crate::tap::stack::Registers;

/// The processor that this library is built for.
pub(in crate::tap::unwind) const CPU: Cpu = X86_64;

/// Where the part of `struct pthread` that is looked at lies, from the thread pointer, and its length. It begins behind
/// the words that compilers know; 2,048 bytes are less than the structure has in any glibc (2,304 in 2.17).
pub(in crate::tap::unwind) const CONTROL_BLOCK: (isize, usize) = (0x100, 2048 - 0x100);

/// The same of musl's, which has 200 bytes in 1.2.
pub(in crate::tap::unwind) const MUSLS_CONTROL_BLOCK: (isize, usize) = (0, 160);

/// The registers at this very point of the calling function: where a walk starts (`first`).
///
/// Always inlined: in a function of its own it would describe a frame that is gone on return.
#[inline(always)]
pub(crate) fn capture_here() -> Registers {
    let (pc, sp, fp): (usize, usize, usize);
    // SAFETY: reads rip, rsp and rbp and writes only the three outputs.
    unsafe {
        asm!(
            "lea {pc}, [rip]",
            "mov {sp}, rsp",
            "mov {fp}, rbp",
            pc = out(reg) pc,
            sp = out(reg) sp,
            fp = out(reg) fp,
            options(nomem, nostack, preserves_flags)
        );
    }
    Registers { pc: ReturnAddress::new(pc), sp, fp }
}

/// Address of this thread's control block; glibc puts it at the top of the stacks that it makes.
pub(in crate::tap::unwind) fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: the x86-64 TLS ABI keeps the control block's own address in its first word.
    unsafe { asm!("mov {}, fs:[0]", out(reg) pointer, options(pure, readonly, nostack, preserves_flags)) };
    pointer
}

/// Address of glibc's `_dl_find_object` (2.35 and later), or 0.
///
/// Weak, so that an older glibc leaves 0 in the GOT instead of refusing the library.
pub(in crate::tap::unwind) fn dl_find_object() -> usize {
    weak_address!("_dl_find_object")
}

/// Whether these bytes, which end where a return address points to, end in a call instruction.
pub(in crate::tap::unwind) fn follows_call(code: &[u8]) -> bool {
    let from_end = |back: usize| code.len().checked_sub(back).and_then(|at| code.get(at)).copied();
    // E8 rel32, or FF with /2 in its ModRM byte and 0, 1 (SIB or disp8), 2, 4, 5 bytes after it.
    from_end(5) == Some(0xe8)
        || [2, 3, 4, 6, 7]
            .into_iter()
            .any(|back| from_end(back) == Some(0xff) && from_end(back - 1).is_some_and(|modrm| modrm & 0o070 == 0o020))
}

/// Where the first direct call of this code leads, from its beginning, if only moves between registers stand before it.
pub(in crate::tap::unwind) fn first_call(code: &[u8]) -> Option<isize> {
    let mut at = 0;
    loop {
        match code.get(at..)? {
            // mov and movslq of registers, with REX prefix or without.
            [0x40..=0x4f, 0x89 | 0x8b | 0x63, 0xc0..=0xff, ..] => at += 3,
            [0x89 | 0x8b, 0xc0..=0xff, ..] => at += 2,
            [0xe8, a, b, c, d, ..] => return Some(at as isize + 5 + i32::from_le_bytes([*a, *b, *c, *d]) as isize),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{first_call, follows_call};

    #[test]
    fn a_call_behind_moves_leads_where_it_says() {
        assert_eq!(first_call(&[0x89, 0xc7, 0xe8, 0xff, 0xa2, 0xff, 0xff, 0x66]), Some(7 - 0x5d01));
        assert_eq!(first_call(&[0x48, 0x89, 0xc7, 0xe8, 1, 0, 0, 0]), Some(9));
        assert_eq!(first_call(&[0x48, 0x63, 0xf8, 0xe8, 1, 0, 0, 0]), Some(9));
        for other in [&[0xc3, 0xe8, 1, 0, 0, 0][..], &[0x48, 0x89, 0xc7], &[0x48, 0x89, 0x07, 0xe8, 1, 0, 0, 0], &[]] {
            assert_eq!(first_call(other), None, "{other:x?}");
        }
    }

    #[test]
    fn call_instructions_are_recognised_before_a_return_address() {
        let calls: [&[u8]; 5] = [
            &[0x90, 0xe8, 1, 2, 3, 4],             // call rel32
            &[0x90, 0xff, 0xd0],                   // call rax
            &[0x41, 0xff, 0xd4],                   // call r12
            &[0xff, 0x15, 1, 2, 3, 4],             // call [rip + disp32]
            &[0x42, 0xff, 0x94, 0xcc, 0, 1, 0, 0], // call [rsp + r9 * 8 + disp32]
        ];
        assert!(calls.iter().all(|code| follows_call(code)));
        let others: [&[u8]; 4] = [&[], &[0xff], &[0xe9, 1, 2, 3, 4], &[0xff, 0xe0]]; // …, jmp rel32, jmp rax
        assert!(!others.iter().any(|code| follows_call(code)));
    }
}
