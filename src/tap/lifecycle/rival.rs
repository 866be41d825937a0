//! A program with a malloc of its own (linked in: tcmalloc, jemalloc, mimalloc): ours is never called.
//!
//! The dynamic linker asks the program first, so everything in the process uses the program's. Nothing is
//! profiled then, and that is said, rather than leaving an empty profile to wonder about.
//!
//! # Safety
//! Questions to the dynamic linker, answered in memory of this frame.
#![allow(unsafe_code)]

use crate::tap::os::filter::Deadly;
use crate::tap::os::{environment::Environment, sys};
use crate::tap::profiler::PROFILER;
use std::ffi::c_void;
use std::mem::MaybeUninit;

/// Steps back if the program has its own. From the constructor: earlier the linker cannot be asked.
pub(super) fn yield_to() {
    let profiling = PROFILER.settings().is_some_and(|settings| settings.options.prof);
    if profiling && is_the_programs() {
        PROFILER.forbid(Deadly::EVERYTHING);
        sys::say(&[b"heaptap: this program has a malloc of its own, so nothing is profiled"]);
    }
}

/// Whether `malloc` means a function of the program itself.
fn is_the_programs() -> bool {
    // SAFETY: looks a NUL-terminated name up.
    let malloc = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"malloc".as_ptr()) };
    let headers = Environment::initial().and_then(|found| found.auxiliary(libc::AT_PHDR as usize));
    headers.is_some_and(|headers| {
        let program = object_of(headers as *const c_void);
        program.is_some() && program == object_of(malloc)
    })
}

/// Start of the loaded object that this address belongs to.
fn object_of(address: *const c_void) -> Option<usize> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: fills the struct if it returns something else than 0.
    let found = unsafe { libc::dladdr(address, info.as_mut_ptr()) } != 0;
    // SAFETY: zeros, or filled.
    let info = unsafe { info.assume_init() };
    found.then_some(info.dli_fbase as usize)
}
