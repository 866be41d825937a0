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

/// Where the controllers of both versions are mounted; `false`: version 1.
const MOUNTS: [(bool, &[u8]); 3] =
    [(true, b"/sys/fs/cgroup"), (false, b"/sys/fs/cgroup/cpu"), (false, b"/sys/fs/cgroup/cpu,cpuacct")];
/// A deeper group is looked at from its end.
const MOST_LEVELS: usize = 16;

/// Processors that the quotas of the process's group and of those above it leave, rounded up, if those are fewer than
/// it may run on.
pub(crate) fn by_quota() -> Option<u32> {
    sys::keep_errno(|| {
        let mut buffer = [0; 1024];
        let groups = read(&Path::of(&[b"/proc/self/cgroup"]), &mut buffer)?;
        let quotas = MOUNTS.iter().filter_map(|&(unified, mount)| {
            smallest(mount, cgroup::group(groups, (!unified).then_some(b"cpu"))?, unified)
        });
        quotas.min().filter(|&quota| may_run_on().is_some_and(|all| quota < all))
    })
}

/// The smallest quota from a group up to the root of its mount. In a container the group's path may be the host's, of
/// which only the root is there: the container's own group.
fn smallest(mount: &[u8], group: &[u8], unified: bool) -> Option<u32> {
    let ends = group.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let levels = std::iter::once(group.len()).chain(ends.rev()).take(MOST_LEVELS);
    let mut last = usize::MAX;
    // The group may be the root itself: no level is read twice.
    let levels = levels.chain(std::iter::once(0)).filter(|&end| std::mem::replace(&mut last, end) != end);
    let quotas = levels.filter_map(|end| {
        let group = group.get(..end)?;
        let mut buffer = [0; 64];
        if unified {
            return of_unified(read(&Path::of(&[mount, group, b"/cpu.max"]), &mut buffer)?);
        }
        let quota = number(read(&Path::of(&[mount, group, b"/cpu.cfs_quota_us"]), &mut buffer)?)?;
        processors(quota, number(read(&Path::of(&[mount, group, b"/cpu.cfs_period_us"]), &mut buffer)?)?)
    });
    quotas.min()
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
    fn paths_that_do_not_fit_are_of_nothing() {
        assert_eq!(Path::of(&[b"/a", b"/b"]).bytes[..5], *b"/a/b\0");
        assert_eq!(Path::of(&[&[b'x'; 320]]).bytes[0], 0);
        assert!(may_run_on().is_some_and(|all| all > 0));
        assert!(by_quota().is_none_or(|quota| quota > 0));
    }
}
