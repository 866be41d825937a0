//! The keeper's checkpoints: what the process is at this second, and what happened since the last round.
//!
//! What is cheap is asked for (`status`, the control group's two numbers, counts of threads and descriptors, the
//! allocator's pages): some 0.1 ms, each second at first, then ever more rarely. Where the memory is takes a look of
//! its own (`look`). To look at every stack takes longer, a few milliseconds with tens
//! of thousands: after it the keeper leaves stacks alone for a thousand times as long, so that it costs a thousandth of
//! a processor at most. Nothing is read where a seccomp filter may kill for it.

use super::history::History;
use super::look::Looks;
use super::pace::Pace;
use super::usage::Asking;
use crate::tap::backend::{self, keep};
use crate::tap::dump::{self, Resident};
use crate::tap::os::{cgroup, clock, folder, sys};
use crate::tap::profiler::PROFILER;
use crate::tap::store::Store;
use crate::wire::live::counters::Counter;
use crate::wire::live::history::{EventKind, Incident, Moment};
use crate::wire::live::layout::Head;
use std::fs;
use std::path::Path;
use std::ptr;
use std::sync::atomic::Ordering;

/// A look at the stacks may cost one part in so many of the keeper's time.
const SHARE: u64 = 1000;
/// More descriptors than that are counted at one checkpoint in [`RARELY`] only, where the kernel does not tell.
const MANY: u64 = 512;
const RARELY: u32 = 16;

/// Checkpoints of a region.
pub(super) struct Checkpoints {
    history: History,
    /// The region (the address of its store).
    noted: usize,
    seen: Option<Seen>,
    kills: Option<u64>,
    /// Of looks at all stacks.
    rows: Pace,
    descriptors: u64,
    count: u32,
    looks: Looks,
    allocator: Asking,
}

/// What an event is a change of.
#[derive(Clone, Copy)]
struct Seen {
    is_active: bool,
    period: u64,
    wanted_period: u64,
    dumps: u64,
    dumps_failed: u64,
    resets: u64,
    refused: u64,
    refused_threads: u64,
}

impl Seen {
    fn now(store: &Store) -> Seen {
        let region = store.region();
        Seen {
            is_active: PROFILER.is_active(),
            period: PROFILER.period(),
            wanted_period: PROFILER.wanted_period(),
            dumps: region.counter(Counter::Dumps),
            dumps_failed: region.counter(Counter::DumpsFailed),
            resets: region.at(Head::Resets as usize).load(Ordering::Relaxed),
            refused: region.counter(Counter::Refused),
            refused_threads: region.counter(Counter::RefusedThreads),
        }
    }

    /// What has happened since `before`; without one the process has just begun.
    fn since(self, before: Option<Seen>) -> impl Iterator<Item = (EventKind, u64)> {
        let Some(before) = before else {
            return [self.is_active.then_some((EventKind::SamplingStarted, self.period))]
                .into_iter()
                .chain([None; 6])
                .flatten();
        };
        let activity = if self.is_active { EventKind::SamplingStarted } else { EventKind::SamplingStopped };
        let whose = if self.wanted_period == before.wanted_period { EventKind::Governor } else { EventKind::Rate };
        let told = |is: bool, kind: EventKind, value: u64| is.then_some((kind, value));
        [told(self.is_active != before.is_active, activity, self.period)]
            .into_iter()
            .chain([
                told(self.period != before.period, whose, self.period),
                told(self.dumps > before.dumps, EventKind::Dump, self.dumps),
                told(self.dumps_failed > before.dumps_failed, EventKind::DumpFailed, self.dumps_failed),
                told(self.resets != before.resets, EventKind::Reset, self.resets),
                told(self.refused > before.refused, EventKind::RefusedMemory, self.refused),
                told(self.refused_threads > before.refused_threads, EventKind::RefusedThread, self.refused_threads),
            ])
            .flatten()
    }
}

impl Checkpoints {
    /// None written yet.
    pub(super) fn new() -> Checkpoints {
        Checkpoints {
            history: History::new(),
            noted: 0,
            seen: None,
            kills: None,
            rows: Pace::new(SHARE),
            descriptors: 0,
            count: 0,
            looks: Looks::new(),
            allocator: Asking::new(),
        }
    }

