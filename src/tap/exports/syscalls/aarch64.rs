//! The doors on aarch64: from the arguments of a C function to those of the kernel.
//!
//! # Safety
//! Nothing is read or written but the registers of the call.
#![allow(unsafe_code)]

use super::kernel::kernel;
use super::watched::watched;
use std::arch::naked_asm;
use std::ffi::{c_int, c_long};

/// An indirect system call (syscall(2)): variadic in C, seven registers here.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn syscall(number: c_long) -> c_long {
    naked_asm!(
        ".protected syscall",
        "cmp x0, #{prctl}",
        "b.eq 2f",
        "cmp x0, #{seccomp}",
        "b.eq 2f",
        "cmp x0, #{capset}",
        "b.eq 2f",
        "cmp x0, #{setuid}",
        "b.eq 2f",
        "cmp x0, #{setreuid}",
        "b.eq 2f",
        "cmp x0, #{setresuid}",
        "b.eq 2f",
        "b {kernel}",
        "2:",
        "b {watched}",
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
        "mov x5, x4",
        "mov x4, x3",
        "mov x3, x2",
        "mov x2, x1",
        "sxtw x1, w0",
        "mov x0, #{prctl}",
        "b {watched}",
        prctl = const libc::SYS_prctl,
        watched = sym watched,
    );
}
