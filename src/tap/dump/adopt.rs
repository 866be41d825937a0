//! Regions of processes that were killed: found, read, and turned into dumps by the next process of the
//! same user that writes to the same directory.
//!
//! A region whose process lives is left alone: it is in that process's maps. So is one of another pid
//! namespace, whose pids mean nothing here, and one that cannot be read. What a short-lived process left
//! is only removed, after a while: it would have left no file either.

use super::maps;
use crate::tap::os::{clock, shared, sys};
use crate::tap::settings::Settings;
use crate::wire::live::Words;
use crate::wire::live::counters::{self, Counter};
use crate::wire::live::layout::{HEADER_WORDS, Head, Layout, SectionId};
use crate::wire::live::snapshot::Snapshot;
use crate::wire::live::text::Text;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What a process left that nobody needs is removed after so long: `heaptap report` may want to see it.
const KEPT_NS: u64 = 600 * 1_000_000_000;
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
        remove(&self.path);
    }
}

/// The regions that are ours to adopt.
pub(super) fn orphans(settings: &Settings) -> impl Iterator<Item = Orphan> {
    let own = std::path::absolute(Path::new(OsStr::from_bytes(settings.prefix())));
    let own_directory = own.ok().and_then(|prefix| Some(prefix.parent()?.to_path_buf()));
    let entries = fs::read_dir(shared::Path::directory().as_str()).into_iter().flatten().flatten();
    entries.filter_map(move |entry| orphan(entry.path(), settings, own_directory.as_deref()))
}

fn orphan(path: PathBuf, settings: &Settings, own_directory: Option<&Path>) -> Option<Orphan> {
    let pid = pid_of(&path)?;
    let metadata = fs::symlink_metadata(&path).ok().filter(|metadata| metadata.is_file())?;
    if metadata.len() > MOST_BYTES || maps::is_mapped(pid, &path) {
        return None;
    }
    let glance = Glance::at(&path, pid)?;
    if glance.prefix.is_none() || !glance.is_significant(settings) {
        if clock::monotonic_ns().saturating_sub(glance.pulse_ns) > KEPT_NS {
            remove(&path);
        }
        return None;
    }
    let prefix = glance.prefix.filter(|prefix| prefix.parent() == own_directory)?;
    let words = read(&path)?;
    // Nobody writes any more: what is read once is settled.
    let mut snapshot = Snapshot::take(words.as_slice()).ok()?;
    snapshot.tell("killed", snapshot.pulse_ns);
    Some(Orphan { path, snapshot, prefix })
}

/// Removes a region, and the control file beside it.
fn remove(region: &Path) {
    let _ = fs::remove_file(region.with_extension("control"));
    let _ = fs::remove_file(region);
}

/// What a few pages of a region tell: enough to leave alone what is not ours to adopt, without reading 48 MiB.
struct Glance {
    prefix: Option<PathBuf>,
    pulse_ns: u64,
    lived_ns: u64,
    live_bytes: u64,
}

impl Glance {
    /// `None`: no region, or one of another pid or pid namespace.
    fn at(path: &Path, pid: u32) -> Option<Glance> {
        let file = File::open(path).ok()?;
        let words = file.metadata().ok()?.len() as usize / 8;
        let pages = Pages { file, words, last: RefCell::new((usize::MAX, [0; PAGE_WORDS])) };
        let layout = Layout::read(&pages).ok()?;
        let head = |head: Head| pages.word(head as usize);
        if head(Head::Pid) != u64::from(pid) || head(Head::PidNamespace) != sys::pid_namespace() {
            return None;
        }
        let text = Text::read(&pages, &layout);
        let prefix = text.metadata.iter().find(|(key, _)| key == "prefix").map(|(_, value)| PathBuf::from(value));
        let pulse_ns = head(Head::PulseNs);
        let lived_ns = pulse_ns.saturating_sub(head(Head::StartMonotonicNs));
        let live_bytes = counters::sum(&pages, &layout, Counter::LiveBytes as usize);
        Some(Glance { prefix, pulse_ns, lived_ns, live_bytes })
    }

    /// Whether it would have left a file at its end.
    fn is_significant(&self, settings: &Settings) -> bool {
        self.lived_ns / 1_000_000_000 >= settings.options.prof_min_seconds
            || self.live_bytes >= settings.options.prof_min_bytes
    }
}

const PAGE_WORDS: usize = 512;

/// A region file, read page by page as it is asked for.
struct Pages {
    file: File,
    words: usize,
    last: RefCell<(usize, [u64; PAGE_WORDS])>,
}

impl Words for Pages {
    fn len(&self) -> usize {
        self.words
    }

    fn word(&self, index: usize) -> u64 {
        let mut last = self.last.borrow_mut();
        if last.0 != index / PAGE_WORDS {
            let mut bytes = [0; PAGE_WORDS * 8];
            // What cannot be read is zeros: no region at all.
            let _ = self.file.read_at(&mut bytes, (index / PAGE_WORDS * PAGE_WORDS * 8) as u64);
            last.0 = index / PAGE_WORDS;
            for (word, bytes) in last.1.iter_mut().zip(bytes.chunks_exact(8)) {
                *word = bytes.try_into().map_or(0, u64::from_ne_bytes);
            }
        }
        last.1.get(index % PAGE_WORDS).copied().unwrap_or(0)
    }
}

/// The pid in `<pid>.<token>.region`.
fn pid_of(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?.strip_suffix(".region")?;
    name.split_once('.')?.0.parse().ok()
}

/// The parts of a region that hold anything; the rest, nearly all of it, stays untouched zeros.
fn read(path: &Path) -> Option<Vec<u64>> {
    let file = File::open(path).ok()?;
    let mut words = vec![0; file.metadata().ok()?.len() as usize / 8];
    read_into(&file, &mut words, 0..HEADER_WORDS)?;
    let layout = Layout::read(words.as_slice()).ok()?;
    for id in SectionId::ALL {
        let range = layout.used(words.as_slice(), id);
        read_into(&file, &mut words, range)?;
    }
    Some(words)
}

fn read_into(file: &File, words: &mut [u64], range: Range<usize>) -> Option<()> {
    let mut bytes = [0; PAGE_WORDS * 8];
    for start in range.clone().step_by(PAGE_WORDS) {
        let place = words.get_mut(start..range.end.min(start + PAGE_WORDS))?;
        let bytes = bytes.get_mut(..place.len() * 8)?;
        file.read_exact_at(bytes, start as u64 * 8).ok()?;
        for (word, chunk) in place.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = chunk.try_into().map_or(0, u64::from_ne_bytes);
        }
    }
    Some(())
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
