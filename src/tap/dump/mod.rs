//! Dumps. A snapshot of the store becomes a `heap_v2` file, whole or absent.
//!
//! On errands only: the keeper's, those of a program that asks (`mallctl`), and that of the exiting thread. One dump at
//! a time: each wants the turn, and gives up at its errand's deadline. What a killed process of this user left
//! (`adopt`) goes the same way as what this one holds.

mod about;
mod adopt;
mod destination;
mod ledger;
mod maps;
mod mirror;

pub(crate) use about::Occasion;
pub(crate) use ledger::{Entry, Ledger};
#[cfg(not(test))]
pub(crate) use maps::tell_unwinder;
pub(crate) use maps::{Resident, executable_path, is_parent_tapped, resident, resident_bytes};
pub(crate) use mirror::Mirror;

use super::errand::{Errand, Turn};
use super::os::{clock, stderr};
use super::settings::Settings;
use super::store::Store;
use super::unwind;
use crate::wire::dump_file::{self, Failure};
use crate::wire::dump_name::{DumpKind, DumpName};
use crate::wire::heap_v2::{self, Surroundings};
use crate::wire::identity::Identity;
use crate::wire::live::counters::Counter;
use crate::wire::live::snapshot::Snapshot;
use crate::wire::live::text::Text;
use crate::wire::whole_file;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Why a dump is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// So many bytes were allocated since the last one (`lg_prof_interval`).
    Interval,
    /// A new maximum of live bytes, by 5 % at least (`prof_gdump`).
    Gdump,
    /// So much time has passed (`prof_dump_seconds`).
    Seconds,
    /// The live bytes have grown (`prof_dump_growth`).
    Growth,
    /// Memory passed a mark (`prof_dump_watermark`, `prof_dump_rss`).
    Watermark,
    /// The program had its memory trimmed (`prof_dump_trim`).
    Trim,
    /// A signal came (`prof_dump_signal`).
    Signal,
    /// A request (`heaptap dump`, `prof.dump`).
    Request,
    /// The process ends (`prof_final`).
    Final,
}

impl Reason {
    /// Whether the dump was asked for.
    pub(crate) fn is_asked_for(self) -> bool {
        matches!(self, Reason::Request | Reason::Signal)
    }

    /// The word that stands in the dump's metadata.
    fn word(self) -> &'static str {
        match self {
            Reason::Interval => "interval",
            Reason::Gdump => "gdump",
            Reason::Seconds => "seconds",
            Reason::Growth => "growth",
            Reason::Watermark => "watermark",
            Reason::Trim => "trim",
            Reason::Signal => "signal",
            Reason::Request => "request",
            Reason::Final => "final",
        }
    }
}

/// Writes the dumps of this process, one at a time, and numbers them.
pub(crate) struct Dumper {
    turn: Turn,
    seq: AtomicU64,
    intervals: AtomicU64,
    maxima: AtomicU64,
    requests: AtomicU64,
    trouble_told: AtomicBool,
    place_told: AtomicBool,
    /// A mirror may lie somewhere.
    mirrored: AtomicBool,
    /// The process ends, and needs no mirror any more.
    closed: AtomicBool,
    /// Fingerprint of the files that were mapped when the region's text was made last.
    files: AtomicU64,
}

impl Dumper {
    /// Nothing written yet.
    pub(crate) const fn new() -> Dumper {
        Dumper {
            turn: Turn::new(),
            seq: AtomicU64::new(0),
            intervals: AtomicU64::new(0),
            maxima: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            trouble_told: AtomicBool::new(false),
            place_told: AtomicBool::new(false),
            mirrored: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            files: AtomicU64::new(0),
        }
    }

    /// In a fork child: numbers start again, and a turn that a thread of the parent had is free.
    pub(crate) fn restart(&self) {
        self.seq.store(0, Ordering::Relaxed);
        self.intervals.store(0, Ordering::Relaxed);
        self.maxima.store(0, Ordering::Relaxed);
        self.requests.store(0, Ordering::Relaxed);
        self.mirrored.store(false, Ordering::Relaxed);
        self.closed.store(false, Ordering::Relaxed);
        self.turn.forget();
    }

    /// The process goes on as another user: what lies somewhere is the other life's. Numbers go on, for the pid does.
    pub(crate) fn change_user(&self) {
        self.mirrored.store(false, Ordering::Relaxed);
        self.trouble_told.store(false, Ordering::Relaxed);
    }

    /// Writes a dump and returns its path, or says why there is none. Trouble is told once on stderr, too, and counted.
    pub(crate) fn write(
        &'static self,
        errand: &Errand,
        store: &Store,
        settings: &Settings,
        reason: Reason,
        occasion: &Occasion,
    ) -> Result<PathBuf, String> {
        let busy = || "another dump was being written, and did not end in time".to_owned();
        let _turn = errand.take(&self.turn).ok_or_else(busy)?;
        let text = self.note(store, settings, reason.word(), occasion);
        let written = self.write_own(store, settings, reason, &text);
        self.settle(store, settings, written)
    }

