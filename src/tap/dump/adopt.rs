//! Adoption: regions and mirrors of killed processes become dumps, written by the next process of the same user that
//! writes to the same directory.
//!
//! The life's claim (`wire::claim`) decides, never its region: the claim says whose the life is, where its dumps go,
//! and from what size on it is worth one. Only claims of this user count, and a dump is only written where this process
//! writes its own. Whether a process lives: `wire::liveness`. The region of a short-lived process is only removed,
//! after a while: it would have written no file either. A region that no process of its directory adopted is removed
//! after a day, because tmpfs is memory; `heaptap recover` can write its dump until then.

use super::maps;
use crate::tap::os::shared::Directory;
use crate::tap::os::{clock, folder, sys};
use crate::tap::settings::Settings;
use crate::wire::claim::Claim;
use crate::wire::identity::Identity;
use crate::wire::live::copy;
use crate::wire::live::counters::Counter;
use crate::wire::live::layout::{Head, Layout, OTHER_USER};
use crate::wire::live::snapshot::Snapshot;
use crate::wire::live::words::Words;
use crate::wire::liveness::lock;
use crate::wire::liveness::{Liveness, Signs};
use crate::wire::word;
use std::cell::RefCell;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const SECOND: u64 = 1_000_000_000;
/// Age at which the region of a dead short-lived process is removed; until then `heaptap report` can show it.
const KEPT_NS: u64 = 600 * SECOND;
/// Age at which a mirror without a lock counts as a dead process's, and a missing folder of dumps as removed (before,
/// it may be a volume that is about to be mounted).
const FORLORN_NS: u64 = 3600 * SECOND;
/// Age at which a region that no process has adopted is given up.
const GIVEN_UP_NS: u64 = 24 * FORLORN_NS;
/// Age of the pulse at which a process that may still live counts as dead.
const FOREIGN_NS: u64 = 7 * GIVEN_UP_NS;
/// Largest file that is read.
const MOST_BYTES: u64 = 1 << 30;

/// A region or mirror of a killed process, worth a file.
pub(super) struct Orphan {
    /// Live objects when it died, or when the mirror was written.
    pub(super) snapshot: Snapshot,
    /// Directory and first part of its dumps' names: the directory is this process's own.
    pub(super) prefix: PathBuf,
    is_mirror: bool,
    /// Held open and locked: no other process that starts now will take it.
    claim: Claim,
}

impl Orphan {
    /// Removes everything but its dumps and their side-car.
    pub(super) fn remove(&self) {
        if !self.is_mirror
            && let Some(directory) = Directory::own()
        {
            remove_life(&directory, &self.claim);
        }
        let Some(life) = self.claim.life() else { return };
        remove_own(&life.mirror());
        // The file that it was writing when it was killed.
        let ends = [format!(".{:016x}.tmp", life.token), format!(".{:016x}.live.tmp", life.token)];
        for path in files(self.prefix.parent()) {
            if ends.iter().any(|end| path.to_string_lossy().ends_with(end)) {
                remove_own(&path);
            }
        }
    }
}

/// The lives to adopt: regions first, then mirrors whose region is gone. Regions that no process will adopt are
/// removed. Ends early when `is_wanted` says that the keeper is elsewhere: a process's maps take milliseconds to read.
pub(super) fn orphans(settings: &Settings, is_wanted: &dyn Fn() -> bool) -> impl Iterator<Item = Orphan> {
    let own = std::path::absolute(Path::new(OsStr::from_bytes(settings.prefix())));
    let dumps = own.ok().filter(|_| !settings.prefix().is_empty()).and_then(|own| Some(own.parent()?.to_path_buf()));
    let directory = Directory::own();
    let names = directory.as_ref().map(Directory::names).unwrap_or_default();
    if let Some(directory) = &directory {
        remove_strays(directory, &names, is_wanted);
    }
    let mirrors = files(dumps.as_deref());
    let names = names.into_iter().take_while(|_| !is_wanted());
    let of_regions = names.filter_map(move |name| region(directory.as_ref()?, &name, dumps.as_deref()));
    of_regions.chain(mirrors.take_while(|_| !is_wanted()).filter_map(mirror))
}

fn files(directory: Option<&Path>) -> impl Iterator<Item = PathBuf> + use<> {
    directory.map(folder::entries).into_iter().flatten()
}

