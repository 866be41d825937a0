//! What `/proc` tells about any process: for `heaptap status`, which must answer for untapped ones too.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Auxiliary vector entry that says whether the loader distrusts the environment.
const AT_SECURE: u64 = 23;

/// Libraries that bring a malloc of their own, by a part of their file name.
const ALLOCATORS: [&str; 6] = ["libjemalloc", "libtcmalloc", "libmimalloc", "libtbbmalloc", "libsnmalloc", "libhoard"];

/// A process that can be looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    /// Its pid as we see it.
    pub(crate) pid: u32,
}

impl Process {
    /// Whether there is one of that pid.
    pub(crate) fn exists(self) -> bool {
        Path::new(&self.path("")).exists()
    }

    /// A path below its folder in `/proc`.
    pub(crate) fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    /// A file's path as the process means it.
    pub(crate) fn inside(self, path: &Path) -> PathBuf {
        self.path("root").join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The program that it runs.
    pub(crate) fn program(self) -> Option<PathBuf> {
        fs::read_link(self.path("exe")).ok()
    }

    /// The files that it has mapped; `None`: we may not look.
    pub(crate) fn mapped(self) -> Option<Vec<String>> {
        let maps = fs::read_to_string(self.path("maps")).ok()?;
        let mut files: Vec<String> =
            maps.lines().filter_map(|line| Some(line.get(line.find(" /")? + 1..)?.to_owned())).collect();
        files.sort();
        files.dedup();
        Some(files)
    }

    /// A variable of the environment that it was started with.
    pub(crate) fn variable(self, name: &str) -> Option<OsString> {
        let environment = fs::read(self.path("environ")).ok()?;
        let mut entries = environment.split(|&byte| byte == 0);
        let value = entries.find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        Some(OsString::from_vec(value.to_vec()))
    }

    /// Whether the loader ignored its environment: set-user-id, file capabilities, another security domain.
    pub(crate) fn is_secure(self) -> bool {
        let vector = fs::read(self.path("auxv")).unwrap_or_default();
        let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
        vector.chunks_exact(16).any(|entry| {
            let (kind, value) = entry.split_at(8);
            word(kind) == AT_SECURE && word(value) != 0
        })
    }

    /// A line of its status, `Seccomp` for instance.
    pub(crate) fn status(self, key: &str) -> Option<String> {
        let status = fs::read_to_string(self.path("status")).ok()?;
        let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some(value.trim().to_owned())
    }

    /// Other libraries with a malloc that it has mapped.
    pub(crate) fn allocators(self) -> Vec<String> {
        let mut files = self.mapped().unwrap_or_default();
        files.retain(|file| {
            ALLOCATORS.iter().any(|name| file.rsplit('/').next().is_some_and(|last| last.starts_with(name)))
        });
        files
    }
}

/// Whether a process is stopped by a signal or a debugger.
pub(crate) fn is_stopped(pid: u32) -> bool {
    Process { pid }.status("State").is_some_and(|state| state.starts_with(['T', 't']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_as_it_is() {
        let own = Process { pid: std::process::id() };
        assert!(own.exists() && !own.is_secure() && !is_stopped(own.pid));
        assert_eq!(own.program(), std::env::current_exe().ok());
        assert_eq!(own.variable("PATH"), std::env::var_os("PATH"));
        assert!(own.mapped().unwrap().iter().any(|file| file.contains("libc")));
        assert!(own.inside(Path::new("/bin/sh")).exists());
        assert!(!Process { pid: u32::MAX }.exists());
    }
}
