//! Whether a program has file capabilities (`setcap`): then the loader ignores `LD_PRELOAD` in it.
//!
//! # Safety
//! One system call that is asked for a size and writes nothing.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether the program has some; of one that cannot be looked at: no.
pub(crate) fn has_some(program: &Path) -> bool {
    let Ok(path) = CString::new(program.as_os_str().as_bytes()) else { return false };
    // SAFETY: two NUL-terminated names, and no room for a value: the size alone is told.
    let size = unsafe { libc::getxattr(path.as_ptr(), c"security.capability".as_ptr(), std::ptr::null_mut(), 0) };
    size > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_program_has_none() {
        assert!(!has_some(&std::env::current_exe().unwrap()) && !has_some(Path::new("/no/such/file")));
    }
}
