//! What a snapshot tells of the time before it, for `heaptap info`: one line for people, all of it as JSON.

use super::units::{bytes, duration};
use crate::cli::profile::Profile;
use crate::cli::profile::history::{Checkpoint, Event, EventKind, History, Past};
use crate::cli::profile::timestamp;
use serde::Serialize;

/// The history of a process.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    /// Since when samples are taken, seconds since 1970.
    pub(crate) observed_since: Option<f64>,
    /// Checkpoints of the process, oldest first.
    pub(crate) timeline: Vec<Moment>,
    /// What happened, oldest first.
    pub(crate) events: Vec<Happened>,
    /// Moments at which every stack was looked at, oldest first; the last is the snapshot's.
    pub(crate) looks: Vec<Look>,
}

/// A checkpoint.
#[derive(Debug, Serialize)]
pub(crate) struct Moment {
    /// Seconds since 1970.
    pub(crate) time: f64,
    /// Live bytes.
    pub(crate) bytes: f64,
    /// Live objects.
    pub(crate) objects: f64,
    /// Bytes requested so far.
    pub(crate) allocated_bytes: f64,
    /// Mean distance of samples in bytes.
    pub(crate) period_bytes: u64,
    /// Resident memory.
    pub(crate) rss_bytes: Option<u64>,
    /// What the control group uses.
    pub(crate) group_used_bytes: Option<u64>,
    /// What it may use.
    pub(crate) group_limit_bytes: Option<u64>,
    /// Threads.
    pub(crate) threads: Option<u64>,
    /// Open descriptors.
    pub(crate) descriptors: Option<u64>,
    /// Bytes in use of the Java heap.
    pub(crate) java_used_bytes: Option<u64>,
    /// Bytes committed to it.
    pub(crate) java_committed_bytes: Option<u64>,
}

/// An event.
#[derive(Debug, Serialize)]
pub(crate) struct Happened {
    /// Seconds since 1970.
    pub(crate) time: f64,
    /// What it was.
    pub(crate) what: &'static str,
    /// Its number.
    pub(crate) value: u64,
}

/// What the stacks held together.
#[derive(Debug, Serialize)]
pub(crate) struct Look {
    /// Seconds since 1970.
    pub(crate) time: f64,
    /// Live bytes of all stacks.
    pub(crate) bytes: f64,
    /// Live objects of all stacks.
    pub(crate) objects: f64,
    /// Bytes that all stacks had allocated.
    pub(crate) allocated_bytes: f64,
    /// Live bytes of those in no row of this snapshot: nothing of theirs is live now, or they were recycled.
    pub(crate) other_bytes: f64,
    /// Stacks that held something.
    pub(crate) stacks: usize,
}

impl Told {
    /// The history of a profile; `None`: it tells none.
    pub(crate) fn of(profile: &Profile) -> Option<Told> {
        let history = &profile.history;
        if history == &History::default() {
            return None;
        }
        let looks = history.stack_times_ns.iter().zip(&history.other).enumerate();
        Some(Told {
            observed_since: (history.observed_since_ns > 0).then(|| seconds(history.observed_since_ns)),
            timeline: history.timeline.iter().map(moment).collect(),
            events: history.events.iter().map(happened).collect(),
            looks: looks.map(|(at, (time, other))| look(profile, at, *time, other)).collect(),
        })
    }

    /// In one sentence.
    pub(crate) fn line(&self) -> String {
        let first = self.timeline.first().map_or_else(|| "not yet".to_owned(), |first| timestamp::display(first.time));
        let step = self.timeline.windows(2).last().and_then(|pair| Some(pair.last()?.time - pair.first()?.time));
        let step = step.map_or(String::new(), |step| format!(" (every {})", duration(step.round())));
        let looks = self.looks.len().saturating_sub(1);
        format!("{} checkpoints{step} since {first}, {looks} with every stack", self.timeline.len())
    }

    /// The events, each as a line.
    pub(crate) fn event_lines(&self) -> impl Iterator<Item = String> + '_ {
        self.events.iter().map(|event| format!("{}: {}", timestamp::display(event.time), sentence(event)))
    }
}

/// An event in words.
pub(super) fn sentence(event: &Happened) -> String {
    let kind = EventKind::of_word(event.what);
    let period = bytes(event.value as f64);
    match kind {
        Some(EventKind::Governor) => {
            format!("the governor set the period to {period}, to keep the profiler's part of the CPU time in bounds")
        }
        Some(EventKind::Rate) => format!("the period was set to {period}"),
        Some(EventKind::SamplingStarted) => format!("sampling began, one sample per {period}"),
        Some(EventKind::SamplingStopped) => "sampling was switched off".to_owned(),
        Some(EventKind::Dump) => format!("dump {}", event.value),
        Some(EventKind::DumpFailed) => format!("{} dumps could not be written", event.value),
        Some(EventKind::Reset) => "all samples were forgotten".to_owned(),
        Some(EventKind::RefusedMemory) => format!("{} requests for memory were refused", event.value),
        Some(EventKind::RefusedThread) => format!("{} threads could not be started", event.value),
        Some(EventKind::OutOfMemory) => {
            format!("the kernel has killed {} processes of this group for memory", event.value)
        }
        None => event.what.to_owned(),
    }
}

fn moment(checkpoint: &Checkpoint) -> Moment {
    Moment {
        time: seconds(checkpoint.wall_ns),
        bytes: checkpoint.live_bytes,
        objects: checkpoint.live_objects.round(),
        allocated_bytes: checkpoint.allocated_bytes,
        period_bytes: checkpoint.period_bytes,
        rss_bytes: checkpoint.resident_bytes,
        group_used_bytes: checkpoint.group_used_bytes,
        group_limit_bytes: checkpoint.group_limit_bytes,
        threads: checkpoint.threads,
        descriptors: checkpoint.descriptors,
        java_used_bytes: checkpoint.java_used_bytes,
        java_committed_bytes: checkpoint.java_committed_bytes,
    }
}

fn happened(event: &Event) -> Happened {
    Happened { time: seconds(event.wall_ns), what: event.kind.word(), value: event.value }
}

fn look(profile: &Profile, at: usize, time_ns: u64, other: &Past) -> Look {
    let rows = || profile.samples.iter().filter_map(|sample| sample.past.get(at));
    let mut sum = *other;
    rows().for_each(|past| sum += *past);
    Look {
        time: seconds(time_ns),
        bytes: sum.live_bytes,
        objects: sum.live_objects.round(),
        allocated_bytes: sum.allocated_bytes,
        other_bytes: other.live_bytes,
        stacks: rows().filter(|past| past.live_bytes > 0.0).count(),
    }
}

fn seconds(wall_ns: u64) -> f64 {
    wall_ns as f64 / 1e9
}
