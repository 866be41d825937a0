//! What the page knows of time: the classes of resident memory, and marks for dumps and events.

use super::super::history::{self, Told};
use super::super::refusals;
use crate::cli::analyze::report::Report;
use crate::cli::analyze::resident::{Moment, Past};
use crate::cli::analyze::rss::Class;
use crate::cli::inert::clean;
use crate::cli::profile::history::EventKind;
use crate::cli::profile::series::{Dump, Series};
use serde::Serialize;

/// Classes that have an area of their own.
const MOST_CLASSES: usize = 8;

/// Resident memory at each look of the keeper.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Timeline {
    /// Seconds since 1970, ascending.
    times: Vec<f64>,
    /// Classes of it, most first.
    classes: Vec<Area>,
    /// Bytes of the other classes.
    rest: Vec<u64>,
    /// The limit that was in force; `null`: none is known.
    limit: Vec<Option<u64>>,
    /// Threads.
    threads: Vec<Option<u64>>,
    /// Open descriptors.
    descriptors: Vec<Option<u64>>,
    /// When live bytes were noted, seconds since 1970, and how many there were.
    live_times: Vec<f64>,
    /// Bytes.
    live: Vec<u64>,
    /// Objects.
    objects: Vec<u64>,
}

/// A class over time.
#[derive(Serialize)]
struct Area {
    title: &'static str,
    bytes: Vec<u64>,
}

/// Something that happened.
#[derive(Clone, Serialize)]
pub(super) struct Mark {
    /// Seconds since 1970.
    time: f64,
    /// What sort: `dump`, `rate`, `pause`, `failure`, `kill`.
    kind: &'static str,
    /// In words.
    text: String,
}

impl Timeline {
    /// Of the life that the last dump tells of.
    pub(super) fn of(series: &Series) -> Timeline {
        let past = Past::of(series);
        let shown = past.classes(MOST_CLASSES);
        let of_class = |class: Class| past.moments.iter().map(|moment| moment.account.bytes(class)).collect();
        let rest = |moment: &Moment| {
            let others = moment.account.classes.iter().filter(|share| !shown.contains(&share.class));
            others.map(|share| share.bytes).sum()
        };
        let timeline = &series.profile.history.timeline;
        Timeline {
            times: past.moments.iter().map(|moment| moment.time).collect(),
            classes: shown.iter().map(|class| Area { title: class.title(), bytes: of_class(*class) }).collect(),
            rest: past.moments.iter().map(rest).collect(),
            limit: past.moments.iter().map(|moment| moment.group_limit_bytes).collect(),
            threads: past.moments.iter().map(|moment| moment.threads).collect(),
            descriptors: past.moments.iter().map(|moment| moment.descriptors).collect(),
            live_times: timeline.iter().map(|moment| moment.wall_ns as f64 / 1e9).collect(),
            live: timeline.iter().map(|moment| moment.live_bytes.max(0.0) as u64).collect(),
            objects: timeline.iter().map(|moment| moment.live_objects.max(0.0) as u64).collect(),
        }
    }
}

/// Dumps, events and failures, in order of time.
pub(super) fn marks(series: &Series, report: &Report) -> Vec<Mark> {
    let events = Told::of(&series.profile).into_iter().flat_map(|told| told.events);
    let mut marks: Vec<Mark> = events
        .map(|event| Mark { time: event.time, kind: kind(event.what), text: history::sentence(&event) })
        .filter(|mark| mark.kind != "dump")
        .collect();
    marks.extend(series.dumps.iter().filter_map(dump));
    marks.extend(report.failures.iter().map(|failed| Mark {
        time: failed.time,
        kind: "failure",
        text: refusals::sentence(failed),
    }));
    marks.sort_by(|a, b| a.time.total_cmp(&b.time));
    marks
}

fn dump(dump: &Dump) -> Option<Mark> {
    let name = dump.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let reason = dump.metadata.reason.as_deref().map_or(String::new(), |reason| format!(" ({reason})"));
    Some(Mark { time: dump.time()?, kind: "dump", text: clean(&format!("dump {name}{reason}")) })
}

fn kind(what: &str) -> &'static str {
    match EventKind::of_word(what) {
        Some(EventKind::Governor | EventKind::Rate) => "rate",
        Some(EventKind::SamplingStarted | EventKind::SamplingStopped | EventKind::Reset) => "pause",
        Some(EventKind::Dump) => "dump",
        Some(EventKind::OutOfMemory) => "kill",
        Some(EventKind::DumpFailed | EventKind::RefusedMemory | EventKind::RefusedThread) | None => "failure",
    }
}
