//! What killed processes left, region or mirror: found, read, and turned into dumps by the next process of the
//! same user that writes to the same directory.
//!
//! Whether a process lives: in its own pid namespace by its maps; seen from another, where a pid says nothing, by the
//! lock that its keeper holds (`wire::life_lock`). What cannot be told is left alone. What a short-lived process
//! left is only removed, after a while: it would have left no file either. Where nobody comes back to a
//! directory, anybody of the same user adopts after an hour; what cannot be written even then goes after a day,
//! because tmpfs is memory.

use super::maps;
use crate::tap::os::{clock, folder, shared, sys};
use crate::tap::settings::Settings;
use crate::wire::life_lock;
use crate::wire::life_name::LifeName;
use crate::wire::live::counters::{self, Counter};
use crate::wire::live::layout::{Head, Layout};
use crate::wire::live::snapshot::Snapshot;
use crate::wire::live::text::Text;
use crate::wire::live::{Words, copy};
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const SECOND: u64 = 1_000_000_000;
/// What nobody needs is removed after so long: `heaptap report` may want to see it.
const KEPT_NS: u64 = 600 * SECOND;
/// After so long a region belongs to anybody of its user, and a mirror without a lock to anybody at all.
const FORLORN_NS: u64 = 3600 * SECOND;
/// After so long what nobody can write a dump of is given up.
const GIVEN_UP_NS: u64 = 24 * FORLORN_NS;
/// After so long without a pulse, what may still live is taken for dead.
const FOREIGN_NS: u64 = 7 * GIVEN_UP_NS;
/// Largest file that is read.
const MOST_BYTES: u64 = 1 << 30;

/// What a killed process left.
pub(super) struct Orphan {
    /// What was live when it died, or when the mirror was written.
    pub(super) snapshot: Snapshot,
    /// First part of its dumps' names.
    pub(super) prefix: PathBuf,
    /// Whether that is where we write, too.
    pub(super) is_of_own_directory: bool,
    region: Option<PathBuf>,
    age_ns: u64,
    is_of_other_namespace: bool,
    /// Held open: we have claimed it, and no other process that starts now will.
    _claim: File,
}

