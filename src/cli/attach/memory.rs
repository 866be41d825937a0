//! What the kernel says of a living process's memory: classes of what is resident, and the limit it will meet.

use super::{glibc_blocks, openat, perf_data};
use crate::cli::analyze::rss::{Account, Areas, JvmSizes};
use crate::cli::open;
use crate::wire::cgroup::{self, Limit};
use crate::wire::resident::known::{Known, Owner};
use anyhow::{Context, Result};
use std::fs;
use std::io::Read;
use std::path::Path;

/// Largest file of a JVM's counters that is read: 32 KiB as a rule.
const MOST_COUNTERS: u64 = 16 << 20;

/// Classes of the resident memory of a process of this user, with what it says of itself.
pub(crate) fn account(pid: u32, known: Known) -> Result<Account> {
    look(pid, known).map(|(account, _)| account)
}

/// The same with the mappings.
pub(crate) fn look(pid: u32, mut known: Known) -> Result<(Account, Areas)> {
    let path = format!("/proc/{pid}/smaps");
    let smaps = fs::read(&path).with_context(|| format!("reading {path} (only its user and root may)"))?;
    let areas = Areas::of(&smaps);
    jvm_sizes(pid, &String::from_utf8_lossy(&smaps)).complete(&areas, &mut known);
    let blocks = glibc_blocks::ranges(pid, &areas, &known);
    known.ranges.extend(blocks.into_iter().map(|range| (Owner::Malloc, range)));
    Ok((Account::of(&areas, &known), areas))
}

/// Whether a process is a Java VM.
pub(crate) fn is_jvm(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/maps"))
        .is_ok_and(|maps| maps.lines().any(|line| line.ends_with("/libjvm.so")))
}

/// What the JVM's counters say, else its command line.
fn jvm_sizes(pid: u32, smaps: &str) -> JvmSizes {
    let counters =
        smaps.lines().find_map(|line| line.get(line.find('/')?..).filter(|path| path.contains("/hsperfdata_")));
    let read = |path| {
        let file = openat::open(Path::new(&format!("/proc/{pid}/root{path}")), false).ok()?;
        let mut bytes = Vec::new();
        file.take(MOST_COUNTERS).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
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
    let groups = open::kernel(Path::new(&format!("/proc/{pid}/cgroup"))).ok()?;
    cgroup::memory(&groups, |path| open::kernel(path).ok())
}

/// How many processes of its control group the kernel has killed for want of memory; `None`: that cannot be seen from
/// here, as from the container beside it.
pub(crate) fn kills(pid: u32) -> Option<u64> {
    let groups = open::kernel(Path::new(&format!("/proc/{pid}/cgroup"))).ok()?;
    if groups.contains("/..") {
        return None;
    }
    cgroup::kills(&groups, |path| open::kernel(path).ok())
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
    fn our_own_memory_is_accounted_for() {
        let both = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let rss: f64 = status.split("VmRSS:").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
            (rss, account(std::process::id(), Known::default()).unwrap())
        };
        // Other tests of this process take and give back memory between the two.
        let near = |(rss, account): &(f64, Account)| (account.rss_bytes as f64 / 1024.0 / rss - 1.0).abs() < 0.2;
        let (_, account) = (0..100).map(|_| both()).find(near).expect("they agree once");
        assert!(account.bytes(Class::MappedFiles) > 0 && account.bytes(Class::JavaHeap) == 0);
        assert!(super::account(u32::MAX, Known::default()).is_err());
    }
}
