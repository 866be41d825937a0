//! The doors on x86-64: from the arguments of a C function to those of the kernel.
//!
//! # Safety
//! Nothing is read or written but the registers of the call and its last argument on the stack.
#![allow(unsafe_code)]

use super::kernel::kernel;
use super::watched::watched;
use std::arch::naked_asm;
use std::ffi::{c_int, c_long};

/// An indirect system call (syscall(2)): variadic in C, six registers and the caller's first word on the stack here.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn syscall(number: c_long) -> c_long {
    naked_asm!(
        ".protected syscall",
        "cmp rdi, {prctl}",
        "je {watched}",
        "cmp rdi, {seccomp}",
        "je {watched}",
        "cmp rdi, {capset}",
        "je {watched}",
        "cmp rdi, {setuid}",
        "je {watched}",
        "cmp rdi, {setreuid}",
        "je {watched}",
        "cmp rdi, {setresuid}",
        "je {watched}",
        "jmp {kernel}",
        seccomp = const libc::SYS_seccomp,
        prctl = const libc::SYS_prctl,
        capset = const libc::SYS_capset,
        setuid = const libc::SYS_setuid,
        setreuid = const libc::SYS_setreuid,
        setresuid = const libc::SYS_setresuid,
        watched = sym watched,
        kernel = sym kernel,
    );
}

/// Operations on a process or thread (prctl(2)): the same with a number before them.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn prctl(option: c_int) -> c_int {
    naked_asm!(
        ".protected prctl",
        "mov r9, r8",
        "mov r8, rcx",
        "mov rcx, rdx",
        "mov rdx, rsi",
        "movsxd rsi, edi",
        "mov edi, {prctl}",
        "jmp {watched}",
        prctl = const libc::SYS_prctl,
        watched = sym watched,
    );
}
