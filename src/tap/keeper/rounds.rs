//! The keeper's rounds: dumps that are due, requests from outside, the region's text and history, the mirror.
//!
//! Below the thread itself. What it knows outlives a keeper: descriptors and locks do not. `/proc` is read when
//! libraries were opened, at checkpoints, and when a dump or mirror is written, not in every round: a seccomp filter
//! may come to forbid it.

use super::checkpoints::Checkpoints;
use super::control::{Control, Request};
use crate::tap::backend::next_stats;
use crate::tap::dump::{self, Entry, Ledger, Mirror, Reason};
use crate::tap::guard::Guard;
use crate::tap::os::{cgroup, clock, dlopen_count, shared, sys, tls};
use crate::tap::profiler::{PROFILER, STOP};
use crate::tap::store::Store;
use crate::tap::triggers::{Due, Last, Measured, Triggers};
use crate::wire::control::{Outcome, Verb};
use crate::wire::live::counters::Counter;
use crate::wire::live::layout::Head;
use crate::wire::liveness::lock;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Bits of the profiler's trigger word: an interval between dumps is over.
pub(super) const INTERVAL: u32 = 1;
/// The live bytes reached a maximum that is worth a dump.
pub(super) const MAXIMUM: u32 = 4;
/// The program had its memory trimmed.
pub(super) const TRIM: u32 = 8;
/// The signal came that asks for a dump.
pub(crate) const SIGNAL: u32 = 16;

/// The keeper's state between rounds, and between one keeper and the next.
pub(super) struct Rounds {
    /// Number of the process that it belongs to.
    process: u32,
    control: Option<Control>,
    triggers: Triggers,
    last: Last,
    dlopens: u32,
    announced: bool,
    ledger: Ledger,
    mirror: Mirror,
    checkpoints: Checkpoints,
    /// The life that all this is of.
    token: u64,
    /// The region that explains itself (its address: `reset` puts another in its place), and the lock on its claim.
    noted: usize,
    guard: Option<File>,
    /// Attempts at that lock which are left: another user's file cannot be had, ever.
    attempts: u32,
    /// When to look next after the allocator.
    upkeep_ns: u64,
    /// When to look next for what killed processes left.
    adopt_ns: u64,
    has_adopted: bool,
}

/// Tries to take the lock: a process that looks whether this one lives holds it for an instant.
const ATTEMPTS: u32 = 5;
/// The second look: of a process that was killed right before we started the kernel may not have taken the locks away.
const SECOND_LOOK_NS: u64 = 10_000_000_000;
/// From then on, for siblings that are killed while we live.
const LOOK_NS: u64 = 3600 * 1_000_000_000;

/// Between two looks after the allocator: unused memory is to go within ten seconds (`dirty_decay_ms`), in steps.
const UPKEEP_NS: u64 = 2_000_000_000;

/// Whether a thread waits for the keeper's end.
fn is_wanted_away() -> bool {
    PROFILER.triggers.load(Ordering::Relaxed) & STOP != 0
}

/// Another thread may still be opening the region: the sample that started us was the first, and not that thread's. The
/// next round would be a second away, and a process that is killed before would have no names.
fn wait_for_region() {
    const STEPS: u32 = 200;
    for _ in 0..STEPS {
        if PROFILER.store().is_some() || is_wanted_away() {
            return;
        }
        clock::sleep_ns(500_000);
    }
}

impl Rounds {
    /// Nothing done yet in this process.
    pub(super) fn new() -> Box<Rounds> {
        let triggers = PROFILER.settings().map_or_else(Triggers::default, |settings| Triggers::of(&settings.options));
        Box::new(Rounds {
            process: PROFILER.threads.process(),
            control: None,
            triggers,
            last: Last::default(),
            dlopens: dlopen_count::count(),
            announced: false,
            ledger: Ledger::default(),
            mirror: Mirror::default(),
            checkpoints: Checkpoints::new(),
            token: PROFILER.token(),
            noted: 0,
            guard: None,
            attempts: 0,
            upkeep_ns: 0,
            adopt_ns: 0,
            has_adopted: false,
        })
    }

    /// Goes on where another keeper ended.
    pub(super) fn resumed(mut self: Box<Rounds>) -> Box<Rounds> {
        self.attempts = ATTEMPTS;
        self
    }

    /// Whether this process's keeper made it, not that of a parent.
    pub(super) fn is_of_this_process(&self) -> bool {
        self.process == PROFILER.threads.process()
    }

    /// What comes before the first round of a keeper: the region explains itself.
    pub(super) fn begin(&mut self) {
        wait_for_region();
        // A process that has sampled nothing gets its region, too: the CLI finds it by that.
        PROFILER.begin_again();
        self.check_life();
        self.note_region();
        if self.adopt_ns == 0 {
            self.adopt_ns = clock::monotonic_ns();
            self.last.note(&self.measure());
        }
    }

