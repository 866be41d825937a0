//! What `/proc` tells about any process: for `heaptap status`, which must answer for untapped ones too.

use crate::wire::options::{self, Options};
use crate::wire::title;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
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

    /// Its root directory, where that is not the one of its mount namespace, which is ours.
    pub(crate) fn cell(self) -> Option<PathBuf> {
        let root = fs::read_link(self.path("root")).ok()?;
        (self.shares_our_mounts()? && fs::read_link("/proc/self/root").ok()? != root).then_some(root)
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

    /// Folders where its dumps and mirror may lie, by paths that lead there from here: what its options point to, what
    /// its environment offers in place of that, and where it is.
    pub(crate) fn dump_folders(self) -> Vec<PathBuf> {
        let here = fs::read_link(self.path("cwd")).ok();
        let conf: Vec<OsString> =
            ["MALLOC_CONF", "HEAPTAP_CONF"].iter().filter_map(|name| self.variable(name)).collect();
        let mut read = Options::DEFAULT;
        for text in &conf {
            options::parse(text.as_bytes(), &mut read, &mut |_, _| (), &mut |_| ());
        }
        let prefix = Path::new(OsStr::from_bytes(read.prof_prefix)).parent().map(Path::to_path_buf);
        let offered = ["HEAPTAP_DIR", "TMPDIR"].iter().filter_map(|name| self.variable(name)).map(PathBuf::from);
        let all = prefix.into_iter().chain(offered).chain(here.clone());
        let mut found: Vec<PathBuf> = Vec::new();
        for folder in all.filter_map(|folder| Some(here.as_ref()?.join(folder))).map(|folder| self.inside(&folder)) {
            if !found.contains(&folder) {
                found.push(folder);
            }
        }
        found
    }

    /// Its pid as it sees itself.
    pub(crate) fn own_pid(self) -> Option<u32> {
        self.status("NSpid")?.split_whitespace().next_back()?.parse().ok()
    }

    /// The inode of its pid namespace; `None`: we may not look.
    pub(crate) fn pid_namespace(self) -> Option<u64> {
        fs::metadata(self.path("ns/pid")).ok().map(|meta| meta.ino())
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

    /// The users that it is: real, effective, saved, and for files.
    pub(crate) fn users(self) -> Vec<u32> {
        self.status("Uid").iter().flat_map(|line| line.split_whitespace()).filter_map(|id| id.parse().ok()).collect()
    }

    /// The groups that it is: real, effective, saved, and for files.
    pub(crate) fn groups(self) -> Vec<u32> {
        self.status("Gid").iter().flat_map(|line| line.split_whitespace()).filter_map(|id| id.parse().ok()).collect()
    }

    /// Its command line, word by word.
    pub(crate) fn command(self) -> Vec<String> {
        title::words(&fs::read(self.path("cmdline")).unwrap_or_default())
    }

    /// What those who run it call it.
    pub(crate) fn title(self) -> Option<String> {
        Some(title::of(&self.program()?.display().to_string(), &self.command()))
    }

    /// The process that started it.
    pub(crate) fn parent(self) -> Option<u32> {
        self.status("PPid")?.parse().ok()
    }

    /// The container or service that it runs in, by its control group: twelve digits of a container's id, or a unit's
    /// name.
    pub(crate) fn container(self) -> Option<String> {
        container(&fs::read_to_string(self.path("cgroup")).ok()?)
    }

    /// Whether it lives in the same mount namespace as we do; `None`: we may not look.
    pub(crate) fn shares_our_mounts(self) -> Option<bool> {
        let inode = |path: &Path| fs::metadata(path).ok().map(|meta| meta.ino());
        Some(inode(&self.path("ns/mnt"))? == inode(Path::new("/proc/self/ns/mnt"))?)
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

fn container(groups: &str) -> Option<String> {
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let mut parts: Vec<&str> = paths.flat_map(|path| path.split('/').rev()).filter(|part| !part.is_empty()).collect();
    let id = |part: &&str| {
        let digits = part.trim_end_matches(".scope").rsplit(['-', ':']).next().unwrap_or_default();
        (digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| digits[..12].to_owned())
    };
    if let Some(id) = parts.iter().find_map(id) {
        return Some(id);
    }
    parts.retain(|part| part.ends_with(".service"));
    parts.first().map(|unit| (*unit).to_owned())
}

/// Every process here that was started by this one, or by one of those, with its pid.
pub(crate) fn descendants(pid: u32) -> Vec<Process> {
    let numbers =
        fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let all: Vec<(Process, Option<u32>)> =
        numbers.filter_map(|name| name.parse().ok()).map(|pid| (Process { pid }, Process { pid }.parent())).collect();
    let (mut family, mut next) = (vec![pid], 0);
    while let Some(&parent) = family.get(next) {
        next += 1;
        let children = all.iter().filter(|(_, its)| *its == Some(parent)).map(|(child, _)| child.pid);
        let children: Vec<u32> = children.filter(|child| !family.contains(child)).collect();
        family.extend(children);
    }
    family.into_iter().skip(1).map(|pid| Process { pid }).collect()
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
        assert!(own.inside(Path::new("/bin/sh")).exists() && own.users().len() == 4);
        assert!(
            own.cell().is_none()
                && own.parent().is_some()
                && own.groups().len() == 4
                && own.shares_our_mounts() == Some(true)
        );
        assert!(descendants(own.parent().unwrap()).iter().any(|process| process.pid == own.pid));
        assert!(!Process { pid: u32::MAX }.exists());
    }

    #[test]
    fn control_groups_tell_containers_and_services() {
        let id = "0123456789abcdef".repeat(4);
        for path in [
            format!("0::/system.slice/docker-{id}.scope\n"),
            format!("4:memory:/kubepods/pod1/{id}\n0::/x\n"),
            format!("0::/kubepods.slice/cri-containerd-{id}.scope/inner\n"),
        ] {
            assert_eq!(container(&path).as_deref(), Some("0123456789ab"), "{path}");
        }
        assert_eq!(container("0::/system.slice/redis.service\n").as_deref(), Some("redis.service"));
        assert_eq!(container("0::/\n"), None);
    }
}
