//! What changed over a series, row by row: the answer of `growth`, `leaks` and `diff`.
//!
//! The JSON form is a promise like that of `report`.

use super::culprits;
use super::groups::{By, Group, groups};
use super::report::{DumpFacts, Hint, Process, dump_facts, process};
use super::trend::{Trend, Verdict};
use crate::cli::profile::series::Series;
use serde::Serialize;

/// The change of one series.
#[derive(Debug, Serialize)]
pub(crate) struct Growth {
    /// Version of this form.
    pub(crate) schema: u32,
    /// Whose memory it is.
    pub(crate) process: Process,
    /// The dumps, in order.
    pub(crate) dumps: Vec<DumpFacts>,
    /// Mean distance of samples in bytes.
    pub(crate) period_bytes: u64,
    /// Whether slopes are per second (else per dump).
    pub(crate) has_times: bool,
    /// What a row is.
    pub(crate) by: By,
    /// All live bytes.
    pub(crate) total: Trend,
    /// Live bytes of each dump.
    pub(crate) history: Vec<f64>,
    /// Biggest growth first, biggest loss last.
    pub(crate) rows: Vec<GrowthRow>,
}

/// One row of it.
#[derive(Debug, Serialize)]
pub(crate) struct GrowthRow {
    /// What it is, in words.
    pub(crate) label: String,
    /// Frames, leaf first (one name for groups).
    pub(crate) frames: Vec<String>,
    /// Live objects in the last dump.
    pub(crate) objects: f64,
    /// The judgement.
    pub(crate) trend: Trend,
    /// Live bytes in each dump.
    pub(crate) history: Vec<f64>,
    /// What such a row usually is.
    pub(crate) hint: Option<Hint>,
}

impl Growth {
    /// Works it out for a named series. Rows that never held anything are left out.
    pub(crate) fn of(series: &Series, by: By) -> Growth {
        let seconds = series.seconds();
        let has_times = seconds.is_some();
        let times = seconds.unwrap_or_else(|| (0..series.dumps.len()).map(|n| n as f64).collect());
        let history: Vec<f64> = series.dumps.iter().map(|dump| dump.total.bytes).collect();
        let period_bytes = series.profile.period_bytes;
        let mut rows: Vec<GrowthRow> =
            groups(series, by).into_iter().map(|group| row(group, &times, period_bytes)).collect();
        rows.retain(|row| row.history.iter().any(|bytes| *bytes >= 0.5));
        rows.sort_by(|a, b| {
            b.trend.change_bytes().total_cmp(&a.trend.change_bytes()).then_with(|| a.frames.cmp(&b.frames))
        });
        Growth {
            schema: 1,
            process: process(series),
            dumps: series.dumps.iter().map(dump_facts).collect(),
            period_bytes,
            has_times,
            by,
            total: Trend::of(&times, &history, period_bytes),
            history,
            rows,
        }
    }

    /// Keeps what grows, and kept growing for most of the time: the suspects.
    pub(crate) fn retain_suspects(&mut self) {
        self.rows.retain(|row| row.trend.verdict == Verdict::Grows && row.trend.rising >= 0.6);
    }
}

fn row(group: Group, times: &[f64], period_bytes: u64) -> GrowthRow {
    let culprit = culprits::recognise(group.frames.iter().map(String::as_str));
    GrowthRow {
        label: group.label,
        frames: group.frames,
        objects: group.value.objects,
        trend: Trend::of(times, &group.bytes, period_bytes),
        history: group.bytes,
        hint: culprit.map(|culprit| Hint { title: culprit.title, advice: culprit.advice }),
    }
}