    /// One round, with the trigger bits that came since the last. Between its parts it looks whether a thread waits for
    /// the keeper's end.
    pub(super) fn go_round(&mut self, triggers: u32) {
        self.check_life();
        if PROFILER.would_leave(sys::user_ids()) {
            // The process has become another user by its main thread alone: with our rights nothing may be written.
            return;
        }
        if PROFILER.store().is_none() {
            // Of a life that has begun since, and has sampled nothing.
            PROFILER.begin_again();
        }
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
        let parts: [fn(&mut Rounds); 5] =
            [Rounds::answer, Rounds::refresh, Rounds::write_history, Rounds::keep_mirror, Rounds::look_around];
        for part in parts {
            if is_wanted_away() {
                return;
            }
            part(self);
        }
    }

    /// The last round of a keeper. Its descriptors go with it, and with them what says that the process lives: the
    /// mirror would tell that it is dead. Nothing that stays holds a descriptor: numbers mean something else elsewhere.
    pub(super) fn pause(&mut self) {
        self.mirror.pause();
        self.guard = None;
        if let Some(store) = PROFILER.store() {
            store.region().set_flag(Head::Guarded, false);
        }
        // No other keeper will answer.
        if PROFILER.may_not_open()
            && let Some(control) = self.control.take()
        {
            control.remove();
        }
    }

    fn answer(&mut self) {
        if let Some(request) = self.control.as_ref().and_then(Control::request) {
            self.obey(&request);
        }
    }

    fn refresh(&mut self) {
        if std::mem::replace(&mut self.dlopens, dlopen_count::count()) != self.dlopens {
            PROFILER.refresh();
        } else if let Some(store) = PROFILER.store() {
            store.region().beat(clock::monotonic_ns());
        }
    }

    fn write_history(&mut self) {
        self.checkpoints.go_round();
    }

    fn keep_mirror(&mut self) {
        if self.announced {
            PROFILER.mirror(&mut self.mirror);
        }
    }

    fn look_around(&mut self) {
        let now = clock::monotonic_ns();
        if let Some(store) = PROFILER.store() {
            store.tidy_methods(now);
            PROFILER.settle_mappings();
            PROFILER.look_after_threads();
        }
        if now >= self.upkeep_ns {
            self.upkeep_ns = now + UPKEEP_NS;
            PROFILER.upkeep();
        }
        // What others left comes behind all that is this process's own: their dumps may be large.
        if now >= self.adopt_ns {
            self.adopt_ns = now + if self.has_adopted { LOOK_NS } else { SECOND_LOOK_NS };
            self.has_adopted = true;
            PROFILER.adopt();
        }
    }

    /// The process has become another user: what belongs to the life before is that user's.
    fn check_life(&mut self) {
        if std::mem::replace(&mut self.token, PROFILER.token()) != self.token {
            (self.control, self.guard, self.noted, self.mirror) = (None, None, 0, Mirror::default());
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
        let limit = if self.triggers.watermark_percent > 0 { cgroup::memory() } else { None };
        let memory = limit.map(|limit| (limit.used_bytes, limit.limit_bytes));
        let resident = if self.triggers.resident_bytes > 0 { dump::resident_bytes() } else { None };
        Measured { now_ns: clock::monotonic_ns(), live_bytes, memory, resident }
    }

    fn dump(&mut self, reason: Reason) {
        match PROFILER.dump(reason) {
            Some(path) => drop(self.settle_dump(path, reason)),
            None => self.last.note(&self.measure()),
        }
    }

    /// Remembers a dump; its path.
    fn settle_dump(&mut self, path: PathBuf, reason: Reason) -> Vec<u8> {
        let measured = self.measure();
        self.last.note(&measured);
        self.thin(&path, reason, &measured);
        path.into_os_string().into_vec()
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
        let mut told = Vec::new();
        let outcome = match request.verb {
            Some(Verb::Dump) => {
                PROFILER.note_significant();
                let written = PROFILER.dump_or_why(Reason::Request);
                let outcome = if written.is_ok() { Outcome::Done } else { Outcome::Failed };
                told = written.map_or_else(String::into_bytes, |path| self.settle_dump(path, Reason::Request));
                outcome
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
                PROFILER.reset(None);
                PROFILER.begin_again();
                self.note_region();
                Outcome::Done
            }
            Some(Verb::Trim) => {
                // What it takes from malloc is not the program's.
                let _guard = Guard::enter();
                next_stats::trim(0);
                Outcome::Done
            }
            Some(Verb::Rate) | None => Outcome::Refused,
        };
        if let Some(control) = &self.control {
            control.answer(request, outcome, &told);
        }
    }
}

/// The lock on the life's claim, kept in a descriptor table of the keeper's own. `None`: not here, or not now.
fn guard(store: &Store) -> Option<File> {
    let path = store.region().path().filter(|_| tls::thread().has_own_descriptors.get())?;
    let file = shared::open(&path.claim(), false).filter(lock::take)?;
    store.region().set_flag(Head::Guarded, true);
    Some(file)
}
