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
use crate::wire::dump_name::{DumpKind, DumpName};
use crate::wire::heap_v2::{self, Surroundings};
use crate::wire::live::counters::Counter;
use crate::wire::live::snapshot::Snapshot;
use crate::wire::time;
use parking_lot::{Mutex, MutexGuard};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Numbers of the dumps of one life of the process.
#[derive(Default)]
struct Numbers {
    seq: u64,
    interval: u64,
}

/// Writes the dumps of this process.
pub(crate) struct Dumper {
    numbers: Mutex<Numbers>,
    trouble_told: AtomicBool,
    place_told: AtomicBool,
}

impl Dumper {
    /// Nothing written yet.
    pub(crate) const fn new() -> Dumper {
        Dumper {
            numbers: Mutex::new(Numbers { seq: 0, interval: 0 }),
            trouble_told: AtomicBool::new(false),
            place_told: AtomicBool::new(false),
        }
    }

    /// In a fork child: numbers start again. A lock that another thread of the parent held is held by
    /// nobody here.
    pub(crate) fn restart(&self) {
        if self.numbers.is_locked() {
            // SAFETY: the child has one thread, which does not hold it; the numbers are plain values.
            #[allow(unsafe_code)]
            unsafe {
                self.numbers.force_unlock()
            };
        }
        if let Some(mut numbers) = self.numbers.try_lock() {
            *numbers = Numbers::default();
        }
    }

    /// Writes a dump and returns its path. Trouble is told once, on stderr, and counted.
    pub(crate) fn write(&self, store: &Store, settings: &Settings, reason: Reason, uptime_ns: u64) -> Option<PathBuf> {
        let mut numbers = self.lock()?;
        match self.try_write(store, settings, reason, uptime_ns, &mut numbers) {
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

    /// Waits by trying: parking_lot's own waiting needs thread-locals with destructors.
    fn lock(&self) -> Option<MutexGuard<'_, Numbers>> {
        let deadline = clock::monotonic_ns() + PATIENCE_NS;
        loop {
            if let Some(numbers) = self.numbers.try_lock() {
                return Some(numbers);
            }
            if clock::monotonic_ns() > deadline {
                return None;
            }
            clock::sleep_ns(1_000_000);
        }
    }

    fn try_write(
        &self,
        store: &Store,
        settings: &Settings,
        reason: Reason,
        uptime_ns: u64,
        numbers: &mut Numbers,
    ) -> Result<PathBuf, (PathBuf, io::Error)> {
        store.refresh_threads(maps::thread_name);
        let prefix = Path::new(OsStr::from_bytes(settings.options.prof_prefix));
        let damaged = |error| (prefix.to_path_buf(), io::Error::other(format!("{error}")));
        let snapshot = Snapshot::take(store.region()).map_err(damaged)?;
        let kind = match reason {
            Reason::Interval => DumpKind::Interval(numbers.interval),
            Reason::Final => DumpKind::Final,
        };
        let metadata = metadata(reason, uptime_ns);
        let mut maps = maps::executable();
        let code_bytes = maps.len();
        let mut first_error = None;
        for prefix in file::prefixes(prefix, &settings.fallback_directories) {
            maps.truncate(code_bytes);
            maps.extend(write_sidecar(&snapshot, &prefix));
            let accumulated = settings.options.prof_accum;
            let around = Surroundings { maps: &maps, metadata: &metadata, accumulated };
            let mut write = |out: &mut dyn io::Write| heap_v2::write(&snapshot, &around, &mut io::BufWriter::new(out));
            let name = DumpName { prefix, pid: snapshot.pid, seq: numbers.seq, kind };
            match file::create(name, &mut write) {
                Ok(name) => {
                    numbers.seq = name.seq + 1;
                    numbers.interval += u64::from(reason == Reason::Interval);
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
fn metadata(reason: Reason, uptime_ns: u64) -> Vec<(&'static str, String)> {
    let exe = std::fs::read_link("/proc/self/exe").map_or_else(|_| "?".into(), |path| path.display().to_string());
    let rss = maps::resident_bytes().map_or_else(|| "?".into(), |bytes| bytes.to_string());
    vec![
        ("reason", reason.word().into()),
        ("exe", exe),
        ("time", time::rfc3339(clock::wall_ns())),
        ("uptime_ns", uptime_ns.to_string()),
        ("rss_bytes", rss),
        ("heaptap_version", env!("CARGO_PKG_VERSION").into()),
    ]
}
