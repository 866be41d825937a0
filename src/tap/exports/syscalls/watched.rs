//! The few system calls that concern the tap: what must be done before, the call itself, and what follows once the
//! kernel has accepted it.
//!
//! A call that the kernel refuses has changed nothing; pointers are the kernel's to judge, and not followed before it
//! has.
//!
//! # Safety
//! The calls are the caller's, passed on as they are.
#![allow(unsafe_code)]

use super::kernel::kernel;
use crate::tap::keeper;
use crate::tap::lifecycle::{credentials, sandbox};
use crate::tap::os::sys;
use std::ffi::{c_int, c_long, c_void};
use std::ptr;

/// `SECCOMP_SET_MODE_STRICT` and `SECCOMP_SET_MODE_FILTER` of linux/seccomp.h: operations of seccomp(2).
const SET_MODE_STRICT: c_long = 0;
const SET_MODE_FILTER: c_long = 1;
/// `SECCOMP_MODE_STRICT` and `SECCOMP_MODE_FILTER`: modes of prctl(PR_SET_SECCOMP).
const MODE_STRICT: c_long = 1;
const MODE_FILTER: c_long = 2;
/// `SECCOMP_FILTER_FLAG_TSYNC` and `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
const TSYNC: c_long = 1;
const NEW_LISTENER: c_long = 8;

/// A call that concerns the tap.
enum Watched {
    /// Installs this filter.
    Filter(*const libc::sock_fprog),
    /// Leaves the calling thread read, write and its end.
    Strict,
    /// Changes the rights of the calling thread alone.
    Credentials,
    /// Changes the user of the calling thread alone.
    User,
}

impl Watched {
    fn of(number: c_long, arguments: [c_long; 3]) -> Option<Watched> {
        let program = |address: c_long| Watched::Filter(ptr::with_exposed_provenance(address as usize));
        match (number, arguments) {
            (libc::SYS_capset, _) => Some(Watched::Credentials),
            (libc::SYS_setuid | libc::SYS_setreuid | libc::SYS_setresuid, _) => Some(Watched::User),
            (libc::SYS_seccomp, [SET_MODE_STRICT, ..]) => Some(Watched::Strict),
            (libc::SYS_seccomp, [SET_MODE_FILTER, _, address]) => Some(program(address)),
            (libc::SYS_prctl, [option, mode, address]) => match (option as c_int, mode) {
                (libc::PR_SET_KEEPCAPS | libc::PR_SET_SECUREBITS, _) => Some(Watched::Credentials),
                (libc::PR_SET_SECCOMP, MODE_STRICT) => Some(Watched::Strict),
                (libc::PR_SET_SECCOMP, MODE_FILTER) => Some(program(address)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Whether seccomp(2) with these flags succeeded: with TSYNC alone a positive result is the thread that could not
/// follow.
fn is_success(number: c_long, flags: c_long, result: c_long) -> bool {
    let names_a_thread = number == libc::SYS_seccomp && flags & (TSYNC | NEW_LISTENER) == TSYNC;
    result == 0 || result > 0 && !names_a_thread
}

/// One of the calls that concern the tap, with what the tap does before and after it. The doors of this folder jump
/// here with all arguments in place, so the parameters are those of syscall(2).
pub(super) unsafe extern "C" fn watched(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    // SAFETY: the caller's own call.
    let call = || unsafe { kernel(number, a, b, c, d, e, f) };
    match Watched::of(number, [a, b, c]) {
        // SAFETY: `call` installs this very program.
        Some(Watched::Filter(program)) => unsafe {
            sandbox::install(program, call, |result| is_success(number, b, result))
        },
        Some(Watched::Strict) => sandbox::install_strict(call),
        Some(Watched::Credentials) => change_credentials(call),
        Some(Watched::User) => change_user(call),
        None => call(),
    }
}

/// Credentials of the calling thread alone change. The C library changes users and groups for all threads
/// and ends the process where they disagree (nptl_setxid.c): a keeper with other rights would make them.
fn change_credentials(call: impl FnOnce() -> c_long) -> c_long {
    let _ = sys::keep_errno(keeper::give_way);
    call()
}

/// The user of the calling thread alone changes. A server that acts for its clients does that with each request; only
/// if the main thread can never come back is it a change of the process, and the keeper has other rights then.
fn change_user(call: impl FnOnce() -> c_long) -> c_long {
    let result = call();
    sys::keep_errno(|| {
        if credentials::changed() {
            let _ = keeper::give_way();
        }
    });
    result
}

/// Sets the capabilities of the calling thread (capset(2)).
#[unsafe(no_mangle)]
unsafe extern "C" fn capset(header: *mut c_void, data: *const c_void) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { libc::syscall(libc::SYS_capset, header, data) as c_int }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_unknown_modes_are_nobodys_business() {
        let is_watched = |number, arguments| Watched::of(number, arguments).is_some();
        assert!(is_watched(libc::SYS_seccomp, [SET_MODE_FILTER, 0, 16]));
        assert!(is_watched(libc::SYS_prctl, [libc::PR_SET_SECCOMP.into(), MODE_STRICT, 0]));
        assert!(is_watched(libc::SYS_prctl, [libc::PR_SET_KEEPCAPS.into(), 1, 0]));
        assert!(!is_watched(libc::SYS_seccomp, [2, 0, 16]), "SECCOMP_GET_ACTION_AVAIL");
        assert!(!is_watched(libc::SYS_prctl, [libc::PR_SET_SECCOMP.into(), 7, 0]));
        assert!(!is_watched(libc::SYS_getpid, [0; 3]));
    }

    #[test]
    fn a_thread_that_could_not_follow_is_no_success() {
        assert!(is_success(libc::SYS_seccomp, TSYNC, 0) && !is_success(libc::SYS_seccomp, TSYNC, 4711));
        assert!(is_success(libc::SYS_seccomp, NEW_LISTENER | TSYNC, 5), "a descriptor");
        assert!(!is_success(libc::SYS_seccomp, 0, -1) && is_success(libc::SYS_prctl, TSYNC, 0));
    }
}
