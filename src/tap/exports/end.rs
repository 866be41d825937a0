//! The `_exit` family: the end of a process that runs no handlers.
//!
//! # Safety
//! Nothing is passed on but a number.
#![allow(unsafe_code)]

use crate::tap::lifecycle::exit;
use crate::tap::os::sys;
use std::ffi::c_int;

/// Ends the process without handlers, after the final dump.
#[unsafe(no_mangle)]
unsafe extern "C" fn _exit(status: c_int) -> ! {
    exit::finish();
    sys::exit_group(status)
}

/// The same, by its C name.
#[unsafe(no_mangle)]
unsafe extern "C" fn _Exit(status: c_int) -> ! {
    exit::finish();
    sys::exit_group(status)
}