impl Orphan {
    /// Removes everything but its dumps and their side-car.
    pub(super) fn remove(&self) {
        if let Some(region) = &self.region {
            remove_region(region);
        }
        let _ = fs::remove_file(self.snapshot.life(&self.prefix).mirror());
        // What it was writing when it was killed.
        let end = format!(".{:016x}.tmp", self.snapshot.token);
        let live_end = format!(".{:016x}.live.tmp", self.snapshot.token);
        for path in files(self.prefix.parent()) {
            let name = path.to_string_lossy();
            if name.ends_with(&end) || name.ends_with(&live_end) {
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// Its dump cannot be written: the region goes if it has waited long enough, or waits for a folder that is gone.
    pub(super) fn give_up(&self) {
        let is_gone = !self.is_of_other_namespace && self.prefix.parent().is_some_and(|parent| !parent.exists());
        if let Some(region) = self.region.as_ref().filter(|_| is_gone || self.age_ns > GIVEN_UP_NS) {
            remove_region(region);
        }
    }
}

/// What is ours to adopt: regions first, then mirrors whose region is gone.
pub(super) fn orphans(settings: &Settings) -> impl Iterator<Item = Orphan> {
    let own = std::path::absolute(Path::new(OsStr::from_bytes(settings.prefix())));
    let own_directory = own.ok().and_then(|prefix| Some(prefix.parent()?.to_path_buf()));
    let directory = shared::Path::directory();
    let regions = files(Some(Path::new(directory.as_str())));
    let mirrors = files(own_directory.as_deref().filter(|_| !settings.prefix().is_empty()));
    let min_bytes = settings.options.prof_min_bytes;
    remove_stray_controls(Path::new(directory.as_str()));
    let of_regions = regions.filter_map(move |path| region(path, min_bytes, own_directory.as_deref()));
    of_regions.chain(mirrors.filter_map(mirror))
}

fn files(directory: Option<&Path>) -> impl Iterator<Item = PathBuf> + use<> {
    directory.map(folder::entries).into_iter().flatten()
}

fn region(path: PathBuf, min_bytes: u64, own_directory: Option<&Path>) -> Option<Orphan> {
    let life = LifeName::of_region(&path)?;
    let metadata = fs::symlink_metadata(&path).ok().filter(|metadata| metadata.is_file())?;
    let file = File::open(&path).ok()?;
    let Some(glance) = Glance::at(&file, metadata.len(), life.pid) else {
        // Never finished, of another version, or damaged: nobody can read it.
        if since_change_ns(&metadata) > KEPT_NS && !maps::is_mapped(life.pid, &path) {
            remove_region(&path);
        }
        return None;
    };
    let age_ns = clock::monotonic_ns().saturating_sub(glance.pulse_ns);
    if !glance.is_dead(&file, life.pid, &path) {
        if glance.is_other_namespace && !glance.is_guarded && age_ns > FOREIGN_NS {
            remove_region(&path);
        }
        return None;
    }
    let is_replaced = !glance.is_other_namespace && maps::started_before(life.pid, glance.start_ns);
    let is_worth_a_file = glance.is_significant || glance.live_bytes >= min_bytes;
    let Some(prefix) = glance.prefix.filter(|_| is_worth_a_file && metadata.len() <= MOST_BYTES) else {
        // A start script that became its server is nobody's profile, and each start leaves some.
        if age_ns > KEPT_NS || is_replaced {
            remove_region(&path);
        }
        return None;
    };
    let is_of_own_directory = prefix.parent() == own_directory;
    if !is_of_own_directory && age_ns < FORLORN_NS {
        return None;
    }
    let file = claimed(file, &path)?;
    let mut snapshot = read(&file, metadata.len())?;
    if is_replaced {
        snapshot.tell("exec", snapshot.pulse_ns);
    } else {
        snapshot.tell_death();
    }
    let is_of_other_namespace = glance.is_other_namespace;
    Some(Orphan {
        snapshot,
        prefix,
        is_of_own_directory,
        region: Some(path),
        age_ns,
        is_of_other_namespace,
        _claim: file,
    })
}

fn mirror(path: PathBuf) -> Option<Orphan> {
    let life = LifeName::of_mirror(&path)?;
    let metadata = fs::symlink_metadata(&path).ok().filter(|metadata| metadata.is_file())?;
    let is_ours = metadata.uid() == sys::user_id() && metadata.len() <= MOST_BYTES;
    if !is_ours || Path::new(shared::Path::region(life.pid, life.token).as_str()).exists() {
        return None;
    }
    let file = claimed(File::open(&path).ok()?, &path)?;
    let age_ns = since_change_ns(&metadata);
    let mut snapshot = read(&file, metadata.len())?;
    let is_its = snapshot.is_mirror && (snapshot.pid, snapshot.token) == (life.pid, life.token);
    if !is_its || (!snapshot.is_guarded && age_ns < FORLORN_NS) {
        return None;
    }
    snapshot.tell_death();
    Some(Orphan {
        snapshot,
        prefix: life.prefix,
        is_of_own_directory: true,
        region: None,
        age_ns,
        is_of_other_namespace: false,
        _claim: file,
    })
}

/// The file, if nobody holds it and it still is what lies there: another process may have been faster.
fn claimed(file: File, path: &Path) -> Option<File> {
    let is_it = || Some(file.metadata().ok()?.ino() == fs::symlink_metadata(path).ok()?.ino());
    (life_lock::claim(&file) && is_it() == Some(true)).then_some(file)
}

/// Nobody writes any more: what is read once is settled.
fn read(file: &File, bytes: u64) -> Option<Snapshot> {
    let words = copy::words(bytes, bytes, &mut |at, piece| file.read_exact_at(piece, at)).ok()?;
    Snapshot::take(words.as_slice()).ok()
}

fn since_change_ns(metadata: &Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Control files whose region is gone: their process ended while its keeper was about to begin.
fn remove_stray_controls(directory: &Path) {
    let is_stray = |path: &PathBuf| {
        let region = path.with_extension("region");
        let pid = LifeName::of_region(&region).map(|life| life.pid);
        let is_old = fs::symlink_metadata(path).is_ok_and(|metadata| since_change_ns(&metadata) > KEPT_NS);
        let is_control = path.extension().is_some_and(|extension| extension == "control");
        is_control && is_old && !region.exists() && pid.is_some_and(|pid| !maps::is_mapped(pid, path))
    };
    files(Some(directory)).filter(is_stray).for_each(|path| drop(fs::remove_file(path)));
}

/// Removes a region, and the control file beside it.
fn remove_region(region: &Path) {
    let _ = fs::remove_file(region.with_extension("control"));
    let _ = fs::remove_file(region);
}

/// What a few pages of a region tell: enough to leave alone what is not ours to adopt, without reading 48 MiB.
struct Glance {
    prefix: Option<PathBuf>,
    start_ns: u64,
    pulse_ns: u64,
    live_bytes: u64,
    is_significant: bool,
    is_guarded: bool,
    is_other_namespace: bool,
}

impl Glance {
    /// `None`: no region, or one of another pid.
    fn at(file: &File, bytes: u64, pid: u32) -> Option<Glance> {
        let pages = Pages { file, words: bytes as usize / 8, last: RefCell::new((usize::MAX, [0; PAGE_WORDS])) };
        let layout = Layout::read(&pages).ok()?;
        let head = |head: Head| pages.word(head as usize);
        if head(Head::Pid) != u64::from(pid) {
            return None;
        }
        let text = Text::read(&pages, &layout);
        let prefix = text.metadata.iter().find(|(key, _)| key == "prefix").map(|(_, value)| PathBuf::from(value));
        Some(Glance {
            prefix,
            start_ns: head(Head::StartMonotonicNs),
            pulse_ns: head(Head::PulseNs),
            live_bytes: counters::sum(&pages, &layout, Counter::LiveBytes as usize),
            is_significant: head(Head::Significant) != 0,
            is_guarded: head(Head::Guarded) != 0,
            is_other_namespace: head(Head::PidNamespace) != sys::pid_namespace(),
        })
    }

    /// Whether its process is dead for certain.
    fn is_dead(&self, file: &File, pid: u32, path: &Path) -> bool {
        if self.is_other_namespace { self.is_guarded && !life_lock::is_held(file) } else { !maps::is_mapped(pid, path) }
    }
}

const PAGE_WORDS: usize = 512;

/// A region file, read page by page as it is asked for.
struct Pages<'a> {
    file: &'a File,
    words: usize,
    last: RefCell<(usize, [u64; PAGE_WORDS])>,
}

impl Words for Pages<'_> {
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