/// The region or mirror of the life of one claim, if its dump is to be written here.
fn region(directory: &Directory, name: &OsStr, dumps: Option<&Path>) -> Option<Orphan> {
    Identity::of_claim(Path::new(name))?;
    let claim = Claim::of(directory.open(&c_name(name)?, false)?, name, &directory.metadata()?).ok()?;
    let claimed_ns = claim.file().metadata().map_or(0, |metadata| since_change_ns(&metadata));
    let region = file_of(&claim, "region");
    let Some(file) = directory.open(&region, false).filter(|file| covers(&claim, file)) else {
        // Its process was killed while it began.
        if claimed_ns > KEPT_NS && !is_mapped(&claim).unwrap_or(true) {
            remove_life(directory, &claim);
        }
        return None;
    };
    let metadata = file.metadata().ok()?;
    let Some(glance) = Glance::at(&file, metadata.len(), &claim) else {
        // Never finished, of another version, or damaged: no reader takes it.
        if since_change_ns(&metadata) > KEPT_NS && is_mapped(&claim) == Some(false) {
            remove_life(directory, &claim);
        }
        return None;
    };
    let age_ns = clock::monotonic_ns().saturating_sub(glance.pulse_ns);
    match glance.liveness(&claim) {
        Liveness::Dead => {}
        Liveness::Unknown if age_ns > FOREIGN_NS => remove_life(directory, &claim),
        Liveness::Alive | Liveness::Unknown => return None,
    }
    let is_replaced = is_of_own_namespace(&claim) && maps::started_before(claim.terms().pid, claim.terms().start_ns);
    let is_worth_a_file = glance.is_noted
        && claim.is_worth_a_file(glance.is_significant, glance.live_bytes)
        && metadata.len() <= MOST_BYTES;
    let life = claim.life().filter(|_| is_worth_a_file);
    let here = life.filter(|life| dumps.is_some() && life.prefix.parent() == dumps);
    let Some(life) = here else {
        // A start script that became its server leaves a region of no use, and each start leaves some.
        let patience_ns = match is_worth_a_file {
            true if is_folder_gone(&claim) => FORLORN_NS,
            true => GIVEN_UP_NS,
            false => KEPT_NS,
        };
        if age_ns > patience_ns || (is_replaced && !is_worth_a_file) {
            remove_life(directory, &claim);
        }
        return None;
    };
    if !is_taken(&claim, || directory.open(&c_name(name)?, false)?.metadata().ok()) {
        return None;
    }
    let mut snapshot = read(&file, metadata.len())?;
    if is_replaced && !snapshot.is_other_user {
        snapshot.tell("exec", snapshot.pulse_ns);
    } else {
        snapshot.tell_death();
    }
    Some(Orphan { snapshot, prefix: life.prefix, is_mirror: false, claim })
}

fn mirror(path: PathBuf) -> Option<Orphan> {
    Identity::of_mirror(&path)?;
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&path).ok()?;
    let claim = Claim::of_mirror(file, &path).ok().filter(|claim| claim.owner() == sys::user_id())?;
    let metadata = claim.file().metadata().ok().filter(|metadata| metadata.len() <= MOST_BYTES)?;
    let has_region = Directory::own().is_some_and(|own| own.open(&file_of(&claim, "region"), false).is_some());
    if has_region || !is_taken(&claim, || fs::symlink_metadata(&path).ok()) {
        return None;
    }
    let mut snapshot = read(claim.file(), metadata.len())?;
    let is_its = snapshot.is_mirror && (snapshot.pid, snapshot.token) == (claim.terms().pid, claim.terms().token);
    if !is_its || (!snapshot.is_guarded && since_change_ns(&metadata) < FORLORN_NS) {
        return None;
    }
    snapshot.tell_death();
    Some(Orphan { snapshot, prefix: claim.life()?.prefix, is_mirror: true, claim })
}

/// Whether no other process holds the claim, and it still is the one that lies there: another may have been faster.
fn is_taken(claim: &Claim, there: impl FnOnce() -> Option<Metadata>) -> bool {
    let is_it = || Some(claim.file().metadata().ok()?.ino() == there()?.ino());
    lock::claim(claim.file()) && is_it() == Some(true)
}

/// Its writer is dead: one copy is enough.
fn read(file: &File, bytes: u64) -> Option<Snapshot> {
    let words = copy::words(bytes, bytes, &mut |at, piece| file.read_exact_at(piece, at)).ok()?;
    Snapshot::of(&words).ok()
}

fn covers(claim: &Claim, file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| claim.covers(&metadata))
}

