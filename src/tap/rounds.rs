//! What the keeper does, round by round: dumps that are due, requests from outside, the region's text, the mirror.
//!
//! Floor 6, below `keeper`, which is the thread. `/proc` is read when libraries were opened and when a dump or
//! mirror is written, not in every round: a seccomp filter may come to forbid it.

use super::control::{Control, Request};
use super::dump::{self, Entry, Ledger, Mirror, Reason};
use super::os::{cgroup, clock, loads, tls};
use super::profiler::PROFILER;
use super::store::Store;
use super::triggers::{Due, Last, Measured, Triggers};
use crate::wire::control::{Outcome, Verb};
use crate::wire::life_lock;
use crate::wire::live::counters::Counter;
use crate::wire::live::layout::Head;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Bits of the profiler's trigger word: an interval between dumps is over.
pub(crate) const INTERVAL: u32 = 1;
/// The live bytes reached a maximum that is worth a dump.
pub(crate) const MAXIMUM: u32 = 4;
/// The program had its memory trimmed.
pub(crate) const TRIM: u32 = 8;
/// The signal came that asks for a dump.
pub(crate) const SIGNAL: u32 = 16;

/// The keeper's state between rounds.
pub(crate) struct Rounds {
    control: Option<Control>,
    triggers: Triggers,
    last: Last,
    loads: u32,
    announced: bool,
    ledger: Ledger,
    mirror: Mirror,
    /// The region that explains itself (its address: `reset` puts another in its place), and the lock on it.
    noted: usize,
    guard: Option<File>,
    /// Attempts at that lock which are left: another user's file cannot be had, ever.
    attempts: u32,
    /// When to look next for what killed processes left.
    adopt_ns: u64,
}

/// Somebody who looks whether we live holds the lock for an instant.
const ATTEMPTS: u32 = 5;
/// The second look: of a process that was killed right before we started the kernel may not have taken the locks away.
const SECOND_LOOK_NS: u64 = 10_000_000_000;
/// From then on, for siblings that are killed while we live.
const LOOK_NS: u64 = 3600 * 1_000_000_000;

/// Another thread may still be opening the region: the sample that started us was the first, and not that thread's. The
/// next round would be a second away, and a process that is killed before would have no names.
fn wait_for_region() {
    const STEPS: u32 = 200;
    for _ in 0..STEPS {
        if PROFILER.store().is_some() {
            return;
        }
        clock::sleep_ns(500_000);
    }
}

impl Rounds {
    /// The first round: the region explains itself, and what others left is taken care of.
    pub(crate) fn begin() -> Rounds {
        let triggers = PROFILER.settings().map_or_else(Triggers::default, |settings| Triggers::of(&settings.options));
        let mut rounds = Rounds {
            control: None,
            triggers,
            last: Last::default(),
            loads: loads::count(),
            announced: false,
            ledger: Ledger::default(),
            mirror: Mirror::default(),
            noted: 0,
            guard: None,
            attempts: 0,
            adopt_ns: clock::monotonic_ns() + SECOND_LOOK_NS,
        };
        wait_for_region();
        rounds.note_region();
        rounds.last.note(&rounds.measure());
        PROFILER.adopt();
        rounds
    }

    /// One round, with the trigger bits that came since the last.
    pub(crate) fn turn(&mut self, triggers: u32) {
        self.note_region();
        if !self.announced && PROFILER.is_significant() {
            self.announced = true;
            PROFILER.announce();
        }
        let told =
            [(INTERVAL, Reason::Interval), (MAXIMUM, Reason::Gdump), (SIGNAL, Reason::Signal), (TRIM, Reason::Trim)];
        let told = told.into_iter().find(|(bit, _)| triggers & bit != 0).map(|(_, reason)| reason);
        if let Some(reason) = told.or_else(|| self.due()) {
            self.dump(reason);
        }
        if let Some(request) = self.control.as_ref().and_then(Control::request) {
            self.obey(&request);
        }
        if std::mem::replace(&mut self.loads, loads::count()) != self.loads {
            PROFILER.refresh();
        } else if let Some(store) = PROFILER.store() {
            store.region().beat(clock::monotonic_ns());
        }
        if self.announced {
            PROFILER.mirror(&mut self.mirror);
        }
        let now = clock::monotonic_ns();
        if let Some(store) = PROFILER.store() {
            store.tidy_methods(now);
        }
        if now >= self.adopt_ns {
            self.adopt_ns = now + LOOK_NS;
            PROFILER.adopt();
        }
    }

