//! The exported functions: doors that lead the tap's own calls to the kernel, and the program's to `program`.
//!
//! # Safety
//! The calls are libc's own, passed on as they are.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
use super::aarch64::door;
use super::own::map_own;
use super::program::{map_memory, remap_memory, unmap_memory};
#[cfg(target_arch = "x86_64")]
use super::x86_64::door;
use crate::tap::os::map;
use std::ffi::{c_int, c_void};

/// Maps memory (mmap(2)).
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn mmap(
    address: *mut c_void,
    bytes: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: i64,
) -> *mut c_void {
    door!("mmap", map_own, map_memory)
}

/// The same where `off_t` has 64 bits: always, here.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn mmap64(
    address: *mut c_void,
    bytes: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: i64,
) -> *mut c_void {
    door!("mmap64", map_own, map_memory)
}

/// Unmaps memory (munmap(2)).
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn munmap(address: *mut c_void, bytes: usize) -> c_int {
    door!("munmap", map::raw_munmap, unmap_memory)
}

/// Moves memory, or gives it another length (mremap(2)).
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn mremap(
    address: *mut c_void,
    bytes: usize,
    new_bytes: usize,
    flags: c_int,
    new_address: *mut c_void,
) -> *mut c_void {
    door!("mremap", map::raw_mremap, remap_memory)
}
