//! The functions that map and unmap, and the one that starts threads, as the program would call them without the tap:
//! libc's, or those of a library that stands before libc's.
//!
//! The constructor looks them up, for a look may allocate and take the loader's lock: calls that map may come from a
//! signal handler, and the tap itself starts the keeper from inside of malloc, while another thread may be in `dlopen`
//! and wait for this one.
//!
//! # Safety
//! Looks names up.
#![allow(unsafe_code)]

#[cfg(not(test))]
use std::ffi::CStr;
use std::ffi::{c_int, c_void};
use std::sync::atomic::AtomicUsize;
#[cfg(not(test))]
use std::sync::atomic::Ordering;

/// `mmap`.
pub(crate) type Mmap = unsafe extern "C" fn(*mut c_void, usize, c_int, c_int, c_int, i64) -> *mut c_void;
/// `munmap`.
pub(crate) type Munmap = unsafe extern "C" fn(*mut c_void, usize) -> c_int;
/// `mremap`, with all five arguments.
pub(crate) type Mremap = unsafe extern "C" fn(*mut c_void, usize, usize, c_int, *mut c_void) -> *mut c_void;

/// Their addresses; 0: not looked up yet.
pub(crate) struct MappingCalls {
    /// Of `mmap`.
    pub(crate) mmap: AtomicUsize,
    /// Of `munmap`.
    pub(crate) munmap: AtomicUsize,
    /// Of `mremap`.
    pub(crate) mremap: AtomicUsize,
    /// Of `pthread_create`, which maps stacks.
    pub(crate) create_thread: AtomicUsize,
}

/// Those of the process.
pub(crate) static MAPPING_CALLS: MappingCalls = MappingCalls {
    mmap: AtomicUsize::new(0),
    munmap: AtomicUsize::new(0),
    mremap: AtomicUsize::new(0),
    create_thread: AtomicUsize::new(0),
};

/// Looks all of them up.
#[cfg(not(test))]
pub(super) fn find_all() {
    let find = |place: &AtomicUsize, name: &CStr| {
        // SAFETY: looks a NUL-terminated name up in the libraries behind this one.
        place.store(unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) } as usize, Ordering::Release);
    };
    find(&MAPPING_CALLS.mmap, c"mmap");
    find(&MAPPING_CALLS.munmap, c"munmap");
    find(&MAPPING_CALLS.mremap, c"mremap");
    find(&MAPPING_CALLS.create_thread, c"pthread_create");
}
