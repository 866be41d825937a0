//! `listen` and `setsid`: what a server does once, before it may never call malloc again. The keeper hears of both.
//!
//! # Safety
//! The calls take numbers only. The real functions are found by name, and have the types that sys/socket.h and unistd.h
//! give them.
#![allow(unsafe_code)]

use super::real::{missing, real};
use crate::tap::keeper;
use crate::tap::os::sys;
use std::ffi::c_int;
use std::sync::atomic::AtomicUsize;

static REAL_LISTEN: AtomicUsize = AtomicUsize::new(0);
static REAL_SETSID: AtomicUsize = AtomicUsize::new(0);

/// Waits for connections (listen(2)).
#[unsafe(no_mangle)]
extern "C" fn listen(socket: c_int, backlog: c_int) -> c_int {
    let result = match real(&REAL_LISTEN, c"listen") {
        0 => missing(),
        found => {
            // SAFETY: see the head.
            let listen = unsafe { std::mem::transmute::<usize, extern "C" fn(c_int, c_int) -> c_int>(found) };
            listen(socket, backlog)
        }
    };
    if result == 0 {
        sys::keep_errno(keeper::serve);
    }
    result
}

/// Begins a session (setsid(2)), as daemons do.
#[unsafe(no_mangle)]
extern "C" fn setsid() -> libc::pid_t {
    let result = match real(&REAL_SETSID, c"setsid") {
        0 => missing(),
        found => {
            // SAFETY: see the head.
            let setsid = unsafe { std::mem::transmute::<usize, extern "C" fn() -> libc::pid_t>(found) };
            setsid()
        }
    };
    if result >= 0 {
        sys::keep_errno(keeper::stay);
    }
    result
}
