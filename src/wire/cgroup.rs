//! Control groups, version 2 and 1: in which one a process is, and what limits its memory. Pure: who reads the files
//! passes in how.

use std::path::{Path, PathBuf};

/// How much memory a control group has, and may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// In use, with files that could be dropped.
    pub(crate) used_bytes: u64,
    /// The limit.
    pub(crate) limit_bytes: u64,
}

/// The path of the group that a line of `/proc/PID/cgroup` gives, without a slash at its end: of version 2, or of a
/// controller of version 1. Allocates nothing.
pub(crate) fn group<'a>(groups: &'a [u8], controller: Option<&[u8]>) -> Option<&'a [u8]> {
    groups.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |&byte| byte == b':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let is_it = match controller {
            None => controllers.is_empty(),
            Some(wanted) => controllers.split(|&byte| byte == b',').any(|controller| controller == wanted),
        };
        is_it.then_some(path.strip_suffix(b"/").unwrap_or(path))
    })
}

/// The tightest limit on memory of the groups that a process is in; `None` where there is none, or it cannot be told.
/// `groups`: its `/proc/PID/cgroup`; `read`: how a file is read.
pub(crate) fn memory(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<Limit> {
    let number = |path: &Path| read(path)?.trim_ascii().parse::<u64>().ok();
    let limits = memory_files(groups).into_iter().filter_map(|[used, limit]| {
        // Version 2 says "max", version 1 a huge number, where there is no limit.
        let limit_bytes = number(&limit).filter(|&limit| limit < 1 << 60)?;
        Some(Limit { used_bytes: number(&used)?, limit_bytes })
    });
    limits.min_by_key(|limit| limit.limit_bytes.saturating_sub(limit.used_bytes))
}

/// How many processes of the group the kernel has killed for want of memory; `None`: it does not tell. Parameters as
/// for [`memory`].
pub(crate) fn kills(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    memory_files(groups).iter().find_map(|[used, _]| {
        let files = ["memory.events", "memory.oom_control"];
        files.iter().find_map(|file| killed(&read(&used.with_file_name(file))?))
    })
}

/// Tasks of the groups that a process is in, and how many they may be: of the one that is nearest to its limit.
/// Parameters as for [`memory`].
pub(crate) fn tasks(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<(u64, u64)> {
    let number = |path: &Path| read(path)?.trim_ascii().parse::<u64>().ok();
    let versions: [(Option<&[u8]>, &str); 2] = [(Some(b"pids"), "/sys/fs/cgroup/pids"), (None, "/sys/fs/cgroup")];
    let folders = versions.into_iter().flat_map(|(controller, mount)| folders(groups, controller, mount));
    // "max" where there is none.
    let limits =
        folders.filter_map(|folder| Some((number(&folder.join("pids.current"))?, number(&folder.join("pids.max"))?)));
    limits.min_by_key(|(used, most)| most.saturating_sub(*used))
}

fn killed(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// The pairs of files that may know, of each group and of those above it. In a container the path, as the host sees it,
/// is not there, and the root of the mount is the container's own group.
fn memory_files(groups: &str) -> Vec<[PathBuf; 2]> {
    let versions: [(Option<&[u8]>, _, _); 2] = [
        (Some(b"memory"), "/sys/fs/cgroup/memory", ["memory.usage_in_bytes", "memory.limit_in_bytes"]),
        (None, "/sys/fs/cgroup", ["memory.current", "memory.max"]),
    ];
    let files = versions.into_iter().flat_map(|(controller, mount, names)| {
        let folders = folders(groups, controller, mount);
        folders.into_iter().map(move |folder| names.map(|name| folder.join(name)))
    });
    files.collect()
}

/// The folders of a group and of those above it, below the place where its kind is mounted.
fn folders(groups: &str, controller: Option<&[u8]>, mount: &str) -> Vec<PathBuf> {
    let Some(group) = group(groups.as_bytes(), controller) else { return Vec::new() };
    let group = String::from_utf8_lossy(group);
    Path::new(group.trim_start_matches('/')).ancestors().map(|group| Path::new(mount).join(group)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_say_where_the_group_is() {
        let groups = b"9:cpuset:/x\n4:cpuacct,cpu:/kubepods/pod1/\n1:name=systemd:/\n0::/a/b\nrubbish\n";
        assert_eq!(group(groups, None), Some(&b"/a/b"[..]));
        assert_eq!(group(groups, Some(b"cpu")), Some(&b"/kubepods/pod1"[..]));
        assert_eq!(group(b"0::/\n", None), Some(&b""[..]));
        assert_eq!((group(b"", None), group(b"0::/\n", Some(b"cpu"))), (None, None));
    }

    #[test]
    fn kills_are_told_by_both_versions() {
        assert_eq!(killed("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(killed("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
        assert_eq!(killed("oom_kill_disable 0\nunder_oom 0\n"), None);
    }

    #[test]
    fn the_group_that_is_nearest_to_its_limit_of_tasks_counts() {
        let read = |path: &Path| {
            let text = match path.to_str()? {
                "/sys/fs/cgroup/a/b/pids.current" => "10",
                "/sys/fs/cgroup/a/b/pids.max" => "max",
                "/sys/fs/cgroup/a/pids.current" => "30\n",
                "/sys/fs/cgroup/a/pids.max" => "32\n",
                _ => return None,
            };
            Some(text.to_owned())
        };
        assert_eq!((tasks("0::/a/b\n", read), tasks("", read)), (Some((30, 32)), None));
    }

    #[test]
    fn all_groups_up_to_the_root_are_looked_at() {
        let files = memory_files("4:memory,cpu:/a/b\n0::/c/\nrubbish\n");
        let used: Vec<String> = files.iter().map(|[used, _]| used.display().to_string()).collect();
        let v1 = "/sys/fs/cgroup/memory";
        assert_eq!(
            used,
            [
                format!("{v1}/a/b/memory.usage_in_bytes"),
                format!("{v1}/a/memory.usage_in_bytes"),
                format!("{v1}/memory.usage_in_bytes"),
                "/sys/fs/cgroup/c/memory.current".into(),
                "/sys/fs/cgroup/memory.current".into(),
            ]
        );
    }

    #[test]
    fn the_tightest_limit_counts_wherever_it_stands() {
        let files = [
            ("/sys/fs/cgroup/pod/server/memory.current", "70\n"),
            ("/sys/fs/cgroup/pod/server/memory.max", "max\n"),
            ("/sys/fs/cgroup/pod/memory.current", "80\n"),
            ("/sys/fs/cgroup/pod/memory.max", "100\n"),
            ("/sys/fs/cgroup/memory.current", "900\n"),
            ("/sys/fs/cgroup/memory.max", "1000\n"),
        ];
        let read = |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).into());
        let limit = memory("0::/pod/server\n", read);
        assert_eq!(limit, Some(Limit { used_bytes: 80, limit_bytes: 100 }));
        assert_eq!((memory("0::/none\n", |_| None), memory("", read)), (None, None));
    }
}
