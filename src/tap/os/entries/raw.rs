//! System calls by the instruction: no libc, no `errno`, no cancellation.
//!
//! # Safety
//! The caller owns the memory that the kernel reads and writes for a call.
#![allow(unsafe_code)]

use crate::tap::os::sys;
use std::arch::asm;
use std::ffi::c_long;

/// A system call with up to six arguments; an error is a number from -4095 to -1.
///
/// # Safety
/// The contract of that system call.
#[inline(always)]
pub(super) unsafe fn call(number: c_long, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: passed on to the caller; the kernel keeps all registers but those named.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            in("x4") e,
            in("x5") f,
            options(nostack),
        );
    }
    result
}

/// The result as libc gives it: an error goes into `errno`, and -1 comes back.
#[inline]
pub(super) fn answer(result: isize) -> isize {
    if (-4095..0).contains(&result) {
        sys::set_errno(-result as i32);
        return -1;
    }
    result
}

/// [`call`] with libc's way of telling errors.
///
/// # Safety
/// As for [`call`].
#[inline(always)]
pub(super) unsafe fn asked(number: c_long, arguments: [usize; 6]) -> isize {
    // SAFETY: passed on to the caller.
    answer(unsafe { call(number, arguments) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_those_of_libc() {
        // SAFETY: takes nothing.
        assert_eq!(unsafe { call(libc::SYS_getpid, [0; 6]) }, std::process::id() as isize);
        // SAFETY: no descriptor has this number.
        assert_eq!(unsafe { asked(libc::SYS_close, [usize::MAX, 0, 0, 0, 0, 0]) }, -1);
        assert_eq!(sys::errno(), libc::EBADF);
    }
}
