//! Where the first thread's stack begins: argc, argv, envp and the auxiliary vector, as the kernel put them there.
//!
//! glibc's loader tells it (`__libc_stack_end`) from the very start. musl tells of the environment alone, which it sets
//! before it runs any code of a library: from there back to argc the words say themselves what they are. A program
//! that has replaced the array `environ` before its first malloc leaves nothing to be found.
//!
//! # Safety
//! Reads the initial stack, whose shape the System V ABI fixes, during the first call.
#![allow(unsafe_code)]

use super::libc_names::weak_address;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

unsafe extern "C" {
    static environ: *const usize;
}

/// The address of argc. Null: nothing is left of it.
pub(crate) fn start() -> *const usize {
    let told = weak_address!("__libc_stack_end") as *const *const usize;
    if !told.is_null() {
        // SAFETY: glibc's loader sets this variable before it runs any code of a library.
        return unsafe { told.read() };
    }
    /// Relaxed: a number that stands for itself.
    static FOUND: AtomicPtr<usize> = AtomicPtr::new(ptr::null_mut());
    let known = FOUND.load(Ordering::Relaxed);
    if !known.is_null() {
        return known;
    }
    // SAFETY: a word of libc's.
    let found = unsafe { below(environ) };
    FOUND.store(found.cast_mut(), Ordering::Relaxed);
    found
}

/// The address of argc below this array of the environment, if that is the one that the process began with: below it
/// are a null, pointers to what stands above it, and their number.
///
/// # Safety
/// The array is null, or what the process began with, or lies on a stack above other words of the program's.
unsafe fn below(environment: *const usize) -> *const usize {
    // SAFETY: reads a vector that never changes; the text is the last of the initial stack.
    let end = unsafe { libc::getauxval(libc::AT_EXECFN) } as usize;
    let place = environment as usize;
    if place == 0 || !environment.is_aligned() || place >= end {
        return ptr::null();
    }
    // SAFETY: argv's null stands there, if it is the array of the initial stack.
    let mut word = unsafe { environment.sub(1) };
    // SAFETY: as above.
    if unsafe { word.read() } != 0 {
        return ptr::null();
    }
    for count in 0.. {
        // SAFETY: a pointer to an argument, or their number, which is smaller than any address.
        word = unsafe { word.sub(1) };
        // SAFETY: as above.
        let value = unsafe { word.read() };
        if !(place..end).contains(&value) {
            return if value == count { word } else { ptr::null() };
        }
    }
    ptr::null()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_leads_to_what_the_loader_tells() {
        // SAFETY: the test's own environment, which nobody has changed.
        let found = unsafe { below(environ) };
        assert!(found == start() && !found.is_null());
        let others = [3_usize, 0, 4, 5, 6];
        // SAFETY: an array on a stack, with words below its middle.
        assert!(unsafe { below(others.as_ptr().add(2)) }.is_null());
        // SAFETY: as above.
        assert!(unsafe { below(others.as_ptr().add(3)) }.is_null());
    }
}
