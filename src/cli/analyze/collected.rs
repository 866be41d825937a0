//! What a garbage collection freed, place by place: the answer of `leaks --after-gc`.
//!
//! The JSON form is a promise like that of `report`.

use super::groups::Rows;
use super::growth::Growth;
use super::place::Place;
use super::report::Process;
use super::rows::Hint;
use crate::cli::profile::series::Series;
use serde::Serialize;

/// Share of a place's bytes that makes it one that waited, or one that is held.
const MOST: f64 = 0.5;

/// What it was about a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fate {
    /// Most of it went: nobody referred to it any more.
    Waited,
    /// Most of it stayed: somebody holds it.
    Held,
}

/// Before and after a collection.
#[derive(Debug, Serialize)]
pub(crate) struct Collection {
    /// Version of this form.
    pub(crate) schema: u32,
    /// Whose memory it is.
    pub(crate) process: Process,
    /// Live bytes before.
    pub(crate) before_bytes: f64,
    /// Live bytes after.
    pub(crate) after_bytes: f64,
    /// What a difference must exceed to be more than sampling noise.
    pub(crate) noise_bytes: f64,
    /// Biggest before the collection first.
    pub(crate) rows: Vec<CollectedRow>,
}

/// One place.
#[derive(Debug, Serialize)]
pub(crate) struct CollectedRow {
    /// What it is, in words.
    pub(crate) label: String,
    /// The same, part by part.
    pub(crate) place: Place,
    /// Frames, leaf first.
    pub(crate) frames: Vec<String>,
    /// What became of it.
    pub(crate) fate: Fate,
    /// Live bytes before.
    pub(crate) before_bytes: f64,
    /// Live bytes after.
    pub(crate) after_bytes: f64,
    /// What such a place usually is.
    pub(crate) hint: Option<Hint>,
}

impl CollectedRow {
    /// Bytes that went.
    pub(crate) fn freed_bytes(&self) -> f64 {
        (self.before_bytes - self.after_bytes).max(0.0)
    }
}

impl Collection {
    /// Of a named series of two: before and after.
    pub(crate) fn of(pair: &Series) -> Collection {
        let growth = Growth::of(pair, Rows::default());
        let mut rows: Vec<CollectedRow> = growth
            .rows
            .into_iter()
            .filter_map(|row| {
                let (before, after) = (row.trend.first_bytes, row.trend.last_bytes);
                // What came meanwhile is neither.
                (before >= 0.5).then_some(CollectedRow {
                    label: row.label,
                    place: row.place,
                    frames: row.frames,
                    fate: if before - after > MOST * before { Fate::Waited } else { Fate::Held },
                    before_bytes: before,
                    after_bytes: after,
                    hint: row.hint,
                })
            })
            .collect();
        rows.sort_by(|a, b| b.before_bytes.total_cmp(&a.before_bytes).then_with(|| a.frames.cmp(&b.frames)));
        Collection {
            schema: 1,
            process: growth.process,
            before_bytes: growth.total.first_bytes,
            after_bytes: growth.total.last_bytes,
            noise_bytes: growth.total.noise_bytes,
            rows,
        }
    }
}
