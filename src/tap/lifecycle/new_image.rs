//! The process executes another program (exec(3)): a life ends.
//!
//! Its region would stay on tmpfs for ever: the new image knows nothing of it, need not be tapped, and is over in an
//! instant where it is what a server's start script or `ProcessBuilder` began. So what is not worth a dump goes before
//! the call, and what follows is another life, without files until it samples: the call may fail. What is worth one
//! stays; the next keeper of that user writes it (`reason: exec`).
//!
//! libc's functions are looked up by the constructor: in a child of `fork` another thread of the parent may hold the
//! loader's lock. What libc itself executes (`posix_spawn`, `system`) runs in a process that has our memory and no life
//! of its own, and does not come here.
//!
//! # Safety
//! Looks names up.
#![allow(unsafe_code)]

use crate::tap::guard::Guard;
use crate::tap::os::sys;
use crate::tap::profiler::PROFILER;
use std::ffi::{CStr, c_char, c_int};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Addresses of libc's functions in the order of [`NAMES`], 0: not looked up yet. Jumped to from assembly.
pub(crate) static REAL_EXEC: [AtomicUsize; NAMES.len()] = [const { AtomicUsize::new(0) }; NAMES.len()];

/// The family.
const NAMES: [&CStr; 9] =
    [c"execve", c"execv", c"execvp", c"execvpe", c"execl", c"execlp", c"execle", c"fexecve", c"execveat"];

/// Looks all of them up.
pub(crate) fn find_all() {
    for (place, name) in REAL_EXEC.iter().zip(NAMES) {
        if place.load(Ordering::Relaxed) == 0 {
            // SAFETY: looks a NUL-terminated name up in the libraries behind this one.
            let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) } as usize;
            place.store(if found == 0 { missing as *const () as usize } else { found }, Ordering::Release);
        }
    }
}

/// Where libc has none of that name (`execveat` before 2.34).
extern "C" fn missing() -> c_int {
    sys::set_errno(libc::ENOSYS);
    -1
}

/// Those whose first argument is a path, and those whose is a name that is looked for in PATH.
const WITH_PATH: [usize; 4] = [0, 1, 4, 6];
const WITH_NAME: [usize; 3] = [2, 3, 5];
/// Longest path that is looked at.
const PATH_BYTES: usize = 512;

/// Before the call of the function at that place: removes what this life would leave, unless that is worth a dump or
/// the call will fail.
///
/// # Safety
/// `first` is its first argument.
pub(crate) unsafe extern "C" fn leave(first: *const c_char, place: usize) {
    if REAL_EXEC.iter().any(|place| place.load(Ordering::Acquire) == 0) {
        // A constructor that runs before ours executes a program.
        find_all();
    }
    if PROFILER.settings().is_some_and(|settings| settings.options.prof) && !PROFILER.may_not_open() {
        sys::keep_errno(|| {
            // SAFETY: passed on to the caller.
            if unsafe { may_succeed(first, place) } {
                let _guard = Guard::enter();
                PROFILER.leave_image();
            }
        });
    }
}

/// Whether there is such a program, as far as a look tells: who tries one folder after the other has most calls fail,
/// and would lose its samples with each.
///
/// # Safety
/// `first` is the first argument of the function at that place.
unsafe fn may_succeed(first: *const c_char, place: usize) -> bool {
    let is_named = WITH_NAME.contains(&place);
    if first.is_null() || !is_named && !WITH_PATH.contains(&place) {
        return true;
    }
    if !is_named {
        return is_program(first);
    }
    // SAFETY: a C string, which libc's function reads itself right afterwards.
    let name = unsafe { CStr::from_ptr(first) };
    if name.to_bytes().contains(&b'/') {
        return is_program(first);
    }
    // SAFETY: what libc's function does itself right afterwards.
    let path = unsafe { libc::getenv(c"PATH".as_ptr()) };
    if path.is_null() {
        return true;
    }
    // SAFETY: a C string of the environment.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    path.split(|&byte| byte == b':').any(|folder| is_program_in(folder, name.to_bytes()))
}

/// The same of a name in a folder of PATH; an empty one is the current folder.
fn is_program_in(folder: &[u8], name: &[u8]) -> bool {
    let mut room = [0u8; PATH_BYTES];
    let parts: [&[u8]; 3] = [if folder.is_empty() { b"." } else { folder }, b"/", name];
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if length >= PATH_BYTES {
        return true;
    }
    for (to, from) in room.iter_mut().zip(parts.iter().copied().flatten()) {
        *to = *from;
    }
    CStr::from_bytes_until_nul(&room).is_ok_and(|path| is_program(path.as_ptr()))
}

/// The path is the kernel's to judge: of a wild pointer it says EFAULT, as it will of the call itself.
fn is_program(path: *const c_char) -> bool {
    // SAFETY: reads nothing here.
    unsafe { libc::syscall(libc::SYS_faccessat, libc::AT_FDCWD, path, libc::X_OK) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_executed_is_known_before() {
        // SAFETY: C strings, or what is no string for functions that take none.
        let may = |first: &CStr, place| unsafe { may_succeed(first.as_ptr(), place) };
        for (first, place, expected) in [
            (c"/bin/sh", 0, true),
            (c"/no/such/program", 0, false),
            (c"/etc/passwd", 1, false),
            (c"sh", 2, true),
            (c"no-such-program", 5, false),
            (c"/no/such/program", 3, false),
            (c"", 7, true),
            (c"/no/such/program", 8, true),
        ] {
            assert_eq!(may(first, place), expected, "{first:?} {place}");
        }
    }
}
