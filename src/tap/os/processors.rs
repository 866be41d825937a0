//! How many processors this process may keep busy: its control group's quota, version 2 and 1.
//!
//! What it may run on (affinity, cpuset) the allocator asks for itself; a quota it does not know. In a pod of 2
//! processors on a machine of 96 it would make arenas for 96, most of them idle with unused memory in each.
//!
//! Read in the process's first call, before there is an allocator: raw system calls, some 1.5 KiB of stack, no
//! allocation. What cannot be read is no quota.
//!
//! # Safety
//! The calls get NUL-terminated paths and buffers of this frame.
#![allow(unsafe_code)]

use super::sys;
use crate::wire::cgroup;
use std::ffi::c_long;
use std::mem::MaybeUninit;

/// Where the controllers of both versions are mounted; `false`: version 1.
const MOUNTS: [Mount; 3] =
    [Mount(true, b"/sys/fs/cgroup"), Mount(false, b"/sys/fs/cgroup/cpu"), Mount(false, b"/sys/fs/cgroup/cpu,cpuacct")];
/// A deeper group is looked at from its end.
const MOST_LEVELS: usize = 16;
/// Links to a folder that has none in it, as the kernel counts those of control groups.
const ALONE: libc::nlink_t = 2;

/// Processors that the quotas of the process's group and of those above it leave, rounded up, if those are fewer than
/// it may run on.
pub(crate) fn by_quota() -> Option<u32> {
    sys::keep_errno(|| {
        let quota = quota(&MOUNTS, b"/proc/self/cgroup")?;
        may_run_on().filter(|&all| quota < all).and(Some(quota))
    })
}

/// The smallest quota of the control groups that the process is in; `groups`: path of `/proc/self/cgroup`.
///
/// The kernel makes that file for each process when it is first opened, which takes longer than all else here. Where
/// the controller's root has no group below it, as in most containers, every process is in the root.
fn quota(mounts: &[Mount], groups: &[u8]) -> Option<u32> {
    let mut roots = mounts.iter().filter(|mount| mount.links() == Some(ALONE));
    if let Some(quota) = roots.find_map(|root| root.quota(b"")) {
        return quota;
    }
    let mut buffer = [0; 1024];
    let groups = read(&Path::of(&[groups]), &mut buffer)?;
    let of = |mount: &Mount| mount.smallest(cgroup::group(groups, (!mount.0).then_some(b"cpu"))?);
    mounts.iter().filter_map(of).min()
}

/// Where the controller of processors may be mounted: whether by version 2, and the folder.
struct Mount(bool, &'static [u8]);

impl Mount {
    /// The smallest quota of a control group and of those above it. Inside a container `/proc/self/cgroup` may give
    /// the path on the host; the container's mount then has only the root, which is the container's own group.
    fn smallest(&self, group: &[u8]) -> Option<u32> {
        let ends = group.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let levels = std::iter::once(group.len()).chain(ends.rev()).take(MOST_LEVELS);
        let mut last = usize::MAX;
        // The group may be the root itself: no level is read twice.
        let levels = levels.chain(std::iter::once(0)).filter(|&end| std::mem::replace(&mut last, end) != end);
        levels.filter_map(|end| self.quota(group.get(..end)?)?).min()
    }

    /// The quota of one group, which may have none; `None`: the controller knows no such group.
    fn quota(&self, group: &[u8]) -> Option<Option<u32>> {
        let &Mount(unified, folder) = self;
        let mut buffer = [0; 64];
        if unified {
            return Some(of_unified(read(&Path::of(&[folder, group, b"/cpu.max"]), &mut buffer)?));
        }
        let Some(quota) = number(read(&Path::of(&[folder, group, b"/cpu.cfs_quota_us"]), &mut buffer)?) else {
            return Some(None);
        };
        let period = read(&Path::of(&[folder, group, b"/cpu.cfs_period_us"]), &mut buffer).and_then(number);
        Some(period.and_then(|period| processors(quota, period)))
    }

    /// How many links there are to the root's folder.
    fn links(&self) -> Option<libc::nlink_t> {
        let mut status = MaybeUninit::<libc::stat>::zeroed();
        let path = Path::of(&[self.1]);
        // SAFETY: a NUL-terminated path, and room for what the kernel tells of it.
        let result =
            unsafe { libc::syscall(libc::SYS_newfstatat, libc::AT_FDCWD, path.bytes.as_ptr(), status.as_mut_ptr(), 0) };
        // SAFETY: of integers, which were zero.
        (result == 0).then(|| unsafe { status.assume_init() }.st_nlink)
    }
}

/// The quota in `cpu.max`: `max 100000`, or `150000 100000`.
fn of_unified(text: &[u8]) -> Option<u32> {
    let mut fields = text.split(|byte| byte.is_ascii_whitespace());
    processors(number(fields.next()?)?, number(fields.next()?)?)
}

/// A quota in a period as whole processors.
fn processors(quota: u64, period: u64) -> Option<u32> {
    (quota > 0 && period > 0).then(|| u32::try_from(quota.div_ceil(period)).unwrap_or(u32::MAX))
}

/// `None` for words, and for -1, which is no quota.
fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

/// Processors of the affinity mask.
fn may_run_on() -> Option<u32> {
    let mut mask = [0u64; 128];
    // SAFETY: the kernel writes at most the mask's bytes.
    let bytes = unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(&mask), mask.as_mut_ptr()) };
    (bytes > 0).then(|| mask.iter().map(|word| word.count_ones()).sum())
}

