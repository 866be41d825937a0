//! Stand-ins for libgcc's unwinder, so that the tap needs no libgcc_s.
//!
//! The standard library refers to these functions for the backtraces that it prints when it panics. The tap does
//! not print (it aborts, and it has an unwinder of its own), and a program whose system lacks a library that a
//! preload needs does not start at all. Hidden symbols: the program's own unwinder is not touched.
//!
//! `_Unwind_Backtrace` is a Rust function: so link-time optimisation sees that it never calls back, and leaves out what
//! only the callback uses: the standard library's reader of debug information (inflate, DWARF, demangler), 0.2 MB.
//!
//! # Safety
//! Every function does nothing and returns 0 ("no frame", `_URC_NO_REASON`), but for `_Unwind_Resume`, which must not
//! return and cannot be reached where panics abort.
#![allow(unsafe_code)]

use std::arch::global_asm;
use std::ffi::{c_int, c_void};

/// Defines hidden functions with one body.
macro_rules! stand_ins {
    ($body:literal: $($name:literal),*) => {$(
        global_asm!(
            concat!(".globl ", $name),
            concat!(".hidden ", $name),
            concat!(".type ", $name, ",@function"),
            concat!($name, ":"),
            $body,
        );
    )*};
}

#[cfg(target_arch = "x86_64")]
stand_ins!("xor eax, eax; ret":
    "_Unwind_FindEnclosingFunction", "_Unwind_GetCFA", "_Unwind_GetDataRelBase", "_Unwind_GetIP",
    "_Unwind_GetIPInfo", "_Unwind_GetLanguageSpecificData", "_Unwind_GetRegionStart", "_Unwind_GetTextRelBase",
    "_Unwind_SetGR", "_Unwind_SetIP");
#[cfg(target_arch = "x86_64")]
stand_ins!("ud2": "_Unwind_Resume");

#[cfg(target_arch = "aarch64")]
stand_ins!("mov x0, xzr; ret":
    "_Unwind_FindEnclosingFunction", "_Unwind_GetCFA", "_Unwind_GetDataRelBase", "_Unwind_GetIP",
    "_Unwind_GetIPInfo", "_Unwind_GetLanguageSpecificData", "_Unwind_GetRegionStart", "_Unwind_GetTextRelBase",
    "_Unwind_SetGR", "_Unwind_SetIP");
#[cfg(target_arch = "aarch64")]
stand_ins!("brk 1": "_Unwind_Resume");

// Not exported, though Rust has no word for it: the visibility is the object file's, and the strictest counts.
global_asm!(".hidden _Unwind_Backtrace");

/// Walks no frame.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_visit: extern "C" fn(*mut c_void, *mut c_void) -> c_int, _data: *mut c_void) -> c_int {
    0
}
