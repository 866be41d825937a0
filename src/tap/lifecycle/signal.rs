//! `prof_dump_signal`: a signal that makes the keeper write a dump. Off unless it is asked for, and never one that a
//! Java VM uses (`wire::options` refuses those).
//!
//! Taken only where the program has not taken it, before the program runs; a program that takes it later has it.
//!
//! # Safety
//! The handler does what is allowed in one: an atomic store and a futex wake-up.
#![allow(unsafe_code)]

use crate::tap::keeper;
use crate::tap::os::sys;
use crate::tap::profiler::PROFILER;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;

/// Takes the signal that was asked for.
pub(super) fn register() {
    let signal =
        PROFILER.settings().filter(|settings| settings.options.prof).map(|settings| settings.options.prof_dump_signal);
    let Some(signal) = signal.filter(|&signal| signal != 0) else { return };
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: asks only; fills one struct.
    unsafe { libc::sigaction(signal, ptr::null(), before.as_mut_ptr()) };
    // SAFETY: zeros, or filled: both are a `sigaction`.
    if unsafe { before.assume_init() }.sa_sigaction != libc::SIG_DFL {
        return;
    }
    // SAFETY: zeros are an empty mask and no flags.
    let mut action = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
    action.sa_sigaction = (on_signal as extern "C" fn(c_int)) as usize;
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: the handler lives as long as the process.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
}

extern "C" fn on_signal(_signal: c_int) {
    sys::keep_errno(|| keeper::ask(keeper::SIGNAL));
}