    /// Says now where no dump will be written: an hour later it is too late.
    pub(crate) fn probe(&self, settings: &Settings, pid: u32) {
        let prefix = Path::new(OsStr::from_bytes(settings.prefix()));
        let Some(error) = destination::refusal(prefix).filter(|_| !settings.prefix().is_empty()) else { return };
        let names = |prefix: &Path| PathBuf::from(format!("{}.{pid}.*.heap", prefix.display()));
        let others = destination::prefixes(prefix, &settings.fallback_directories).skip(1);
        match { others }.find(|other| destination::refusal(other).is_none()) {
            Some(other) => self.tell_place(&names(&other)),
            None => drop(self.tell_trouble(&names(prefix), &error)),
        }
    }

    /// Writes a dump to a file that the program named, in place of what is there.
    pub(crate) fn write_to(
        &'static self,
        errand: &Errand,
        store: &Store,
        settings: &Settings,
        path: &Path,
        occasion: &Occasion,
    ) -> Option<()> {
        let _turn = errand.take(&self.turn)?;
        let text = self.note(store, settings, Reason::Request.word(), occasion);
        let snapshot = Snapshot::of(store.region()).ok()?;
        let mut bytes = Vec::new();
        let prefix = Path::new(OsStr::from_bytes(settings.prefix()));
        let maps = dump_file::maps_with_sidecar(&snapshot, &text, prefix);
        let around = Surroundings { maps: &maps, metadata: &text.metadata, accumulated: settings.options.prof_accum };
        heap_v2::write(&snapshot, &around, &mut bytes).ok()?;
        whole_file::replace(path, &mut |file| file.write_all(&bytes)).ok().map(drop)
    }

    /// Brings the region's text up to date, so that a reader of the region finds what a dump would say.
    pub(crate) fn refresh(&'static self, errand: &Errand, store: &Store, settings: &Settings, occasion: &Occasion) {
        if let Some(_turn) = errand.take(&self.turn) {
            self.note(store, settings, "live", occasion);
        }
    }

    /// Writes the mirror, if it is time for one.
    pub(crate) fn mirror(&'static self, errand: &Errand, store: &Store, settings: &Settings, mirror: &mut Mirror) {
        let (options, region) = (&settings.options, store.region());
        let began = clock::monotonic_ns();
        let changes = (region.counter(Counter::Samples), region.counter(Counter::Retired));
        let is_wanted = options.prof_mirror_seconds > 0 && !settings.prefix().is_empty();
        if !is_wanted || !mirror.is_due(began, changes) {
            return;
        }
        let Some(_turn) = errand.take(&self.turn).filter(|_| !self.closed.load(Ordering::Relaxed)) else { return };
        region.beat(began);
        let written = Snapshot::of(region).ok().and_then(|mut snapshot| {
            snapshot.tell("mirror", began);
            snapshot.set("mirror_seconds", &options.prof_mirror_seconds.to_string());
            if let Some(bytes) = maps::resident_bytes() {
                snapshot.set("rss_bytes", &bytes.to_string());
            }
            let prefix = Path::new(OsStr::from_bytes(settings.prefix()));
            self.mirrored.store(true, Ordering::Relaxed);
            destination::prefixes(prefix, &settings.fallback_directories)
                .find(|prefix| mirror.write(&mut snapshot, prefix, options.prof_min_free_bytes).is_ok())
        });
        mirror.note(written.map(|_| changes), began, clock::monotonic_ns(), options.prof_mirror_seconds);
    }

    /// Removes what is for processes that end without a final dump: region, control file and mirror. Nothing is written
    /// from now on.
    pub(crate) fn leave_nothing(&'static self, errand: &Errand, store: &Store, settings: &Settings) {
        store.region().remove_files();
        self.closed.store(true, Ordering::Relaxed);
        if self.mirrored.load(Ordering::Relaxed) {
            // A dump that is being written now was begun before this.
            let _turn = errand.take(&self.turn);
            self.remove_mirrors(store, settings);
        }
    }

    /// Removes the mirror, wherever it may lie.
    pub(crate) fn remove_mirrors(&self, store: &Store, settings: &Settings) {
        if !self.mirrored.load(Ordering::Relaxed) {
            return;
        }
        let life = store.region().life();
        for prefix in
            destination::prefixes(Path::new(OsStr::from_bytes(settings.prefix())), &settings.fallback_directories)
        {
            let _ = std::fs::remove_file(Identity { prefix, ..life.clone() }.mirror());
        }
    }

    /// Writes the final dumps of processes of this user that were killed, and removes what they left.
    /// Ends early when `is_wanted` says that the keeper is: it looks before each file.
    pub(crate) fn adopt(
        &'static self,
        errand: &Errand,
        store: &Store,
        settings: &Settings,
        is_wanted: &dyn Fn() -> bool,
    ) {
        for orphan in adopt::orphans(settings, is_wanted) {
            // One turn for each: reading them takes long, and the final dump of this process may wait.
            let Some(_turn) = errand.take(&self.turn).filter(|_| !is_wanted()) else { return };
            let floor = settings.options.prof_min_free_bytes;
            let room = destination::check_room(&orphan.prefix, floor).map_err(|error| (orphan.prefix.clone(), error));
            let save = || dump_file::save_last(&orphan.snapshot, &orphan.prefix, settings.options.prof_accum);
            if self.settle(store, settings, room.and_then(|()| save())).is_ok() {
                orphan.remove();
            }
        }
    }

