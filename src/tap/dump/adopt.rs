//! Regions of processes that were killed: found, read, and turned into dumps by the next process of the
//! same user that writes to the same directory.
//!
//! A region whose process lives is left alone: it is in that process's maps. So is one of another pid
//! namespace, whose pids mean nothing here, and one that cannot be read. What a short-lived process left
//! is only removed: it would have left no file either.

use super::maps;
use crate::tap::os::{shared, sys};
use crate::tap::settings::Settings;
use crate::wire::live::Copies;
use crate::wire::live::counters::Counter;
use crate::wire::live::snapshot::Snapshot;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Largest region file that is read.
const MOST_BYTES: u64 = 1 << 30;

/// What a killed process left.
pub(super) struct Orphan {
    path: PathBuf,
    snapshot: Snapshot,
    prefix: PathBuf,
}

impl Orphan {
    /// What was live when it died.
    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// First part of its dumps' names.
    pub(super) fn prefix(&self) -> PathBuf {
        self.prefix.clone()
    }

    /// Removes the region.
    pub(super) fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The regions that are ours to adopt.
pub(super) fn orphans(settings: &Settings) -> impl Iterator<Item = Orphan> {
    let own = std::path::absolute(Path::new(OsStr::from_bytes(settings.prefix())));
    let own_directory = own.ok().and_then(|prefix| Some(prefix.parent()?.to_path_buf()));
    let entries = fs::read_dir(shared::Path::directory().as_str()).into_iter().flatten().flatten();
    let orphans = entries.filter_map(|entry| orphan(entry.path(), settings));
    orphans.filter(move |orphan| orphan.prefix.parent() == own_directory.as_deref())
}

fn orphan(path: PathBuf, settings: &Settings) -> Option<Orphan> {
    let pid = pid_of(&path)?;
    let metadata = fs::symlink_metadata(&path).ok().filter(|metadata| metadata.is_file())?;
    if metadata.len() > MOST_BYTES || maps::is_mapped(pid, &path) {
        return None;
    }
    let words = read(&path)?;
    // Nobody writes any more: one copy serves as both.
    let mut snapshot = Snapshot::take(&Copies { second: words.clone(), first: words }).ok()?;
    snapshot.tell("killed", snapshot.pulse_ns);
    if snapshot.pid != pid || snapshot.pid_namespace != sys::pid_namespace() {
        return None;
    }
    let prefix = snapshot.text.metadata.iter().find(|(key, _)| key == "prefix").map(|(_, value)| PathBuf::from(value));
    if prefix.is_none() || !is_significant(&snapshot, settings) {
        let _ = fs::remove_file(&path);
        return None;
    }
    Some(Orphan { path, snapshot, prefix: prefix? })
}

/// Whether it would have left a file at its end.
fn is_significant(snapshot: &Snapshot, settings: &Settings) -> bool {
    let seconds = snapshot.pulse_ns.saturating_sub(snapshot.start_monotonic_ns) / 1_000_000_000;
    seconds >= settings.options.prof_min_seconds
        || snapshot.counter(Counter::LiveBytes) >= settings.options.prof_min_bytes
}

/// The pid in `<pid>.<token>.region`.
fn pid_of(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?.strip_suffix(".region")?;
    name.split_once('.')?.0.parse().ok()
}

fn read(path: &Path) -> Option<Vec<u64>> {
    let bytes = fs::read(path).ok()?;
    let word = |chunk: &[u8]| chunk.try_into().map(u64::from_ne_bytes).unwrap_or(0);
    Some(bytes.chunks_exact(8).map(word).collect())
}

#[cfg(test)]
mod tests {
    use super::pid_of;
    use std::path::Path;

    #[test]
    fn region_names_are_recognised() {
        assert_eq!(pid_of(Path::new("/x/4711.00ff.region")), Some(4711));
        for name in ["/x/4711.region", "/x/a.b.region", "/x/1.2.heap", "/"] {
            assert_eq!(pid_of(Path::new(name)), None, "{name}");
        }
    }
}