    /// The last round: from now on nobody can say whether the process lives.
    pub(crate) fn end(&mut self) {
        self.mirror.remove();
        if let Some(control) = &self.control {
            control.remove();
        }
        if let Some(store) = PROFILER.store() {
            store.region().set_flag(Head::Guarded, false);
        }
    }

    /// Lets a region that is new explain itself, and tells by a lock on it that the process lives.
    fn note_region(&mut self) {
        let Some(store) = PROFILER.store() else { return };
        let address = std::ptr::from_ref(store).addr();
        if std::mem::replace(&mut self.noted, address) != address {
            (self.guard, self.attempts) = (None, ATTEMPTS);
            PROFILER.refresh();
            // Not before: another thread may still be opening the region while we begin.
            self.control = self.control.take().or_else(|| Control::open(store.region().path()?));
        }
        if self.guard.is_none() && self.attempts > 0 {
            self.attempts -= 1;
            self.guard = guard(store);
        }
        store.region().set_flag(Head::Significant, PROFILER.is_significant());
        store.region().set_flag(Head::Paused, !PROFILER.is_active());
    }

    fn due(&mut self) -> Option<Reason> {
        if !self.triggers.are_set() || !self.announced {
            return None;
        }
        let measured = self.measure();
        Some(match self.triggers.due(&measured, &mut self.last)? {
            Due::Seconds => Reason::Seconds,
            Due::Growth => Reason::Growth,
            Due::Watermark => Reason::Watermark,
        })
    }

    fn measure(&self) -> Measured {
        let live_bytes = PROFILER.store().map_or(0, |store| store.region().counter(Counter::LiveBytes));
        let memory = if self.triggers.watermark_percent > 0 { cgroup::memory() } else { None };
        let resident = if self.triggers.resident_bytes > 0 { dump::resident_bytes() } else { None };
        Measured { now_ns: clock::monotonic_ns(), live_bytes, memory, resident }
    }

    fn dump(&mut self, reason: Reason) -> Option<PathBuf> {
        let path = PROFILER.dump(reason);
        let measured = self.measure();
        self.last.note(&measured);
        if let Some(path) = &path {
            self.thin(path, reason, &measured);
        }
        path
    }

    /// Keeps number and bytes of the dumps within their bounds.
    fn thin(&mut self, path: &PathBuf, reason: Reason, measured: &Measured) {
        let Some(options) = PROFILER.settings().map(|settings| &settings.options) else { return };
        let entry = Entry {
            path: path.clone(),
            at_ns: measured.now_ns,
            live_bytes: measured.live_bytes,
            bytes: fs::metadata(path).map_or(0, |metadata| metadata.len()),
            is_asked_for: reason.is_asked_for(),
        };
        for gone in self.ledger.add(entry, options.prof_max_dumps, options.prof_max_dump_bytes) {
            let _ = fs::remove_file(gone);
        }
    }

    /// Does what was asked from outside, and answers.
    fn obey(&mut self, request: &Request) {
        let mut path = None;
        let outcome = match request.verb {
            Some(Verb::Dump) => {
                path = self.dump(Reason::Request);
                if path.is_some() { Outcome::Done } else { Outcome::Failed }
            }
            Some(Verb::Start) => {
                PROFILER.set_active(true);
                Outcome::Done
            }
            Some(Verb::Stop) => {
                PROFILER.set_active(false);
                Outcome::Done
            }
            Some(Verb::Rate) if request.argument < 64 => {
                PROFILER.set_period(1 << request.argument);
                Outcome::Done
            }
            Some(Verb::Reset) => {
                PROFILER.reset(PROFILER.period().ilog2());
                PROFILER.begin_again();
                self.note_region();
                Outcome::Done
            }
            Some(Verb::Rate) | None => Outcome::Refused,
        };
        if let Some(control) = &self.control {
            control.answer(request, outcome, path.as_ref().map_or(&[], |path| path.as_os_str().as_bytes()));
        }
    }
}

/// The lock on a region's file, kept in a descriptor table of the keeper's own. `None`: not here, or not now.
fn guard(store: &Store) -> Option<File> {
    let path = store.region().path().filter(|_| tls::thread().has_own_descriptors.get())?;
    let file = File::open(path.as_str()).ok().filter(life_lock::take)?;
    store.region().set_flag(Head::Guarded, true);
    Some(file)
}