    /// Writes what happened since the last round, and a checkpoint if one is due.
    pub(super) fn go_round(&mut self) {
        let Some(store) = PROFILER.store() else { return };
        let address = ptr::from_ref(store).addr();
        if self.noted != address {
            *self = Checkpoints { noted: address, ..Checkpoints::new() };
        }
        let now_ns = clock::monotonic_ns();
        let seen = Seen::now(store);
        for (kind, value) in seen.since(self.seen.replace(seen)) {
            self.history.tell(store, &Incident { at_ns: now_ns, kind, value });
        }
        let second = u32::try_from(PROFILER.uptime_ns() / 1_000_000_000).unwrap_or(u32::MAX);
        if let Some(due) = self.history.due(second) {
            self.allocator.ask(now_ns);
            let has_rows = due.has_rows && self.rows.is_due(now_ns);
            let moment = Moment { tick: due.tick, has_rows, at_ns: now_ns, ..self.measure(store, seen.period, now_ns) };
            let mut write = || _ = self.history.write(store, moment);
            if has_rows {
                self.rows.spend(now_ns, write);
            } else {
                write();
            }
        }
    }

    /// What the process is now.
    fn measure(&mut self, store: &Store, period: u64, now_ns: u64) -> Moment {
        self.count = self.count.wrapping_add(1);
        let region = store.region();
        let counted = Moment {
            live_bytes: region.counter(Counter::LiveBytes),
            live_objects: region.counter(Counter::LiveObjects),
            allocated_bytes: region.counter(Counter::AllocatedBytes),
            period,
            ..Moment::default()
        };
        if PROFILER.may_not_open() {
            return counted;
        }
        self.note_kills(store);
        let group = cgroup::memory();
        let resident = dump::resident().unwrap_or_default();
        let pages = backend::page_bytes().into_iter().fold(0, |sum, bytes| sum + bytes as u64);
        let next = keep::last();
        // Of an allocator that is kept and tells nothing everything that may be malloc's is taken for its.
        let is_known = !keep::is_next_kept() || next.kept.is_some();
        let malloc_bytes = is_known.then(|| pages + next.in_use.unwrap_or(0) + next.kept.unwrap_or(0));
        let look = self.looks.take(region, now_ns, resident.all(), malloc_bytes);
        let sums = look.as_ref().map(|look| look.sums).unwrap_or_default();
        let Resident { anonymous_bytes, file_bytes, shared_bytes } = resident;
        Moment {
            resident_bytes: resident.all().or_else(dump::resident_bytes),
            anonymous_bytes,
            file_bytes,
            shared_bytes,
            malloc_bytes,
            java_used_bytes: PROFILER.java_used(),
            java_committed_bytes: look.and_then(|look| look.java_committed),
            classes: sums.words(),
            group_used_bytes: group.map(|limit| limit.used_bytes),
            group_limit_bytes: group.map(|limit| limit.limit_bytes),
            // Without the keeper.
            threads: sys::living_threads().map(|threads| threads.saturating_sub(1)),
            descriptors: self.descriptors(),
            ..counted
        }
    }

    /// Tells that the kernel has killed processes of this control group.
    fn note_kills(&mut self, store: &Store) {
        let Some(kills) = cgroup::kills() else { return };
        if self.kills.replace(kills).is_some_and(|before| kills > before) {
            let at_ns = clock::monotonic_ns();
            self.history.tell(store, &Incident { at_ns, kind: EventKind::OutOfMemory, value: kills });
        }
    }

    /// Open descriptors of the process: the keeper's own are in a table of its own. Kernels from 6.2 on say it as the
    /// folder's size.
    fn descriptors(&mut self) -> Option<u64> {
        const FOLDER: &str = "/proc/self/fd";
        let told = fs::metadata(FOLDER).ok()?.len();
        if told > 0 {
            return Some(told);
        }
        if self.descriptors > MANY && !self.count.is_multiple_of(RARELY) {
            return None;
        }
        self.descriptors = folder::entries(Path::new(FOLDER)).len() as u64;
        Some(self.descriptors).filter(|&count| count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_with_who_made_them() {
        let before = Seen {
            is_active: true,
            period: 1 << 17,
            wanted_period: 1 << 17,
            dumps: 1,
            dumps_failed: 0,
            resets: 0,
            refused: 3,
            refused_threads: 0,
        };
        let told = |now: Seen, before| now.since(before).collect::<Vec<_>>();
        assert_eq!(told(before, None), [(EventKind::SamplingStarted, 1 << 17)]);
        assert_eq!(told(before, Some(before)), []);
        let governed = Seen { period: 1 << 21, ..before };
        assert_eq!(told(governed, Some(before)), [(EventKind::Governor, 1 << 21)]);
        let asked = Seen { period: 1 << 12, wanted_period: 1 << 12, is_active: false, resets: 1, dumps: 3, ..before };
        assert_eq!(
            told(asked, Some(before)),
            [
                (EventKind::SamplingStopped, 1 << 12),
                (EventKind::Rate, 1 << 12),
                (EventKind::Dump, 3),
                (EventKind::Reset, 1)
            ]
        );
    }
}
