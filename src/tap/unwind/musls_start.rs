//! Where musl begins a thread, and where it calls `main`: the root of a walk. musl is built without unwind tables, so
//! no rule says it; its code does. What the thread's function returns goes to `pthread_exit`, what `main` returns to
//! `exit`, by the very next call.
//!
//! Other functions of musl without a rule end a walk as any code does: those that allocate by themselves (`strdup`),
//! and those that call back (`qsort`).
//!
//! # Safety
//! Reads code of libc, which stays.

#![allow(unsafe_code)]

use core::slice;

use super::{arch, objects};
use crate::tap::code_address::LookupAddress;
use crate::tap::os::libc_names::{is_glibc, weak_address};

/// Bytes behind the return address in which that call stands.
const BEHIND: usize = 12;

/// Whether the call in front of this return address is one of the two.
#[cold]
pub(super) fn returns_to_start(call: LookupAddress, return_address: usize) -> bool {
    if is_glibc() {
        return false;
    }
    let own = libc::exit as *const () as usize;
    let is_libc = objects::find(call)
        .is_some_and(|object| object.mapping.contains(own) && object.mapping.contains(return_address + BEHIND));
    if !is_libc {
        return false;
    }
    // SAFETY: code of libc; see the head.
    let code = unsafe { slice::from_raw_parts(return_address as *const u8, BEHIND) };
    let called = arch::first_call(code).map(|offset| return_address.wrapping_add_signed(offset));
    called.is_some_and(|called| called == own || called == weak_address!("pthread_exit"))
}
