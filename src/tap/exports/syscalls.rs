//! `syscall`, `prctl` and `capset`, to see filters of system calls, and what gives the calling thread other rights
//! than the keeper has, before the kernel does.
//!
//! They are a few instructions in libc, and nearly the same few here, so that nothing needs to be looked up. Calls
//! that install a filter stop at `lifecycle::sandbox` first, with all registers kept; before the others the keeper ends.
//!
//! # Safety
//! The calls are the caller's, passed on as they are. Filters are read by the contract of seccomp(2).
#![allow(unsafe_code)]

use crate::tap::keeper;
use crate::tap::lifecycle::sandbox;
use crate::tap::os::sys;
use std::arch::naked_asm;
use std::ffi::{c_int, c_long, c_ulong, c_void};

/// `SECCOMP_SET_MODE_FILTER` of linux/seccomp.h.
const SET_MODE_FILTER: c_ulong = 1;
/// `SECCOMP_MODE_FILTER`.
const MODE_FILTER: c_ulong = 2;

/// seccomp(operation, flags, program) is about to be called.
unsafe extern "C" fn before_seccomp(operation: c_ulong, _flags: c_ulong, program: *const libc::sock_fprog) {
    sys::keep_errno(|| match operation {
        // SAFETY: passed on to the caller.
        SET_MODE_FILTER => unsafe { sandbox::prepare(program) },
        // SECCOMP_SET_MODE_STRICT; the others ask questions.
        0 => sandbox::prepare_strict(),
        _ => (),
    });
}

/// prctl(PR_SET_SECCOMP, mode, program) is about to be called.
unsafe extern "C" fn before_prctl(_option: c_ulong, mode: c_ulong, program: *const libc::sock_fprog) {
    sys::keep_errno(|| match mode {
        // SAFETY: passed on to the caller.
        MODE_FILTER => unsafe { sandbox::prepare(program) },
        _ => sandbox::prepare_strict(),
    });
}

/// Credentials of the calling thread alone are about to change. The C library changes users and groups for all threads
/// and ends the process where they disagree (nptl_setxid.c): a keeper with other rights would make them.
unsafe extern "C" fn before_credentials(_: c_ulong, _: c_ulong, _: *const libc::sock_fprog) {
    sys::keep_errno(keeper::give_way);
}

/// Sets the capabilities of the calling thread (capset(2)).
#[unsafe(no_mangle)]
unsafe extern "C" fn capset(header: *mut c_void, data: *const c_void) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { libc::syscall(libc::SYS_capset, header, data) as c_int }
}

/// A system call failed: puts its error where libc puts it.
extern "C" fn fail(result: c_long) -> c_long {
    sys::set_errno(result.wrapping_neg() as c_int);
    -1
}

/// An indirect system call (syscall(2)): variadic in C, registers and one word of the stack here.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn syscall(number: c_long) -> c_long {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("jmp {call}", call = sym call);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("b {call}", call = sym call);
}

/// Operations on a process or thread (prctl(2)): the same with a number before them.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn prctl(option: c_int) -> c_int {
    #[cfg(target_arch = "x86_64")]
    naked_asm!(
        "mov r9, r8",
        "mov r8, rcx",
        "mov rcx, rdx",
        "mov rdx, rsi",
        "movsxd rsi, edi",
        "mov edi, {prctl}",
        "jmp {call}",
        prctl = const libc::SYS_prctl,
        call = sym call,
    );
    #[cfg(target_arch = "aarch64")]
    naked_asm!(
        "mov x5, x4",
        "mov x4, x3",
        "mov x3, x2",
        "mov x2, x1",
        "sxtw x1, w0",
        "mov x0, #{prctl}",
        "b {call}",
        prctl = const libc::SYS_prctl,
        call = sym call,
    );
}

