//! What libc alone can do, called by names of its own that no library stands in front of. musl has only the plain
//! names; they are looked up in the first call of each, which the boot of jemalloc makes.
//!
//! # Safety
//! As for the rest of the entries. The functions have the types that libc gives them.
#![allow(unsafe_code)]

use crate::tap::os::libc_names::{LibcFunction, is_glibc, weak_address};
use std::ffi::{c_int, c_long, c_void};
use std::{mem, ptr};

/// The version in which glibc for this processor began.
#[cfg(target_arch = "x86_64")]
macro_rules! first_version {
    () => {
        "GLIBC_2.2.5"
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! first_version {
    () => {
        "GLIBC_2.17"
    };
}

/// The address of glibc's function by its first version, because some have had no default one since 2.34; 0: none.
macro_rules! glibcs_own {
    ($own:literal) => {
        weak_address!(
            concat!(".symver heaptap_libc", $own, ",", $own, "@", first_version!()),
            concat!("heaptap_libc", $own)
        )
    };
}

type Sbrk = unsafe extern "C" fn(isize) -> *mut c_void;
type Sysconf = unsafe extern "C" fn(c_int) -> c_long;
type Destructor = Option<unsafe extern "C" fn(*mut c_void)>;
type KeyCreate = unsafe extern "C" fn(*mut libc::pthread_key_t, Destructor) -> c_int;
type GetSpecific = unsafe extern "C" fn(libc::pthread_key_t) -> *mut c_void;
type SetSpecific = unsafe extern "C" fn(libc::pthread_key_t, *const c_void) -> c_int;

/// sbrk(2). musl's moves nothing, and says so.
pub(super) unsafe extern "C" fn sbrk(bytes: isize) -> *mut c_void {
    static MUSLS: LibcFunction = LibcFunction::new();
    let Some(address) = MUSLS.address(glibcs_own!("__sbrk"), c"sbrk") else { return ptr::without_provenance_mut(!0) };
    // SAFETY: see the head.
    let function = unsafe { mem::transmute::<usize, Sbrk>(address) };
    // SAFETY: passed on to the caller.
    unsafe { function(bytes) }
}

/// sysconf(3).
pub(super) unsafe extern "C" fn sysconf(name: c_int) -> c_long {
    static MUSLS: LibcFunction = LibcFunction::new();
    let Some(address) = MUSLS.address(glibcs_own!("__sysconf"), c"sysconf") else { return -1 };
    // SAFETY: see the head.
    let function = unsafe { mem::transmute::<usize, Sysconf>(address) };
    // SAFETY: passed on to the caller.
    unsafe { function(name) }
}

/// pthread_key_create(3).
pub(super) unsafe extern "C" fn key_create(key: *mut libc::pthread_key_t, destructor: Destructor) -> c_int {
    static MUSLS: LibcFunction = LibcFunction::new();
    let Some(address) = MUSLS.address(glibcs_own!("__pthread_key_create"), c"pthread_key_create") else {
        return libc::EAGAIN;
    };
    #[cfg(target_arch = "x86_64")]
    let destructor = if is_glibc() { destructor } else { destructor.map(super::destructors::aligned) };
    // SAFETY: see the head.
    let function = unsafe { mem::transmute::<usize, KeyCreate>(address) };
    // SAFETY: passed on to the caller.
    unsafe { function(key, destructor) }
}

/// pthread_getspecific(3).
pub(super) unsafe extern "C" fn get_specific(key: libc::pthread_key_t) -> *mut c_void {
    static MUSLS: LibcFunction = LibcFunction::new();
    let Some(address) = MUSLS.address(glibcs_own!("__pthread_getspecific"), c"pthread_getspecific") else {
        return ptr::null_mut();
    };
    // SAFETY: see the head.
    let function = unsafe { mem::transmute::<usize, GetSpecific>(address) };
    // SAFETY: passed on to the caller.
    unsafe { function(key) }
}

/// pthread_setspecific(3).
pub(super) unsafe extern "C" fn set_specific(key: libc::pthread_key_t, value: *const c_void) -> c_int {
    static MUSLS: LibcFunction = LibcFunction::new();
    let Some(address) = MUSLS.address(glibcs_own!("__pthread_setspecific"), c"pthread_setspecific") else {
        return libc::ENOMEM;
    };
    // SAFETY: see the head.
    let function = unsafe { mem::transmute::<usize, SetSpecific>(address) };
    // SAFETY: passed on to the caller.
    unsafe { function(key, value) }
}

/// Looks up what a visit calls, before there is one: a look-up takes the loader's lock.
#[cfg(not(test))]
pub(crate) fn find() {
    // SAFETY: a key that nobody made has the value null.
    unsafe { get_specific(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_libcs() {
        // SAFETY: numbers and a key that is made here.
        unsafe {
            assert_eq!(sysconf(libc::_SC_PAGESIZE), libc::sysconf(libc::_SC_PAGESIZE));
            assert_eq!(sbrk(0), libc::sbrk(0));
            let mut key = 0;
            assert_eq!((key_create(&raw mut key, None), get_specific(key)), (0, ptr::null_mut()));
            let value = ptr::without_provenance_mut(7);
            assert_eq!((set_specific(key, value), get_specific(key)), (0, value));
            assert_eq!(libc::pthread_getspecific(key), value);
        }
    }
}
