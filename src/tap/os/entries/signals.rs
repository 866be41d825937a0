//! The calling thread's signal mask.
//!
//! # Safety
//! As for the rest of the entries.
#![allow(unsafe_code)]

use super::raw;
use crate::tap::os::signals;
use std::ffi::c_int;

/// pthread_sigmask(3): an error number comes back, and libc's own signals stay as they are.
pub(super) unsafe extern "C" fn pthread_sigmask(how: c_int, set: *const u64, before: *mut u64) -> c_int {
    // SAFETY: a `sigset_t` begins with the kernel's 64 bits; null is passed on.
    let wanted = unsafe { set.as_ref() }.map(|set| set & !signals::of_libc());
    let set = wanted.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let arguments = [how as usize, set as usize, before as usize, size_of::<u64>(), 0, 0];
    // SAFETY: passed on to the caller.
    let result = unsafe { raw::call(libc::SYS_rt_sigprocmask, arguments) };
    -result as c_int
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    #[test]
    fn all_are_blocked_but_libcs_own() {
        let mut before = 0;
        let mut now = 0;
        // SAFETY: masks of one word.
        unsafe {
            assert_eq!(pthread_sigmask(libc::SIG_SETMASK, &u64::MAX, &raw mut before), 0);
            assert_eq!(pthread_sigmask(libc::SIG_SETMASK, &raw const before, &raw mut now), 0);
            assert_eq!(pthread_sigmask(77, &raw const before, ptr::null_mut()), libc::EINVAL);
        }
        // SIGKILL and SIGSTOP cannot be blocked.
        assert_eq!(now | before, !(signals::of_libc() | 1 << 8 | 1 << 18) | before);
    }
}
