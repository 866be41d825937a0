//! What the kernel says of a living process's memory: classes of what is resident, and the limit it will meet.

use super::perf_data;
use crate::cli::analyze::rss::{Account, JvmSizes};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// How much memory a control group has, and may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// In use, with files that could be dropped.
    pub(crate) used_bytes: u64,
    /// The limit.
    pub(crate) limit_bytes: u64,
}

/// Classes of the resident memory of a process of this user.
pub(crate) fn account(pid: u32) -> Result<Account> {
    let path = format!("/proc/{pid}/smaps");
    let smaps = fs::read(&path).with_context(|| format!("reading {path} (only its user and root may)"))?;
    let smaps = String::from_utf8_lossy(&smaps);
    Ok(Account::of_smaps(&smaps, &jvm_sizes(pid, &smaps)))
}

/// What the JVM's counters say, else its command line.
fn jvm_sizes(pid: u32, smaps: &str) -> JvmSizes {
    let counters =
        smaps.lines().find_map(|line| line.get(line.find('/')?..).filter(|path| path.contains("/hsperfdata_")));
    let read = |path| fs::read(format!("/proc/{pid}/root{path}")).ok();
    let mut sizes = counters.and_then(read).map_or_else(JvmSizes::default, |file| perf_data::sizes(&file));
    if sizes.heap.is_empty() {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        sizes.heap.extend(String::from_utf8_lossy(&arguments).split('\0').filter_map(heap_option).next_back());
    }
    sizes
}

/// `-Xmx512m`.
fn heap_option(argument: &str) -> Option<u64> {
    let size = argument.strip_prefix("-Xmx").or_else(|| argument.strip_prefix("-XX:MaxHeapSize="))?;
    let (number, power) = match size.char_indices().next_back()? {
        (at, 'k' | 'K') => (size.get(..at)?, 10),
        (at, 'm' | 'M') => (size.get(..at)?, 20),
        (at, 'g' | 'G') => (size.get(..at)?, 30),
        (at, 't' | 'T') => (size.get(..at)?, 40),
        _ => (size, 0),
    };
    number.parse::<u64>().ok()?.checked_mul(1 << power)
}

/// The tightest limit of the control groups that a process is in; `None` where there is none.
pub(crate) fn limit(pid: u32) -> Option<Limit> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let read = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limits = places(&groups).into_iter().filter_map(|(used, limit)| {
        // Version 2 says "max", version 1 a huge number, where there is no limit.
        let limit_bytes = read(&limit).filter(|&limit| limit < 1 << 60)?;
        Some(Limit { used_bytes: read(&used)?, limit_bytes })
    });
    limits.min_by_key(|limit| limit.limit_bytes.saturating_sub(limit.used_bytes))
}

/// The pairs of files that may know, of each group and of those above it. In a container the path, as the host sees it, is not
/// there, and the root of the mount is the container's own group.
fn places(groups: &str) -> Vec<(PathBuf, PathBuf)> {
    let mut places = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (base, used, limit) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.current", "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            ("/sys/fs/cgroup/memory", "memory.usage_in_bytes", "memory.limit_in_bytes")
        } else {
            continue;
        };
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            let directory = Path::new(base).join(group);
            places.push((directory.join(used), directory.join(limit)));
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::analyze::rss::Class;

    #[test]
    fn heap_options_are_understood() {
        assert_eq!(heap_option("-Xmx512m"), Some(512 << 20));
        assert_eq!(heap_option("-XX:MaxHeapSize=4294967296"), Some(4 << 30));
        assert_eq!(heap_option("-Xmx2G"), Some(2 << 30));
        assert!(
            ["-Xmx", "-Xmxx", "-Xms1g", "-Xmx99999999999t", "-Xmx\u{20ac}"]
                .iter()
                .all(|text| heap_option(text).is_none())
        );
    }

    #[test]
    fn all_groups_up_to_the_root_are_looked_at() {
        let found: Vec<String> =
            places("4:memory,cpu:/a/b\n0::/c/\nrubbish\n").iter().map(|(used, _)| used.display().to_string()).collect();
        let v1 = "/sys/fs/cgroup/memory";
        assert_eq!(
            found,
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
    fn our_own_memory_is_accounted_for() {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let rss: f64 = status.split("VmRSS:").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
        let account = account(std::process::id()).unwrap();
        assert!((account.rss_bytes as f64 / 1024.0 / rss - 1.0).abs() < 0.2, "{account:?} {rss}");
        assert!(account.bytes(Class::MappedFiles) > 0 && account.bytes(Class::JavaHeap) == 0);
        assert!(super::account(u32::MAX).is_err());
    }
}
