//! What the keeper does, round by round: dumps that are due, requests from outside, the region's text.
//!
//! Floor 6, below `keeper`, which is the thread. `/proc` is read when libraries were opened and when a dump is
//! written, not in every round: a seccomp filter may come to forbid it.

use super::control::{Control, Request};
use super::dump::Reason;
use super::os::{cgroup, clock, loads};
use super::profiler::PROFILER;
use super::triggers::{Due, Last, Measured, Triggers};
use crate::wire::control::{Outcome, Verb};
use crate::wire::live::counters::Counter;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The keeper's state between rounds.
pub(crate) struct Rounds {
    control: Option<Control>,
    triggers: Triggers,
    last: Last,
    loads: u32,
    announced: bool,
}

impl Rounds {
    /// The first round: the region explains itself, and what others left is taken care of.
    pub(crate) fn begin() -> Rounds {
        PROFILER.refresh();
        let triggers = PROFILER.settings().map_or_else(Triggers::default, |settings| Triggers::of(&settings.options));
        let control = Control::open(PROFILER.pid(), PROFILER.token());
        let mut rounds = Rounds { control, triggers, last: Last::default(), loads: loads::count(), announced: false };
        rounds.last.note(&rounds.measure());
        PROFILER.adopt();
        rounds
    }

    /// One round. `interval_over`: so many bytes were allocated since the last dump of that kind; `new_maximum`:
    /// the live bytes reached one.
    pub(crate) fn turn(&mut self, interval_over: bool, new_maximum: bool) {
        if !self.announced && PROFILER.is_significant() {
            self.announced = true;
            PROFILER.announce();
        }
        let reason = match (interval_over, new_maximum) {
            (true, _) => Some(Reason::Interval),
            (false, true) => Some(Reason::Gdump),
            (false, false) => self.due(),
        };
        if let Some(reason) = reason {
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
        if let Some(store) = PROFILER.store() {
            store.tidy_methods(clock::monotonic_ns());
        }
    }

    /// The last round.
    pub(crate) fn end(&self) {
        if let Some(control) = &self.control {
            control.remove();
        }
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
        Measured { now_ns: clock::monotonic_ns(), live_bytes, memory }
    }

    fn dump(&mut self, reason: Reason) -> Option<PathBuf> {
        let path = PROFILER.dump(reason);
        let measured = self.measure();
        self.last.note(&measured);
        path
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
            Some(Verb::Rate) | None => Outcome::Refused,
        };
        if let Some(control) = &self.control {
            control.answer(request, outcome, path.as_ref().map_or(&[], |path| path.as_os_str().as_bytes()));
        }
    }
}
