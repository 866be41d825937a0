//! Memory that is not malloc's: who mapped it, and when. It has moments of its own, those of the last dump's history.

use super::nodes::Nodes;
use crate::cli::analyze::courses::Courses;
use crate::cli::analyze::mapped::MappedPlace;
use crate::cli::analyze::moments::{Moments, Point};
use crate::cli::analyze::report::Report;
use crate::cli::inert::clean;
use crate::cli::profile::series::Series;
use serde::Serialize;

/// Nodes of the tree.
const NODES: usize = 5_000;
/// Frames of a place.
const FRAMES: usize = 24;
/// Mappings are whole pages.
const PAGE: f64 = 4096.0;

/// The call tree of what was mapped.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MappedPart {
    /// Seconds since 1970, or numbers.
    moments: Vec<f64>,
    has_times: bool,
    #[serde(flatten)]
    nodes: Nodes,
}

/// A place that maps, or that starts threads.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MappedRow {
    label: String,
    /// Bytes that may be touched.
    bytes: u64,
    resident: Option<u64>,
    /// Ranges of addresses, or threads.
    ranges: u64,
    /// Bytes at each moment of the part; empty where that is not known.
    course: Vec<u64>,
    /// Its stack, from the system call outwards.
    frames: Vec<String>,
}

impl MappedPart {
    pub(super) fn of(series: &Series, moments: &Moments) -> MappedPart {
        let mut courses = Courses::of(series, moments);
        courses.prune(NODES);
        let nodes = Nodes::of(&courses, &series.profile, PAGE);
        MappedPart { moments: moments.clock(series), has_times: moments.has_times, nodes }
    }
}

/// The places of a report, biggest first, at the moments of the part.
pub(super) fn rows(report: &Report, moments: &Moments) -> Vec<MappedRow> {
    report.mapped.iter().flat_map(|mapped| &mapped.places).map(|place| row(place, &moments.points)).collect()
}

fn row(place: &MappedPlace, points: &[Point]) -> MappedRow {
    let what = match place.what {
        "thread" => "stacks of threads".to_owned(),
        what => format!("{what} memory"),
    };
    let at = |point: &Point| match point {
        Point::Look(look) => place.past.get(*look).map_or(0, |past| past.live_bytes.max(0.0) as u64),
        Point::Dump(_) => place.bytes,
    };
    MappedRow {
        label: clean(&format!("{} ({what})", place.place)),
        bytes: place.bytes,
        resident: place.resident_bytes,
        ranges: place.ranges,
        course: if place.past.is_empty() { Vec::new() } else { points.iter().map(at).collect() },
        frames: place.frames.iter().take(FRAMES).map(|name| clean(name)).collect(),
    }
}
