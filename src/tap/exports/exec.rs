//! The `exec` family: the process executes another program, and a life ends.
//!
//! Each saves the registers that arguments come in, has the tap take its leave (`lifecycle/new_image`), and *jumps* to
//! libc's function: half of them are variadic, and none of ours needs to know what came of it.
//!
//! # Safety
//! Nothing is passed on but registers as they were, to libc's own function of that name.
#![allow(unsafe_code)]

use crate::tap::lifecycle::new_image::{REAL_EXEC, leave};
use std::arch::naked_asm;
use std::ffi::c_int;

/// One function of the family.
macro_rules! door {
    ($name:ident, $place:literal) => {
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $name() -> c_int {
            #[cfg(target_arch = "x86_64")]
            naked_asm!(
                "push rdi",
                "push rsi",
                "push rdx",
                "push rcx",
                "push r8",
                "push r9",
                "sub rsp, 8",
                // The first argument is where it was.
                "mov esi, {place}",
                "call {leave}",
                "add rsp, 8",
                "pop r9",
                "pop r8",
                "pop rcx",
                "pop rdx",
                "pop rsi",
                "pop rdi",
                // No vector registers hold arguments (System V ABI, variadic calls).
                "xor eax, eax",
                "jmp qword ptr [rip + {real} + 8 * {place}]",
                leave = sym leave,
                real = sym REAL_EXEC,
                place = const $place,
            );
            #[cfg(target_arch = "aarch64")]
            naked_asm!(
                "stp x29, x30, [sp, #-80]!",
                "stp x0, x1, [sp, #16]",
                "stp x2, x3, [sp, #32]",
                "stp x4, x5, [sp, #48]",
                "stp x6, x7, [sp, #64]",
                // The first argument is where it was.
                "mov w1, #{place}",
                "bl {leave}",
                "ldp x0, x1, [sp, #16]",
                "ldp x2, x3, [sp, #32]",
                "ldp x4, x5, [sp, #48]",
                "ldp x6, x7, [sp, #64]",
                "ldp x29, x30, [sp], #80",
                "adrp x9, {real}",
                "add x9, x9, :lo12:{real}",
                "ldr x9, [x9, #8 * {place}]",
                "br x9",
                leave = sym leave,
                real = sym REAL_EXEC,
                place = const $place,
            );
        }
    };
}

door!(execve, 0);
door!(execv, 1);
door!(execvp, 2);
door!(execvpe, 3);
door!(execl, 4);
door!(execlp, 5);
door!(execle, 6);
door!(fexecve, 7);
door!(execveat, 8);