fn since_change_ns(metadata: &Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn is_of_own_namespace(claim: &Claim) -> bool {
    claim.terms().pid_namespace == sys::pid_namespace()
}

/// Whether its process has the region mapped; `None`: its pid means nothing here.
fn is_mapped(claim: &Claim) -> Option<bool> {
    let name = file_of(claim, "region");
    is_of_own_namespace(claim).then(|| maps::is_mapped(claim.terms().pid, &name.to_string_lossy()))
}

/// Whether the folder that its dumps were to go to is gone.
fn is_folder_gone(claim: &Claim) -> bool {
    let folder = claim.terms().prefix.parent();
    is_of_own_namespace(claim) && folder.is_some_and(|folder| !folder.as_os_str().is_empty() && !folder.exists())
}

/// The name of a life's file.
fn file_of(claim: &Claim, kind: &str) -> CString {
    let life = Identity { prefix: PathBuf::new(), pid: claim.terms().pid, token: claim.terms().token };
    CString::new(life.file_name(kind)).unwrap_or_default()
}

fn c_name(name: &OsStr) -> Option<CString> {
    CString::new(name.as_bytes()).ok()
}

/// Removes what a life left on tmpfs, its claim last.
fn remove_life(directory: &Directory, claim: &Claim) {
    ["control", "region", "claim"].into_iter().for_each(|kind| directory.remove(&file_of(claim, kind)));
}

/// Removes a file of this user.
fn remove_own(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.uid() == sys::user_id()) {
        let _ = fs::remove_file(path);
    }
}

/// Files of lives without a claim: the process was killed between the two, or another version made them. They can be
/// reported from, and not acted upon.
fn remove_strays(directory: &Directory, names: &[OsString], is_wanted: &dyn Fn() -> bool) {
    let has_claim = |life: &Identity| names.iter().any(|name| *name == *life.file_name("claim"));
    for name in names.iter().take_while(|_| !is_wanted()) {
        let region = Path::new(name).with_extension("region");
        let kind = Path::new(name).extension().unwrap_or_default();
        let is_ours = kind == "region" || kind == "control";
        let Some(life) = Identity::of_region(&region).filter(|life| is_ours && !has_claim(life)) else { continue };
        let Some(name) = c_name(name) else { continue };
        let metadata = directory.open(&name, false).and_then(|file| file.metadata().ok());
        let is_old = metadata.is_some_and(|metadata| since_change_ns(&metadata) > KEPT_NS);
        if is_old && !maps::is_mapped(life.pid, &life.file_name("region")) {
            directory.remove(&name);
        }
    }
}

/// A few pages of a region: enough to leave alone the lives that are not ours to adopt, without reading 48 MiB.
struct Glance {
    pulse_ns: u64,
    live_bytes: u64,
    is_significant: bool,
    is_guarded: bool,
    is_other_user: bool,
    /// Whether the keeper has noted what the process is: without that a dump is addresses without names.
    is_noted: bool,
}

impl Glance {
    /// `None`: no region, or another life's.
    fn at(file: &File, bytes: u64, claim: &Claim) -> Option<Glance> {
        let pages =
            Pages { file, words: word::whole_in(bytes as usize), last: RefCell::new((usize::MAX, [0; PAGE_WORDS])) };
        let layout = Layout::read(&pages).ok()?;
        let head = |head: Head| pages.word(head as usize);
        if (head(Head::Pid), head(Head::Token)) != (u64::from(claim.terms().pid), claim.terms().token) {
            return None;
        }
        Some(Glance {
            pulse_ns: head(Head::PulseNs),
            live_bytes: layout.counter(&pages, Counter::LiveBytes as usize),
            is_significant: head(Head::Significant) != 0,
            is_guarded: head(Head::Guarded) != 0,
            is_other_user: head(Head::Ending) == OTHER_USER,
            is_noted: head(Head::Text) as u32 != 0,
        })
    }

    fn liveness(&self, claim: &Claim) -> Liveness {
        if self.is_other_user {
            return Liveness::Dead;
        }
        Liveness::of(Signs {
            is_mapped: is_mapped(claim),
            is_guarded: self.is_guarded,
            is_locked: lock::is_held(claim.file()),
        })
    }
}

const PAGE_WORDS: usize = 512;

/// A region file, read page by page.
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
            let mut bytes = [0; word::bytes_of(PAGE_WORDS)];
            // Words that cannot be read are zeros: no region.
            let _ = self.file.read_at(&mut bytes, word::offset_of(index / PAGE_WORDS * PAGE_WORDS));
            last.0 = index / PAGE_WORDS;
            for (word, bytes) in last.1.iter_mut().zip(bytes.chunks_exact(word::BYTES)) {
                *word = bytes.try_into().map_or(0, u64::from_ne_bytes);
            }
        }
        last.1.get(index % PAGE_WORDS).copied().unwrap_or(0)
    }
}