    fn note(&self, store: &Store, settings: &Settings, reason: &str, occasion: &Occasion) -> Text {
        store.refresh_threads(maps::thread_name);
        store.region().beat(clock::monotonic_ns());
        let maps = maps::all();
        let mut text = about::text(reason, occasion, settings, &maps);
        if maps.is_empty() {
            about::keep(&mut text, store.region().text());
        }
        if !maps.is_empty() {
            unwind::refresh_objects(&maps);
        }
        let files = maps::fingerprint(&text.maps);
        if self.files.swap(files, Ordering::Relaxed) != files {
            // glibc closes objects of its own (nss, iconv), and no export of ours sees it.
            unwind::forget_objects();
        }
        store.region().set_text(&text.to_bytes());
        text
    }

    fn settle(&self, store: &Store, settings: &Settings, written: Result<PathBuf, Failure>) -> Result<PathBuf, String> {
        match written {
            Ok(path) => {
                store.region().count(Counter::Dumps, 1);
                if let Some(report) = settings.run_report {
                    destination::append_line(Path::new(OsStr::from_bytes(report)), path.as_os_str().as_bytes());
                }
                Ok(path)
            }
            Err((path, error)) => {
                store.region().count(Counter::DumpsFailed, 1);
                Err(self.tell_trouble(&path, &error))
            }
        }
    }

    /// Writes a dump of the store to the first directory that takes it.
    fn write_own(&self, store: &Store, settings: &Settings, reason: Reason, text: &Text) -> Result<PathBuf, Failure> {
        let prefix = Path::new(OsStr::from_bytes(settings.prefix()));
        let damaged = |error| (prefix.to_path_buf(), io::Error::other(format!("{error}")));
        let snapshot = Snapshot::of(store.region()).map_err(damaged)?;
        let kind = self.kind(reason);
        let mut first_failure = None;
        for prefix in destination::prefixes(prefix, &settings.fallback_directories) {
            let room = destination::check_room(&prefix, settings.options.prof_min_free_bytes);
            let name = DumpName { prefix, pid: snapshot.pid, seq: self.seq.load(Ordering::Relaxed), kind };
            let room = room.map_err(|error| (name.path(), error));
            match room.and_then(|()| dump_file::save(&snapshot, text, name, settings.options.prof_accum)) {
                Ok(name) => {
                    self.seq.store(name.seq + 1, Ordering::Relaxed);
                    self.count(kind);
                    let path = path(&name);
                    if first_failure.is_some() {
                        self.tell_place(&path);
                    }
                    return Ok(path);
                }
                Err(failure) => {
                    first_failure.get_or_insert(failure);
                }
            }
        }
        Err(first_failure.unwrap_or_else(|| (prefix.to_path_buf(), io::ErrorKind::NotFound.into())))
    }

    fn kind(&self, reason: Reason) -> DumpKind {
        match reason {
            Reason::Interval | Reason::Seconds | Reason::Growth | Reason::Watermark => {
                DumpKind::Interval(self.intervals.load(Ordering::Relaxed))
            }
            Reason::Gdump => DumpKind::Gdump(self.maxima.load(Ordering::Relaxed)),
            Reason::Request | Reason::Trim | Reason::Signal => DumpKind::Manual(self.requests.load(Ordering::Relaxed)),
            Reason::Final => DumpKind::Final,
        }
    }

    fn count(&self, kind: DumpKind) {
        match kind {
            DumpKind::Interval(_) => self.intervals.fetch_add(1, Ordering::Relaxed),
            DumpKind::Manual(_) => self.requests.fetch_add(1, Ordering::Relaxed),
            DumpKind::Gdump(_) => self.maxima.fetch_add(1, Ordering::Relaxed),
            DumpKind::Final => 0,
        };
    }

    /// What went wrong, in words; told on stderr, too, the first time.
    fn tell_trouble(&self, path: &Path, error: &io::Error) -> String {
        let text = format!("cannot write {}: {error}; set prof_prefix or HEAPTAP_DIR", path.display());
        if !self.trouble_told.swap(true, Ordering::Relaxed) {
            stderr::say(&[b"heaptap: ", text.as_bytes()]);
        }
        text
    }

    fn tell_place(&self, path: &Path) {
        if !self.place_told.swap(true, Ordering::Relaxed) {
            let text: &[u8] = b"heaptap: the directory of prof_prefix cannot be written; dumps go to ";
            stderr::say(&[text, path.as_os_str().as_bytes()]);
        }
    }
}

fn path(name: &DumpName) -> PathBuf {
    whole_file::absolute(&name.path())
}
