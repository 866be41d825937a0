//! What changed over a series, row by row: the answer of `growth`, `leaks` and `diff`.
//!
//! The JSON form is a promise like that of `report`.

use super::ages::AgeFacts;
use super::groups::{By, Group, Rows, groups};
use super::outlook::{Known, Outlook, Place};
use super::report::{DumpFacts, Process, account, dump_facts, process};
use super::rows::{Hint, Judge, Row};
use super::trend::Trend;
use super::verdict::Judgement;
use crate::cli::profile::series::Series;
use crate::cli::profile::shape::Metric;
use serde::Serialize;

/// Rows kept of a profile of any size.
const ROWS: usize = 2000;
/// Places kept that are no suspects.
const OTHERS: usize = 10;

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
    /// What stands in the place of bytes: with a count, all `bytes` but those of `dumps` and `outlook` are objects, and `objects` bytes.
    pub(crate) metric: Metric,
    /// What a row is.
    pub(crate) by: By,
    /// Of stacks: how many frames tell rows apart.
    pub(crate) depth: Option<usize>,
    /// All live bytes.
    pub(crate) total: Trend,
    /// Live bytes of each dump.
    pub(crate) history: Vec<f64>,
    /// The verdict on the whole.
    pub(crate) outlook: Outlook,
    /// Biggest growth first, biggest loss last.
    pub(crate) rows: Vec<GrowthRow>,
    /// Of suspects: the biggest places that are none.
    pub(crate) others: Vec<GrowthRow>,
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
    /// Live bytes over the series.
    pub(crate) trend: Trend,
    /// What it is.
    pub(crate) judgement: Judgement,
    /// How old its objects are, where the last dump tells it.
    pub(crate) ages: Option<AgeFacts>,
    /// Live bytes in each dump.
    pub(crate) history: Vec<f64>,
    /// What such a row usually is.
    pub(crate) hint: Option<Hint>,
}

impl Growth {
    /// Works it out for a named series. Rows that never held anything are left out.
    pub(crate) fn of(series: &Series, kind: Rows) -> Growth {
        let judge = Judge::of(series);
        let history: Vec<f64> = series.dumps.iter().map(|dump| dump.total.bytes).collect();
        let period_bytes = series.profile.period_bytes;
        let (total, rows) = (judge.trend(&history, series.profile.total()), rows(series, kind, &judge));
        let metadata = &series.profile.metadata;
        let account = account(metadata, series.profile.metric, series.profile.total());
        let places =
            rows.iter().map(|row| Place { trend: &row.trend, judgement: &row.judgement, ages: row.ages.as_ref() });
        let known = Known {
            series,
            has_times: judge.has_times,
            total: &total,
            places: places.collect(),
            account: account.as_ref(),
        };
        let outlook = known.outlook();
        Growth {
            schema: 1,
            process: process(series),
            dumps: series.dumps.iter().map(dump_facts).collect(),
            period_bytes,
            has_times: judge.has_times,
            metric: series.profile.metric,
            by: kind.by,
            depth: kind.depth,
            total,
            history,
            outlook,
            rows,
            others: Vec::new(),
        }
    }

    /// Keeps what leaks, or grows and may: the suspects, the fastest first; and the biggest of the others.
    pub(crate) fn retain_suspects(&mut self) {
        let is_suspect = |row: &GrowthRow| row.judgement.verdict.is_suspect();
        let (suspects, others) = std::mem::take(&mut self.rows).into_iter().partition(is_suspect);
        (self.rows, self.others) = (suspects, others);
        let rate = |row: &GrowthRow| row.judgement.rate.unwrap_or(row.trend.slope);
        self.rows.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
        self.others.sort_by(|a, b| b.trend.last_bytes.total_cmp(&a.trend.last_bytes));
        self.others.truncate(OTHERS);
    }
}

/// All rows, biggest growth first. Of tens of thousands only the ends of the list are shown anywhere:
/// rows that changed least are left out.
fn rows(series: &Series, kind: Rows, judge: &Judge<'_>) -> Vec<GrowthRow> {
    let mut judged: Vec<(Trend, Group)> =
        groups(series, kind).into_iter().map(|group| (judge.trend(&group.bytes, group.value), group)).collect();
    judged.retain(|(_, group)| group.bytes.iter().any(|bytes| *bytes >= 0.5));
    // One dump changes nothing; then size is what counts.
    let weight = |trend: &Trend| if series.dumps.len() < 2 { trend.last_bytes } else { trend.change_bytes().abs() };
    judged.sort_by(|(a, _), (b, _)| weight(b).total_cmp(&weight(a)));
    judged.truncate(ROWS);
    let row = |(trend, group): (Trend, Group)| {
        let Row { judgement, ages, hint } = judge.row(&group, &trend);
        let (label, frames) = (group.label(&series.profile), group.frames(&series.profile));
        GrowthRow { label, frames, objects: group.value.objects, trend, judgement, ages, history: group.bytes, hint }
    };
    let mut rows: Vec<GrowthRow> = judged.into_iter().map(row).collect();
    let change = |row: &GrowthRow| row.trend.change_bytes();
    rows.sort_by(|a, b| change(b).total_cmp(&change(a)).then_with(|| a.frames.cmp(&b.frames)));
    rows
}
