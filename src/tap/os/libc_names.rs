//! What not every libc has: one library serves programs of glibc and of musl.
//!
//! musl's loader ends a program whose preload asks for a symbol that nobody defines. So the names of glibc's own are
//! weak references, which are 0 elsewhere, and the names of musl's own are looked up while the process starts.
//!
//! # Safety
//! Loads words of our own GOT, which the loader filled before any code of ours ran. Looks names up.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The address of a symbol, 0 where nobody defines it. `$before`: what the assembler is to be told of the name. A
/// macro, because assembly wants the name as text.
macro_rules! weak_address {
    ($name:expr) => {
        weak_address!("", $name)
    };
    ($before:expr, $name:expr) => {{
        let address: usize;
        // SAFETY: loads one word of our own GOT.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::asm!(
                $before,
                concat!(".weak ", $name),
                concat!("mov {}, qword ptr [rip + ", $name, "@GOTPCREL]"),
                out(reg) address,
                options(pure, readonly, nostack, preserves_flags)
            );
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            std::arch::asm!(
                $before,
                concat!(".weak ", $name),
                concat!("adrp {0}, :got:", $name),
                concat!("ldr {0}, [{0}, :got_lo12:", $name, "]"),
                out(reg) address,
                options(pure, readonly, nostack, preserves_flags)
            );
        }
        address
    }};
}
pub(crate) use weak_address;

/// Whether the libc of this process is glibc; else it is musl, the only other one whose loader loads this library.
pub(crate) fn is_glibc() -> bool {
    weak_address!("__libc_stack_end") != 0
}

/// A function that libc has by one name or another, looked up once.
pub(crate) struct LibcFunction(AtomicUsize);

impl LibcFunction {
    /// Not looked up yet.
    pub(crate) const fn new() -> LibcFunction {
        LibcFunction(AtomicUsize::new(0))
    }

    /// Its address: `glibcs` where that is one, else what musl has by `name`. `None`: there is none.
    ///
    /// Relaxed: every thread that looks finds the same.
    pub(crate) fn address(&self, glibcs: usize, name: &CStr) -> Option<usize> {
        if glibcs != 0 {
            return Some(glibcs);
        }
        let known = self.0.load(Ordering::Relaxed);
        if known != 0 {
            return Some(known);
        }
        let found = in_libc(name);
        self.0.store(found as usize, Ordering::Relaxed);
        (!found.is_null()).then_some(found as usize)
    }
}

/// The meaning of a name in libc itself: a library behind this one may stand in front of it, and allocate there.
fn in_libc(name: &CStr) -> *mut c_void {
    type Open = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;
    // SAFETY: looks a NUL-terminated name up in the libraries behind this one.
    let open = unsafe { libc::dlsym(libc::RTLD_NEXT, c"dlopen".as_ptr()) };
    let mut libc = libc::RTLD_NEXT;
    if !open.is_null() {
        // SAFETY: the function of this name has this type.
        let open = unsafe { mem::transmute::<*mut c_void, Open>(open) };
        // SAFETY: opens nothing: musl's loader takes that name for itself.
        let own = unsafe { open(c"libc.so".as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
        libc = if own.is_null() { libc } else { own };
    }
    // SAFETY: a handle of the loader's, and a NUL-terminated name.
    unsafe { libc::dlsym(libc, name.as_ptr()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_defines_is_at_0_and_what_libc_has_is_found() {
        assert_eq!(weak_address!("heaptap_no_such_symbol"), 0);
        assert!(is_glibc());
        let function = LibcFunction::new();
        assert_eq!(function.address(0, c"heaptap_no_such_symbol"), None);
        let sysconf = libc::sysconf as *const () as usize;
        assert_eq!((function.address(0, c"sysconf"), function.address(7, c"sysconf")), (Some(sysconf), Some(7)));
    }
}
