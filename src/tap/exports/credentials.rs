//! The setuid family: the process becomes another user, and its life ends (`lifecycle::credentials`).
//!
//! libc's own functions are called, for they change all threads (nptl_setxid.c); who interposes them behind us,
//! fakeroot for instance, is asked before.
//!
//! # Safety
//! The calls take numbers only. The real functions are found by name, and have the types that unistd.h gives them.
#![allow(unsafe_code)]

use super::real::{missing, real};
use crate::tap::lifecycle::credentials::{self, Change};
use libc::uid_t;
use std::ffi::c_int;
use std::sync::atomic::AtomicUsize;

static REAL_SETUID: AtomicUsize = AtomicUsize::new(0);
static REAL_SETEUID: AtomicUsize = AtomicUsize::new(0);
static REAL_SETREUID: AtomicUsize = AtomicUsize::new(0);
static REAL_SETRESUID: AtomicUsize = AtomicUsize::new(0);

/// Sets the user (setuid(2)).
#[unsafe(no_mangle)]
extern "C" fn setuid(user: uid_t) -> c_int {
    credentials::around(Change::User(user), || match real(&REAL_SETUID, c"setuid") {
        0 => missing(),
        found => {
            // SAFETY: see the head.
            let set = unsafe { std::mem::transmute::<usize, extern "C" fn(uid_t) -> c_int>(found) };
            set(user)
        }
    })
}

/// Sets the effective user (seteuid(2)).
#[unsafe(no_mangle)]
extern "C" fn seteuid(user: uid_t) -> c_int {
    credentials::around(Change::All(uid_t::MAX, user, uid_t::MAX), || match real(&REAL_SETEUID, c"seteuid") {
        0 => missing(),
        found => {
            // SAFETY: see the head.
            let set = unsafe { std::mem::transmute::<usize, extern "C" fn(uid_t) -> c_int>(found) };
            set(user)
        }
    })
}

/// Sets the real and the effective user (setreuid(2)).
#[unsafe(no_mangle)]
extern "C" fn setreuid(user: uid_t, effective: uid_t) -> c_int {
    credentials::around(Change::RealAndEffective(user, effective), || match real(&REAL_SETREUID, c"setreuid") {
        0 => missing(),
        found => {
            // SAFETY: see the head.
            let set = unsafe { std::mem::transmute::<usize, extern "C" fn(uid_t, uid_t) -> c_int>(found) };
            set(user, effective)
        }
    })
}

/// Sets the real, the effective and the saved user (setresuid(2)).
#[unsafe(no_mangle)]
extern "C" fn setresuid(user: uid_t, effective: uid_t, saved: uid_t) -> c_int {
    credentials::around(Change::All(user, effective, saved), || match real(&REAL_SETRESUID, c"setresuid") {
        0 => missing(),
        found => {
            // SAFETY: see the head.
            let set = unsafe { std::mem::transmute::<usize, extern "C" fn(uid_t, uid_t, uid_t) -> c_int>(found) };
            set(user, effective, saved)
        }
    })
}
