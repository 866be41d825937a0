//! Floor 4: dumps. A snapshot of the store becomes a `heap_v2` file, whole or absent.
//!
//! Called by the keeper, and by the exiting thread for the final dump; never by a thread that is inside
//! malloc. One dump at a time; who waits gives up at a deadline.

mod file;
mod maps;
mod sidecar;

use super::os::{clock, sys};
use super::settings::Settings;
use super::store::Store;
use super::unwind;
use crate::wire::dump_name::{DumpKind, DumpName};
use crate::wire::heap_v2::{self, Surroundings};
use crate::wire::live::counters::Counter;
use crate::wire::live::snapshot::Snapshot;
use crate::wire::time;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Longest wait for another thread's dump to end.
const PATIENCE_NS: u64 = 2_000_000_000;

/// Why a dump is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// So many bytes were allocated since the last one (`lg_prof_interval`).
    Interval,
    /// The process ends (`prof_final`).
    Final,
}

impl Reason {
    /// The word that stands in the dump's metadata.
    fn word(self) -> &'static str {
        match self {
            Reason::Interval => "interval",
            Reason::Final => "final",
        }
    }
}

/// When and in what state of things a dump is written.
pub(crate) struct Occasion {
    /// Why.
    pub(crate) reason: Reason,
    /// Nanoseconds since the process's first call.
    pub(crate) uptime_ns: u64,
    /// What is known about a Java virtual machine.
    pub(crate) java: String,
}

/// Writes the dumps of this process, one at a time, and numbers them.
pub(crate) struct Dumper {
    busy: AtomicBool,
    seq: AtomicU64,
    intervals: AtomicU64,
    trouble_told: AtomicBool,
    place_told: AtomicBool,
}

/// Holds the dumper; no one else writes meanwhile.
struct Turn<'a>(&'a Dumper);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

impl Dumper {
    /// Nothing written yet.
    pub(crate) const fn new() -> Dumper {
        Dumper {
            busy: AtomicBool::new(false),
            seq: AtomicU64::new(0),
            intervals: AtomicU64::new(0),
            trouble_told: AtomicBool::new(false),
            place_told: AtomicBool::new(false),
        }
    }

    /// In a fork child: numbers start again, and a turn that a thread of the parent had is nobody's.
    pub(crate) fn restart(&self) {
        self.seq.store(0, Ordering::Relaxed);
        self.intervals.store(0, Ordering::Relaxed);
        self.busy.store(false, Ordering::Release);
    }

    /// Writes a dump and returns its path. Trouble is told once, on stderr, and counted.
    pub(crate) fn write(&self, store: &Store, settings: &Settings, occasion: &Occasion) -> Option<PathBuf> {
        let _turn = self.turn()?;
        match self.try_write(store, settings, occasion) {
            Ok(path) => {
                store.region().count(Counter::Dumps, 1);
                if let Some(report) = settings.run_report {
                    file::append_line(Path::new(OsStr::from_bytes(report)), path.as_os_str().as_bytes());
                }
                Some(path)
            }
            Err((path, error)) => {
                store.region().count(Counter::DumpsFailed, 1);
                if !self.trouble_told.swap(true, Ordering::Relaxed) {
                    let text =
                        format!("heaptap: cannot write {}: {error}; set prof_prefix or HEAPTAP_DIR", path.display());
                    sys::say(&[text.as_bytes()]);
                }
                None
            }
        }
    }