/// A path put together without allocating; one that does not fit is that of nothing.
struct Path {
    bytes: [u8; 320],
}

impl Path {
    fn of(parts: &[&[u8]]) -> Path {
        let mut path = Path { bytes: [0; 320] };
        if parts.iter().map(|part| part.len()).sum::<usize>() < path.bytes.len() {
            let bytes = parts.iter().copied().flatten();
            path.bytes.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        }
        path
    }
}

/// The beginning of a file.
fn read<'a>(path: &Path, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: a NUL-terminated path.
    let file: c_long = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.bytes.as_ptr(), flags, 0) };
    if file < 0 {
        return None;
    }
    // SAFETY: the kernel writes at most the buffer's length.
    let length = unsafe { libc::syscall(libc::SYS_read, file, buffer.as_mut_ptr(), buffer.len()) };
    // SAFETY: opened above, given to nobody.
    unsafe { libc::syscall(libc::SYS_close, file) };
    buffer.get(..usize::try_from(length).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_become_whole_processors() {
        let found = ["max 100000\n", "200000 100000\n", "150000 100000", "1000 100000", "0 0", "", "7"];
        assert_eq!(found.map(|text| of_unified(text.as_bytes())), [None, Some(2), Some(2), Some(1), None, None, None]);
        assert_eq!((number(b"-1\n"), number(b" 200000\n")), (None, Some(200_000)));
    }

    #[test]
    fn where_the_root_is_the_only_group_its_quota_counts_and_else_the_smallest_of_the_processs_own() {
        let folder = std::env::temp_dir().join(format!("heaptap-processors-{}", std::process::id()));
        let (own, groups) = (folder.join("cpu/a/b"), folder.join("groups"));
        let write = |path: &std::path::Path, text: &str| std::fs::write(path, text).unwrap();
        std::fs::create_dir_all(folder.join("cpu")).unwrap();
        write(&folder.join("cpu/cpu.cfs_quota_us"), "300000\n");
        write(&folder.join("cpu/cpu.cfs_period_us"), "100000\n");
        let leak = |path: &std::path::Path| path.to_str().unwrap().to_owned().leak().as_bytes();
        let mounts = [Mount(true, leak(&folder)), Mount(false, leak(&folder.join("cpu")))];
        let found = |groups| quota(&mounts, groups);
        // Nobody tells in which group it is, and nobody need.
        assert_eq!(found(b"/nowhere"), Some(3));

        std::fs::create_dir_all(&own).unwrap();
        write(&own.join("cpu.cfs_quota_us"), "200000");
        write(&own.join("cpu.cfs_period_us"), "100000");
        write(&groups, "2:cpuacct,cpu:/a/b\n1:memory:/c\n");
        assert_eq!((found(leak(&groups)), found(b"/nowhere")), (Some(2), None));
        // A process of another group: the root's.
        write(&groups, "2:cpuacct,cpu:/c\n");
        assert_eq!(found(leak(&groups)), Some(3));
        // Version 2, where the root has a quota only in a container.
        write(&folder.join("cpu.max"), "100000 100000\n");
        write(&groups, "0::/\n");
        assert_eq!(found(leak(&groups)), Some(1));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn paths_that_do_not_fit_are_of_nothing() {
        assert_eq!(Path::of(&[b"/a", b"/b"]).bytes[..5], *b"/a/b\0");
        assert_eq!(Path::of(&[&[b'x'; 320]]).bytes[0], 0);
        assert!(may_run_on().is_some_and(|all| all > 0));
        assert!(by_quota().is_none_or(|quota| quota > 0));
    }
}
