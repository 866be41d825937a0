//! `prof_exec:false`: programs that a profiled process starts are not tapped.
//!
//! The process takes us out of its own `LD_PRELOAD`, so that its children never load us at all: the only way that costs
//! them nothing, and that programs survive which cannot load us (musl). Processes that `prof_exe` and `prof_arg`
//! do not choose pass the variable on: a start script must reach its server.
//!
//! # Safety
//! The environment is changed in the constructor, before the program has run.
#![allow(unsafe_code)]

use crate::tap::profiler::PROFILER;
use std::ffi::{CStr, CString, c_void};
use std::mem::MaybeUninit;

const PRELOAD: &CStr = c"LD_PRELOAD";

/// Takes us out of the environment, if that is wanted.
pub(super) fn leave_children_alone() {
    let wanted = PROFILER.settings().is_some_and(|settings| settings.options.prof && !settings.options.prof_exec);
    if !wanted {
        return;
    }
    // SAFETY: libc is initialised; nobody else runs yet who could change the variable meanwhile.
    let value = unsafe { libc::getenv(PRELOAD.as_ptr()) };
    if value.is_null() {
        return;
    }
    // SAFETY: a C string of the environment.
    let others = without(unsafe { CStr::from_ptr(value) }.to_bytes(), own_path());
    match CString::new(others).ok().filter(|others| !others.is_empty()) {
        // SAFETY: both are C strings, which setenv copies.
        Some(others) => unsafe { libc::setenv(PRELOAD.as_ptr(), others.as_ptr(), 1) },
        // SAFETY: a C string.
        None => unsafe { libc::unsetenv(PRELOAD.as_ptr()) },
    };
}

/// A list of libraries without one of them.
fn without(list: &[u8], own: &[u8]) -> Vec<u8> {
    let name = |path: &[u8]| path.rsplit(|&byte| byte == b'/').next().map(<[u8]>::to_vec);
    let is_own = |entry: &&[u8]| *entry == own || name(entry) == name(own);
    let entries = list.split(|&byte| byte == b':' || byte == b' ').filter(|entry| !entry.is_empty());
    entries.filter(|entry| !is_own(entry)).collect::<Vec<_>>().join(&b':')
}

/// The path by which the loader knows us.
fn own_path() -> &'static [u8] {
    let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
    let here: *const c_void = (own_path as fn() -> &'static [u8] as *const ()).cast();
    // SAFETY: an address of ours, and a struct to fill.
    let result = unsafe { libc::dladdr(here, found.as_mut_ptr()) };
    // SAFETY: zeros, or filled by the loader: both are a `Dl_info`.
    let name = unsafe { found.assume_init() }.dli_fname;
    if result == 0 || name.is_null() {
        return b"libheaptap.so";
    }
    // SAFETY: a C string of the loader's, which lives as long as we are loaded.
    unsafe { CStr::from_ptr(name) }.to_bytes()
}
