//! `dlopen` and `dlclose`, which must not go unnoticed.
//!
//! A library opened with RTLD_DEEPBIND binds to libc's malloc, whatever is preloaded: what it allocates with one
//! and frees with the other ends the program (Debian's PHP opens all its extensions so). The flag is taken
//! off; and the call *jumps* to the real `dlopen`, because a caller's RUNPATH is looked up by return
//! address. `dlclose` makes cached unwind rules stale.
//!
//! # Safety
//! The real functions are found once, by name, behind this library.
#![allow(unsafe_code)]

use crate::tap::os::loads::OPENED;
use crate::tap::unwind;
use std::arch::naked_asm;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

static REAL_DLOPEN: AtomicUsize = AtomicUsize::new(0);
static REAL_DLCLOSE: AtomicUsize = AtomicUsize::new(0);

fn real(place: &AtomicUsize, name: &CStr) -> usize {
    match place.load(Ordering::Relaxed) {
        0 => {
            // SAFETY: looks a NUL-terminated name up in the libraries behind this one.
            let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) } as usize;
            place.store(found, Ordering::Relaxed);
            found
        }
        known => known,
    }
}

extern "C" fn find_dlopen() {
    real(&REAL_DLOPEN, c"dlopen");
}

/// Opens a library, with RTLD_DEEPBIND (8) taken off its flags.
#[unsafe(no_mangle)]
#[unsafe(naked)]
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void {
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
        "and esi, -9",
        "jmp rax",
        real = sym REAL_DLOPEN,
        find = sym find_dlopen,
        opened = sym OPENED,
    )
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
