//! Further names of the family: glibc's second ones, the old `cfree`, and C23's that know sizes.
//!
//! # Safety
//! As for the rest of the exports.
#![allow(unsafe_code)]

use super::aligned::{memalign, posix_memalign, pvalloc, valloc};
use super::four::{calloc, free, malloc, realloc};
use std::ffi::{c_int, c_void};

/// Old name of `free`.
#[unsafe(no_mangle)]
unsafe extern "C" fn cfree(block: *mut c_void) {
    // SAFETY: passed on to the caller.
    unsafe { free(block) }
}

/// C23: frees a block whose size the caller knows.
#[unsafe(no_mangle)]
unsafe extern "C" fn free_sized(block: *mut c_void, _size: usize) {
    // SAFETY: passed on to the caller.
    unsafe { free(block) }
}

/// C23: frees a block whose alignment and size the caller knows.
#[unsafe(no_mangle)]
unsafe extern "C" fn free_aligned_sized(block: *mut c_void, _alignment: usize, _size: usize) {
    // SAFETY: passed on to the caller.
    unsafe { free(block) }
}

/// glibc's second names of the same functions. What they return would otherwise be freed here without
/// having been allocated here.
macro_rules! second_names {
    ($($name:ident = $target:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
        #[doc = concat!("glibc's second name of `", stringify!($target), "`.")]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $type),*) $(-> $result)? {
            // SAFETY: passed on to the caller.
            unsafe { $target($($argument),*) }
        }
    )*};
}

second_names! {
    __libc_malloc = malloc(size: usize) -> *mut c_void;
    __libc_calloc = calloc(count: usize, size: usize) -> *mut c_void;
    __libc_realloc = realloc(block: *mut c_void, size: usize) -> *mut c_void;
    __libc_free = free(block: *mut c_void);
    __libc_memalign = memalign(alignment: usize, size: usize) -> *mut c_void;
    __libc_valloc = valloc(size: usize) -> *mut c_void;
    __libc_pvalloc = pvalloc(size: usize) -> *mut c_void;
    __posix_memalign = posix_memalign(place: *mut *mut c_void, alignment: usize, size: usize) -> c_int;
}
