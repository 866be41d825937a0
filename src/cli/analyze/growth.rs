//! What changed over a series, row by row: the answer of `growth`, `leaks` and `diff`.
//!
//! The JSON form is a promise like that of `report`.

use super::culprits::Culprits;
use super::groups::{By, Group, What, groups};
use super::report::{DumpFacts, Hint, Process, dump_facts, process};
use super::trend::{Trend, Verdict};
use crate::cli::profile::Profile;
use crate::cli::profile::series::Series;
use serde::Serialize;

/// Rows kept of a profile of any size.
const ROWS: usize = 2000;

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
        Growth {
            schema: 1,
            process: process(series),
            dumps: series.dumps.iter().map(dump_facts).collect(),
            period_bytes,
            has_times,
            by,
            total: Trend::of(&times, &history, period_bytes),
            history,
            rows: rows(series, by, &times),
        }
    }

    /// Keeps what grows, and kept growing for most of the time: the suspects.
    pub(crate) fn retain_suspects(&mut self) {
        self.rows.retain(|row| row.trend.verdict == Verdict::Grows && row.trend.rising >= 0.6);
    }
}

/// All rows, biggest growth first. Of tens of thousands only the ends of the list are shown anywhere:
/// rows that changed least are left out.
fn rows(series: &Series, by: By, times: &[f64]) -> Vec<GrowthRow> {
    let profile = &series.profile;
    let judge = |group: Group| (Trend::of(times, &group.bytes, profile.period_bytes), group);
    let mut judged: Vec<(Trend, Group)> = groups(series, by).into_iter().map(judge).collect();
    judged.retain(|(_, group)| group.bytes.iter().any(|bytes| *bytes >= 0.5));
    judged.sort_by(|(a, _), (b, _)| b.change_bytes().abs().total_cmp(&a.change_bytes().abs()));
    judged.truncate(ROWS);
    let culprits = Culprits::of(profile);
    let mut rows: Vec<GrowthRow> =
        judged.into_iter().map(|(trend, group)| row(profile, &culprits, trend, group)).collect();
    rows.sort_by(|a, b| {
        b.trend.change_bytes().total_cmp(&a.trend.change_bytes()).then_with(|| a.frames.cmp(&b.frames))
    });
    rows
}

fn row(profile: &Profile, culprits: &Culprits, trend: Trend, group: Group) -> GrowthRow {
    let culprit = match &group.what {
        What::Site(site) => culprits.recognise(site.frames.iter().map(|line| line.function)),
        What::Name(name) => culprits.of_name(name),
    };
    GrowthRow {
        label: group.label(profile),
        frames: group.frames(profile),
        objects: group.value.objects,
        trend,
        history: group.bytes,
        hint: culprit.map(|culprit| Hint { title: culprit.title, advice: culprit.advice }),
    }
}
