//! What changed over a series, row by row: the answer of `growth`, `leaks` and `diff`.
//!
//! The JSON form is a promise like that of `report`.

use super::ages::AgeFacts;
use super::groups::{By, Group, Rows, groups};
use super::lost::Lost;
use super::maker::Maker;
use super::outlook::{Known, Outlook};
use super::place::Place;
use super::places::places;
use super::report::{DumpFacts, Process, account, dump_facts, process};
use super::rows::{Hint, Judge, Row};
use super::sampling::Sampling;
use super::small::Small;
use super::trend::Trend;
use super::verdict::Judgement;
use crate::cli::profile::metric::Metric;
use crate::cli::profile::series::Series;
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
    /// The moments that verdicts rest on: the dumps, and those that the last one's history tells of; seconds from the
    /// first (or numbers).
    pub(crate) moments: Vec<f64>,
    /// What was done to the sampling.
    pub(crate) sampling: Sampling,
    /// What stands in the place of bytes: with a count, all `bytes` but those of `dumps` and `outlook` are objects, and
    /// `objects` bytes.
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
    /// In words: samples that were lost, and why.
    #[serde(skip)]
    pub(crate) lost: Lost,
    /// Biggest growth first, biggest loss last.
    pub(crate) rows: Vec<GrowthRow>,
    /// Of suspects: the biggest places that are none.
    pub(crate) others: Vec<GrowthRow>,
    /// Small objects that are never freed, by number.
    pub(crate) small: Small,
}

/// One row of it.
#[derive(Debug, Serialize)]
pub(crate) struct GrowthRow {
    /// What it is, in words.
    pub(crate) label: String,
    /// The same, part by part.
    pub(crate) place: Place,
    /// Frames, leaf first (one name for groups).
    pub(crate) frames: Vec<String>,
    /// Call stacks of it that hold something in the last dump.
    pub(crate) stacks: usize,
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
    /// Live bytes at each moment.
    pub(crate) course: Vec<f64>,
    /// The Java constructor that allocates it.
    pub(crate) maker: Option<Maker>,
    /// What such a row usually is.
    pub(crate) hint: Option<Hint>,
}

impl Growth {
    /// Works it out for a named series. Rows that never held anything are left out.
    pub(crate) fn of(series: &Series, kind: Rows) -> Growth {
        let judge = Judge::of(series);
        let history: Vec<f64> = series.dumps.iter().map(|dump| dump.total.bytes).collect();
        let period_bytes = series.profile.period_bytes;
        let total = judge.total();
        let metadata = &series.profile.metadata;
        let account = account(&series.profile, metadata, series.profile.metric, series.profile.total());
        let (places, _) = places(series, &judge);
        let known =
            Known { series, moments: &judge.moments, total: &total, places: &places, account: account.as_ref() };
        let outlook = known.outlook();
        let small = Small::of(series, &judge.moments, &places);
        let judged = if kind.by == By::Site { places } else { rows(series, kind, &judge) };
        let mut rows: Vec<GrowthRow> = judged.into_iter().map(|row| GrowthRow::of(series, &judge, row)).collect();
        rows.retain(|row| row.course.iter().any(|bytes| *bytes >= 0.5));
        let change = |row: &GrowthRow| row.trend.change_bytes();
        rows.sort_by(|a, b| change(b).total_cmp(&change(a)).then_with(|| a.frames.cmp(&b.frames)));
        Growth {
            schema: 1,
            process: process(series),
            dumps: series.dumps.iter().map(dump_facts).collect(),
            period_bytes,
            has_times: judge.moments.has_times,
            moments: judge.moments.times.clone(),
            sampling: judge.moments.sampling.clone(),
            metric: series.profile.metric,
            by: kind.by,
            depth: kind.depth,
            total,
            history,
            outlook,
            lost: Lost::of(metadata, period_bytes),
            rows,
            others: Vec::new(),
            small,
        }
    }

    /// Seconds from the first moment to the last.
    pub(crate) fn span_seconds(&self) -> Option<f64> {
        self.moments.last().copied().filter(|_| self.has_times && self.moments.len() > 1)
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

impl GrowthRow {
    fn of(series: &Series, judge: &Judge<'_>, row: Row) -> GrowthRow {
        let Row { group, trend, judgement, ages, hint } = row;
        let place = group.place(&series.profile);
        let maker = Maker::of(&group, &series.profile);
        GrowthRow {
            label: place.label(),
            place,
            frames: group.frames(&series.profile),
            stacks: group.track.holding,
            objects: group.track.value.objects,
            trend,
            judgement,
            ages,
            history: judge.moments.of_dumps(&group.track.bytes),
            course: group.track.bytes,
            maker,
            hint,
        }
    }
}

/// All rows of a kind. Of tens of thousands only the ends of the list are shown anywhere: rows that changed least are
/// left out.
fn rows(series: &Series, kind: Rows, judge: &Judge<'_>) -> Vec<Row> {
    let mut all = groups(series, kind, &judge.moments, (&judge.kinds, &judge.owners));
    let tested = all.len();
    // One moment changes nothing; then size is what counts.
    let weight = |group: &Group| match group.track.bytes.as_slice() {
        [first, .., last] => (last - first).abs(),
        _ => group.track.value.bytes,
    };
    all.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    all.truncate(ROWS);
    all.into_iter().map(|group| judge.row(group, tested)).collect()
}
