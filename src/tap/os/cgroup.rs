//! How much memory this process's container may use, and uses.
//!
//! Reads files: for errands that write dumps, and for the keeper if an option asks for it.

use crate::wire::cgroup::{self, Limit};
use std::fs;

/// The tightest limit of this process's control groups; `None` where there is none, or it cannot be told.
pub(crate) fn memory() -> Option<Limit> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    cgroup::memory(&groups, |path| fs::read_to_string(path).ok())
}

/// Tasks of this process's control groups, and how many they may be: of the group that is nearest to its limit. `None`:
/// there is no limit, or it cannot be told.
pub(crate) fn tasks() -> Option<(u64, u64)> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    cgroup::tasks(&groups, |path| fs::read_to_string(path).ok())
}

/// How many processes of the group the kernel has killed for want of memory; `None`: it does not tell.
pub(crate) fn kills() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    cgroup::kills(&groups, |path| fs::read_to_string(path).ok())
}
