//! `dlopen` and `dlclose`: libraries are counted as they open, and unwind rules forgotten as they close.
//!
//! A library opened with RTLD_DEEPBIND binds to libc's malloc, whatever is preloaded: what it allocates with one
//! and frees with the other ends the program (Debian's PHP opens all its extensions so). The flag is taken
//! off, unless `prof_deepbind` says not to; and the call *jumps* to the real `dlopen`, because a caller's RUNPATH is
//! looked up by return address. `dlclose` makes cached unwind rules stale.
//!
//! # Safety
//! The real functions are found once, by name, behind this library.
#![allow(unsafe_code)]

use super::real::real;
use crate::tap::lifecycle;
use crate::tap::os::dlopen_count::OPENED;
use crate::tap::profiler::PROFILER;
use crate::tap::unwind;
use std::arch::naked_asm;
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

static REAL_DLOPEN: AtomicUsize = AtomicUsize::new(0);
static REAL_DLCLOSE: AtomicUsize = AtomicUsize::new(0);
/// The flags that are passed on: all but RTLD_DEEPBIND. Known before `REAL_DLOPEN` is.
static KEPT_FLAGS: AtomicU32 = AtomicU32::new(!(libc::RTLD_DEEPBIND as u32));

extern "C" fn find_dlopen() {
    lifecycle::ensure_started();
    if PROFILER.settings().is_some_and(|settings| settings.options.prof_deepbind) {
        KEPT_FLAGS.store(u32::MAX, Ordering::Relaxed);
    }
    real(&REAL_DLOPEN, c"dlopen");
}

/// Opens a library, with RTLD_DEEPBIND taken off its flags.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void {
    #[cfg(target_arch = "x86_64")]
    naked_asm!(
        "mov rax, qword ptr [rip + {real}]",
        "test rax, rax",
        "jnz 2f",
        "push rdi",
        "push rsi",
        "sub rsp, 8",
        "call {find}",
        "add rsp, 8",
        "pop rsi",
        "pop rdi",
        "mov rax, qword ptr [rip + {real}]",
        "2:",
        "lock inc dword ptr [rip + {opened}]",
        "and esi, dword ptr [rip + {kept}]",
        "jmp rax",
        real = sym REAL_DLOPEN,
        find = sym find_dlopen,
        opened = sym OPENED,
        kept = sym KEPT_FLAGS,
    );
    #[cfg(target_arch = "aarch64")]
    naked_asm!(
        "adrp x9, {real}",
        "add x9, x9, :lo12:{real}",
        "ldar x10, [x9]",
        "cbnz x10, 2f",
        "stp x29, x30, [sp, #-48]!",
        "stp x0, x1, [sp, #16]",
        "str x9, [sp, #32]",
        "bl {find}",
        "ldr x9, [sp, #32]",
        "ldp x0, x1, [sp, #16]",
        "ldp x29, x30, [sp], #48",
        "ldr x10, [x9]",
        "2:",
        "adrp x9, {opened}",
        "add x9, x9, :lo12:{opened}",
        "3:",
        "ldxr w11, [x9]",
        "add w11, w11, #1",
        "stxr w12, w11, [x9]",
        "cbnz w12, 3b",
        "adrp x9, {kept}",
        "ldr w9, [x9, :lo12:{kept}]",
        "and w1, w1, w9",
        "br x10",
        real = sym REAL_DLOPEN,
        find = sym find_dlopen,
        opened = sym OPENED,
        kept = sym KEPT_FLAGS,
    );
}

/// Closes a library.
///
/// # Safety
/// As for dlclose(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn dlclose(handle: *mut c_void) -> c_int {
    let address = real(&REAL_DLCLOSE, c"dlclose");
    if address == 0 {
        return -1;
    }
    unwind::forget_objects();
    // SAFETY: the address of libc's dlclose.
    let close = unsafe { std::mem::transmute::<usize, unsafe extern "C" fn(*mut c_void) -> c_int>(address) };
    // SAFETY: passed on to the caller.
    let result = unsafe { close(handle) };
    unwind::forget_objects();
    result
}
