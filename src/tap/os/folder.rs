//! The names in a folder. Not `std::fs::read_dir`: that panics where `closedir` fails, and a seccomp filter that the
//! program installs while we look makes it fail.
//!
//! # Safety
//! Raw system calls on a descriptor and a buffer of this frame; entries are read by the kernel's layout
//! (getdents(2)), each length checked.
#![allow(unsafe_code)]

use std::ffi::{CString, OsStr, OsString, c_long};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Bytes of an entry before its name: inode, offset, length, kind.
const HEAD: usize = 19;
/// Where the entry's length stands.
const LENGTH_AT: usize = 16;

/// The paths of a folder's entries, as far as they can be had.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(path) = CString::new(folder.as_os_str().as_bytes()) else { return found };
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: a NUL-terminated path.
    let fd = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags) };
    if fd < 0 {
        return found;
    }
    found.extend(names_in(fd).into_iter().map(|name| folder.join(name)));
    // SAFETY: opened above, given to nobody. Whether it can be closed is not our trouble.
    unsafe { libc::syscall(libc::SYS_close, fd) };
    found
}

/// Why this user cannot make files in a folder: it is missing, not his, on a read-only mount. `None`: he can.
pub(crate) fn refusal(folder: &Path) -> Option<std::io::Error> {
    let path = CString::new(folder.as_os_str().as_bytes()).ok()?;
    // SAFETY: a NUL-terminated path.
    let result = unsafe { libc::syscall(libc::SYS_faccessat, libc::AT_FDCWD, path.as_ptr(), libc::W_OK | libc::X_OK) };
    (result != 0).then(std::io::Error::last_os_error)
}

/// The names in an open folder, from where it was read last.
pub(crate) fn names_in(fd: c_long) -> Vec<OsString> {
    let mut found = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        // SAFETY: the kernel writes at most the buffer's length.
        let length = unsafe { libc::syscall(libc::SYS_getdents64, fd, buffer.as_mut_ptr(), buffer.len()) };
        let Some(bytes) = usize::try_from(length).ok().filter(|&length| length > 0) else { break };
        let name = &mut |name: &[u8]| found.push(OsStr::from_bytes(name).to_os_string());
        names(buffer.get(..bytes).unwrap_or_default(), name);
    }
    found
}

/// The names in what getdents64 wrote.
fn names(mut bytes: &[u8], take: &mut dyn FnMut(&[u8])) {
    while let Some(length) = bytes.get(LENGTH_AT..LENGTH_AT + 2) {
        let length = usize::from(u16::from_ne_bytes(length.try_into().unwrap_or_default()));
        let (Some(entry), Some(rest)) = (bytes.get(HEAD..length), bytes.get(length..)) else { return };
        let name = entry.split(|&byte| byte == 0).next().unwrap_or_default();
        if !matches!(name, b"" | b"." | b"..") {
            take(name);
        }
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn finds_what_std_finds() {
        for folder in ["/proc", "/usr/bin", "/no/such/folder"] {
            let std: BTreeSet<PathBuf> =
                std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            let ours: BTreeSet<PathBuf> = entries(Path::new(folder)).into_iter().collect();
            // Processes come and go.
            let differ = std.symmetric_difference(&ours).count();
            assert!(differ == 0 || folder == "/proc" && differ < 50, "{folder}: {differ}");
        }
    }

    #[test]
    fn broken_entries_end_the_list() {
        for bytes in [&[0u8; 40][..], &[0xff; 40], &[1; 18], &[]] {
            names(bytes, &mut |_| panic!("a name"));
        }
    }
}
