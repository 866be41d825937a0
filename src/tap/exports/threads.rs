//! `pthread_create`, to see it fail: what was asked for, from where, and which limit was met (`profiler/failures`).
//! Who starts a thread is known by it, too: its stack is memory that lives as long as it does (`profiler/mapped`).
//!
//! libc's own function is called with the arguments as they are; only its result is looked at. It is found by the
//! constructor, or by who starts a thread before. Where libc has written the thread's number is read by a copy that the
//! kernel checks: that memory may be the new thread's own, which may be over, and have given it back.
//!
//! # Safety
//! The real function is found by name, and has the type that pthread.h gives it.
#![allow(unsafe_code)]

use super::real::real;
use crate::tap::guard::Guard;
use crate::tap::lifecycle::mapping_calls::MAPPING_CALLS;
use crate::tap::os::checked::{self, Copied};
use crate::tap::os::libc_names::is_glibc;
use crate::tap::os::{map, sys, thread_block};
use crate::tap::profiler::{PROFILER, Source};
use crate::wire::live::failures::Wish;
use crate::wire::live::mapped::{MappingKind, MappingRecord};
use crate::wire::live::supply::Supply;
use std::ffi::{c_int, c_void};
use std::ptr;

type Start = extern "C" fn(*mut c_void) -> *mut c_void;
type Create = unsafe extern "C" fn(*mut libc::pthread_t, *const libc::pthread_attr_t, Start, *mut c_void) -> c_int;

/// Starts a thread (pthread_create(3)).
///
/// # Safety
/// As for pthread_create(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    let found = real(&MAPPING_CALLS.create_thread, c"pthread_create");
    if found == 0 {
        return libc::EAGAIN;
    }
    // SAFETY: see the head.
    let create = unsafe { std::mem::transmute::<usize, Create>(found) };
    // SAFETY: passed on to the caller.
    let result = unsafe { create(thread, attributes, start, argument) };
    let entry = pthread_create as *const () as usize;
    if result == libc::EAGAIN || result == libc::ENOMEM {
        sys::keep_errno(|| PROFILER.note_failure(Wish::Thread, result, 0, entry));
    } else if result == 0 && PROFILER.watches_mappings() && Guard::enter().is_some() {
        // What the profiler starts from inside of malloc is none of the program's; and a library that stands in front
        // of libc may be what called malloc: it must not be called back.
        let source = Source { supply: Supply::Thread, entry, file: None };
        // SAFETY: attributes are what libc was called with.
        let record = sys::keep_errno(|| unsafe { stack_of(thread, attributes) });
        record.into_iter().for_each(|record| PROFILER.map(&record, source, false));
    }
    result
}

/// The stack of a thread that was started just now. `None`: it has ended, or runs on memory of the program's.
///
/// glibc puts the thread's control block at the upper end of the stack that it maps; musl notes where it is.
///
/// # Safety
/// Both pointers are those of a call of `pthread_create` that succeeded; what the first leads to may be gone.
unsafe fn stack_of(thread: *mut libc::pthread_t, attributes: *const libc::pthread_attr_t) -> Option<MappingRecord> {
    let mut word = [0; size_of::<libc::pthread_t>()];
    if checked::copy(thread.expose_provenance(), &mut word) != Copied::Whole {
        return None;
    }
    let control_block = libc::pthread_t::from_ne_bytes(word) as usize;
    let tid = thread_block::tid(control_block)?;
    let of = |(start, end): (usize, usize)| {
        let (start, bytes) = (start as u64, (end - start) as u64);
        MappingRecord { start, bytes, kind: MappingKind::Stack, tid, ..MappingRecord::default() }
    };
    if !is_glibc() {
        return thread_block::musls_stack(control_block).map(of);
    }
    let mut bytes = 0;
    if attributes.is_null() {
        bytes =
            sys::limit(libc::RLIMIT_STACK).filter(|&limit| limit != libc::RLIM_INFINITY).unwrap_or(2 << 20) as usize;
    } else {
        let (mut start, mut length): (*mut c_void, usize) = (ptr::null_mut(), 0);
        // SAFETY: initialised attributes, and places to write to.
        unsafe {
            libc::pthread_attr_getstacksize(attributes, &raw mut bytes);
            libc::pthread_attr_getstack(attributes, &raw mut start, &raw mut length);
        }
        // Without a stack of the program's, its end is no address.
        if (start as usize).wrapping_add(length) != 0 {
            return None;
        }
    }
    let page = map::page_size();
    let end = control_block / page * page + page;
    let bytes = (bytes.next_multiple_of(page)).min(end);
    Some(of((end - bytes, end)))
}