    /// Waits for others to end, by trying; gives up at the deadline.
    fn turn(&self) -> Option<Turn<'_>> {
        let deadline = clock::monotonic_ns() + PATIENCE_NS;
        while self.busy.swap(true, Ordering::Acquire) {
            if clock::monotonic_ns() > deadline {
                return None;
            }
            clock::sleep_ns(1_000_000);
        }
        Some(Turn(self))
    }

    fn try_write(
        &self,
        store: &Store,
        settings: &Settings,
        occasion: &Occasion,
    ) -> Result<PathBuf, (PathBuf, io::Error)> {
        store.refresh_threads(maps::thread_name);
        let prefix = Path::new(OsStr::from_bytes(settings.options.prof_prefix));
        let damaged = |error| (prefix.to_path_buf(), io::Error::other(format!("{error}")));
        let snapshot = Snapshot::take(store.region()).map_err(damaged)?;
        let kind = match occasion.reason {
            Reason::Interval => DumpKind::Interval(self.intervals.load(Ordering::Relaxed)),
            Reason::Final => DumpKind::Final,
        };
        let metadata = metadata(occasion);
        let mut maps = maps::executable();
        let code_bytes = maps.len();
        let mut first_error = None;
        for prefix in file::prefixes(prefix, &settings.fallback_directories) {
            maps.truncate(code_bytes);
            maps.extend(write_sidecar(&snapshot, &prefix));
            let accumulated = settings.options.prof_accum;
            let around = Surroundings { maps: &maps, metadata: &metadata, accumulated };
            let mut write = |out: &mut dyn io::Write| heap_v2::write(&snapshot, &around, &mut io::BufWriter::new(out));
            let name = DumpName { prefix, pid: snapshot.pid, seq: self.seq.load(Ordering::Relaxed), kind };
            match file::create(name, &mut write) {
                Ok(name) => {
                    self.seq.store(name.seq + 1, Ordering::Relaxed);
                    self.intervals.fetch_add(u64::from(occasion.reason == Reason::Interval), Ordering::Relaxed);
                    let path = file::absolute(Path::new(&name.to_string()));
                    if first_error.is_some() && !self.place_told.swap(true, Ordering::Relaxed) {
                        sys::say(&[
                            b"heaptap: the directory of prof_prefix cannot be written; dumps go to ",
                            path.as_os_str().as_bytes(),
                        ]);
                    }
                    return Ok(path);
                }
                Err((name, error)) => {
                    first_error.get_or_insert((PathBuf::from(name.to_string()), error));
                }
            }
        }
        Err(first_error.unwrap_or_else(|| (prefix.to_path_buf(), io::ErrorKind::NotFound.into())))
    }
}

/// Writes the file that names Java frames for jeprof, before the dump that needs it, and returns the
/// line of the maps that leads to it. Names only grow within a token, so the newest serves all dumps.
fn write_sidecar(snapshot: &Snapshot, prefix: &Path) -> Vec<u8> {
    let Some(bytes) = sidecar::bytes(snapshot) else { return Vec::new() };
    let path = PathBuf::from(format!("{}.{}.{:016x}.java.so", prefix.display(), snapshot.pid, snapshot.token));
    if file::replace(&path, &bytes).is_err() {
        return Vec::new();
    }
    sidecar::maps_line(snapshot, &file::absolute(&path)).unwrap_or_default().into_bytes()
}

/// What a reader wants to know besides the samples.
fn metadata(occasion: &Occasion) -> Vec<(&'static str, String)> {
    let mut metadata = about(occasion);
    unwind::modules(&mut |module| {
        if !module.build_id.is_empty() && module.path.starts_with(b"/") {
            let id: String = module.build_id.iter().map(|byte| format!("{byte:02x}")).collect();
            metadata.push(("build_id", format!("{id} {}", String::from_utf8_lossy(module.path))));
        }
    });
    metadata
}

fn about(occasion: &Occasion) -> Vec<(&'static str, String)> {
    let exe = std::fs::read_link("/proc/self/exe").map_or_else(|_| "?".into(), |path| path.display().to_string());
    let rss = maps::resident_bytes().map_or_else(|| "?".into(), |bytes| bytes.to_string());
    vec![
        ("reason", occasion.reason.word().into()),
        ("exe", exe),
        ("time", time::rfc3339(clock::wall_ns())),
        ("uptime_ns", occasion.uptime_ns.to_string()),
        ("java_vm", occasion.java.clone()),
        ("rss_bytes", rss),
        ("heaptap_version", env!("CARGO_PKG_VERSION").into()),
    ]
}