/// What both jump to. On x86-64 the last argument is the caller's first word on the stack.
#[unsafe(naked)]
unsafe extern "C" fn call(number: c_long) -> c_long {
    #[cfg(target_arch = "x86_64")]
    naked_asm!(
        "cmp rdi, {seccomp}",
        "je 3f",
        "cmp rdi, {prctl}",
        "je 4f",
        "cmp rdi, {capset}",
        "je 7f",
        "2:",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "mov r9, qword ptr [rsp + 8]",
        "syscall",
        "cmp rax, -4095",
        "jae 5f",
        "ret",
        "4:",
        "cmp esi, {set_keepcaps}",
        "je 7f",
        "cmp esi, {set_securebits}",
        "je 7f",
        "cmp esi, {set_seccomp}",
        "jne 2b",
        "lea rax, [rip + {before_prctl}]",
        "jmp 6f",
        "7:",
        "lea rax, [rip + {before_credentials}]",
        "jmp 6f",
        "3:",
        "lea rax, [rip + {before_seccomp}]",
        "6:",
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push r8",
        "push r9",
        "sub rsp, 8",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "call rax",
        "add rsp, 8",
        "pop r9",
        "pop r8",
        "pop rcx",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "jmp 2b",
        "5:",
        "mov rdi, rax",
        "jmp {fail}",
        seccomp = const libc::SYS_seccomp,
        prctl = const libc::SYS_prctl,
        capset = const libc::SYS_capset,
        set_seccomp = const libc::PR_SET_SECCOMP,
        set_keepcaps = const libc::PR_SET_KEEPCAPS,
        set_securebits = const libc::PR_SET_SECUREBITS,
        before_seccomp = sym before_seccomp,
        before_prctl = sym before_prctl,
        before_credentials = sym before_credentials,
        fail = sym fail,
    );
    #[cfg(target_arch = "aarch64")]
    naked_asm!(
        "cmp x0, #{seccomp}",
        "b.eq 3f",
        "cmp x0, #{prctl}",
        "b.eq 4f",
        "cmp x0, #{capset}",
        "b.eq 7f",
        "2:",
        "mov x8, x0",
        "mov x0, x1",
        "mov x1, x2",
        "mov x2, x3",
        "mov x3, x4",
        "mov x4, x5",
        "mov x5, x6",
        "svc #0",
        "cmn x0, #4095",
        "b.hs 5f",
        "ret",
        "4:",
        "cmp w1, #{set_keepcaps}",
        "b.eq 7f",
        "cmp w1, #{set_securebits}",
        "b.eq 7f",
        "cmp w1, #{set_seccomp}",
        "b.ne 2b",
        "adrp x9, {before_prctl}",
        "add x9, x9, :lo12:{before_prctl}",
        "b 6f",
        "7:",
        "adrp x9, {before_credentials}",
        "add x9, x9, :lo12:{before_credentials}",
        "b 6f",
        "3:",
        "adrp x9, {before_seccomp}",
        "add x9, x9, :lo12:{before_seccomp}",
        "6:",
        "stp x29, x30, [sp, #-80]!",
        "stp x0, x1, [sp, #16]",
        "stp x2, x3, [sp, #32]",
        "stp x4, x5, [sp, #48]",
        "str x6, [sp, #64]",
        "mov x0, x1",
        "mov x1, x2",
        "mov x2, x3",
        "blr x9",
        "ldp x0, x1, [sp, #16]",
        "ldp x2, x3, [sp, #32]",
        "ldp x4, x5, [sp, #48]",
        "ldr x6, [sp, #64]",
        "ldp x29, x30, [sp], #80",
        "b 2b",
        "5:",
        "b {fail}",
        seccomp = const libc::SYS_seccomp,
        prctl = const libc::SYS_prctl,
        capset = const libc::SYS_capset,
        set_seccomp = const libc::PR_SET_SECCOMP,
        set_keepcaps = const libc::PR_SET_KEEPCAPS,
        set_securebits = const libc::PR_SET_SECUREBITS,
        before_seccomp = sym before_seccomp,
        before_prctl = sym before_prctl,
        before_credentials = sym before_credentials,
        fail = sym fail,
    );
}
