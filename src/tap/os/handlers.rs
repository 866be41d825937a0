//! Handlers that libc runs: around fork, and at the end by `quick_exit`. glibc's are registered by its own names, which
//! take the library that they belong to; none is given, so that nothing takes them away.
//!
//! # Safety
//! Functions are called by the types that libc gives them.
#![allow(unsafe_code)]

use super::libc_names::{LibcFunction, weak_address};
use std::ffi::{c_int, c_void};
use std::{mem, ptr};

/// One handler around fork.
pub(crate) type ForkHandler = Option<unsafe extern "C" fn()>;
type Register = unsafe extern "C" fn(ForkHandler, ForkHandler, ForkHandler, *mut c_void) -> c_int;
type AtQuickExit = unsafe extern "C" fn(unsafe extern "C" fn(*mut c_void), *mut c_void) -> c_int;

/// Registers handlers (pthread_atfork(3)); an error number comes back.
///
/// # Safety
/// The handlers live as long as the process.
pub(crate) unsafe extern "C" fn at_fork(prepare: ForkHandler, parent: ForkHandler, child: ForkHandler) -> c_int {
    static MUSLS: LibcFunction = LibcFunction::new();
    let Some(address) = MUSLS.address(weak_address!("__register_atfork"), c"pthread_atfork") else {
        return libc::ENOSYS;
    };
    // SAFETY: glibc's type; musl's function has the first three arguments, and looks at no more.
    let register = unsafe { mem::transmute::<usize, Register>(address) };
    // SAFETY: passed on to the caller.
    unsafe { register(prepare, parent, child, ptr::null_mut()) }
}

/// Registers a handler for `quick_exit`; its argument means nothing.
///
/// # Safety
/// The handler lives as long as the process.
pub(crate) unsafe fn at_quick_exit(handler: unsafe extern "C" fn(*mut c_void)) {
    static MUSLS: LibcFunction = LibcFunction::new();
    let address = MUSLS.address(weak_address!("__cxa_at_quick_exit"), c"at_quick_exit");
    if let Some(address) = address {
        // SAFETY: glibc's type; musl's function takes one argument, and calls the handler with none.
        let register = unsafe { mem::transmute::<usize, AtQuickExit>(address) };
        // SAFETY: passed on to the caller.
        unsafe { register(handler, ptr::null_mut()) };
    }
}
