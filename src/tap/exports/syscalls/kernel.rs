//! A system call itself: from the arguments of a C function to the kernel's registers, and its error to `errno`.
//!
//! # Safety
//! Nothing is read or written but the registers of the call and, on x86-64, its last argument on the stack.
#![allow(unsafe_code)]

use crate::tap::os::sys;
use std::arch::naked_asm;
use std::ffi::{c_int, c_long};

/// The call.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn kernel(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    #[cfg(target_arch = "x86_64")]
    naked_asm!(
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "mov r9, qword ptr [rsp + 8]",
        "syscall",
        "cmp rax, -4095",
        "jae 2f",
        "ret",
        "2:",
        "mov rdi, rax",
        "jmp {fail}",
        fail = sym fail,
    );
    #[cfg(target_arch = "aarch64")]
    naked_asm!(
        "mov x8, x0",
        "mov x0, x1",
        "mov x1, x2",
        "mov x2, x3",
        "mov x3, x4",
        "mov x4, x5",
        "mov x5, x6",
        "svc #0",
        "cmn x0, #4095",
        "b.hs 2f",
        "ret",
        "2:",
        "b {fail}",
        fail = sym fail,
    );
}

/// A system call failed: puts its error where libc puts it.
extern "C" fn fail(result: c_long) -> c_long {
    sys::set_errno(result.wrapping_neg() as c_int);
    -1
}
