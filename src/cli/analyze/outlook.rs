//! What is wrong with the process as a whole, if anything, and when it will meet its limit.
//!
//! Live bytes are only one part of what is resident. If they do not grow and the resident memory does, it is somebody else's;
//! if they shrink and the resident memory stays, the allocator keeps it. Both are said, lest somebody hunts malloc for them.

use super::ages::AgeFacts;
use super::rss::{Account, Class};
use super::trend::{Trend, Verdict};
use super::verdict::{Conclusion, Judgement};
use crate::cli::profile::series::{Dump, Series};
use serde::Serialize;

/// Change of resident memory that is no noise: a share of it, and at least so many bytes.
const RSS_NOISE: (f64, f64) = (0.05, (16 << 20) as f64);
/// Memory that an allocator may keep beside what is live: a share of it, and at least so many bytes.
const RETAINED: (f64, f64) = (0.3, (64 << 20) as f64);

/// What the process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// Some place leaks.
    Leaks,
    /// Some place grows; nobody knows why yet.
    Grows,
    /// Resident memory grows, and it is not what malloc gave out.
    GrowsElsewhere,
    /// The allocator keeps much more than is live.
    AllocatorRetention,
    /// What moved is the JIT compiler's.
    JitNoise,
    /// Rose, then stopped.
    Plateau,
    /// Nothing grows beyond noise.
    NothingGrows,
    /// One dump, and no ages that tell.
    Unknown,
}

/// The verdict on the process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Outlook {
    /// What it does.
    pub(crate) state: State,
    /// Bytes that this is about: grown, or kept.
    pub(crate) bytes: f64,
    /// How fast, bytes a second.
    pub(crate) rate: Option<f64>,
    /// How sure, 0 to 1; 0 where no figure stands behind it.
    pub(crate) confidence: f64,
    /// The class of memory to look at.
    pub(crate) look_at: Option<Class>,
    /// What to do there.
    pub(crate) advice: Option<&'static str>,
    /// What the control group may use.
    pub(crate) limit_bytes: Option<u64>,
    /// When it will, if it goes on like this.
    pub(crate) seconds_to_limit: Option<f64>,
}

/// What an outlook is worked out from.
pub(super) struct Known<'a> {
    /// The dumps.
    pub(super) series: &'a Series,
    /// Whether their times are known.
    pub(super) has_times: bool,
    /// All live bytes over the series.
    pub(super) total: &'a Trend,
    /// The places.
    pub(super) places: Vec<Place<'a>>,
    /// Classes of the last dump.
    pub(super) account: Option<&'a Account>,
}

/// A row as far as it matters here.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) trend: &'a Trend,
    pub(super) judgement: &'a Judgement,
    pub(super) ages: Option<&'a AgeFacts>,
}

impl Known<'_> {
    /// The verdict.
    pub(super) fn outlook(&self) -> Outlook {
        let found = self.leaks().or_else(|| self.retention()).or_else(|| self.elsewhere());
        let mut outlook = found.unwrap_or_else(|| self.quiet());
        let last = self.series.last().map(|dump| &dump.metadata);
        outlook.limit_bytes = last.and_then(|last| last.memory_limit_bytes);
        let used = last.and_then(|last| last.rss_bytes.or(last.memory_used_bytes));
        if let (Some(limit), Some(used), Some(rate)) =
            (outlook.limit_bytes, used, outlook.rate.filter(|rate| *rate > 0.0))
        {
            outlook.seconds_to_limit = Some(limit.saturating_sub(used) as f64 / rate);
        }
        outlook.advice = outlook.advice.or_else(|| Some(outlook.look_at?.advice()));
        outlook
    }

    /// Places that leak, else those that grow.
    fn leaks(&self) -> Option<Outlook> {
        let sum = |verdict: Conclusion, state: State| {
            let rows = || self.places.iter().filter(|row| row.judgement.verdict == verdict);
            let confidence = rows().map(|row| row.judgement.confidence).fold(0.0, f64::max);
            let bytes = |row: &Place<'_>| match &row.ages {
                Some(ages) if row.judgement.is_by_ages => ages.outliving_bytes,
                _ => row.trend.change_bytes(),
            };
            let rate: f64 = rows().filter_map(|row| row.judgement.rate).sum();
            let mut outlook = about(state, rows().map(bytes).sum(), rows().next().map(|_| Class::MallocLive));
            outlook.rate = (rate > 0.0).then_some(rate);
            outlook.confidence = confidence;
            rows().next().map(|_| outlook)
        };
        sum(Conclusion::Leak, State::Leaks).or_else(|| sum(Conclusion::Grows, State::Grows))
    }

    /// Much more resident than live, as the classes say; or live bytes that went while the resident ones stayed.
    fn retention(&self) -> Option<Outlook> {
        if let Some(account) = self.account {
            let (live, kept) = (account.bytes(Class::MallocLive) as f64, account.bytes(Class::MallocRetained) as f64);
            let is_much = kept > RETAINED.1 && kept > RETAINED.0 * (live + kept);
            return is_much.then(|| about(State::AllocatorRetention, kept, Some(Class::MallocRetained)));
        }
        let resident = self.resident()?;
        let (shrank, stayed) = (-self.total.change_bytes(), resident.last()? - resident.first()?);
        let is_kept = self.total.verdict == Verdict::Shrinks && shrank > RETAINED.1 && stayed > -0.5 * shrank;
        is_kept.then(|| about(State::AllocatorRetention, shrank + stayed.min(0.0), Some(Class::MallocRetained)))
    }

    /// Resident memory that grows though live bytes do not.
    fn elsewhere(&self) -> Option<Outlook> {
        let resident = self.resident()?;
        let (first, last) = (*resident.first()?, *resident.last()?);
        let trend = Trend::of(&self.times(), &resident, 0);
        let grown = last - first - self.total.change_bytes().max(0.0);
        if grown < (RSS_NOISE.0 * first).max(RSS_NOISE.1) || trend.verdict != Verdict::Grows {
            return None;
        }
        let mut outlook = about(State::GrowsElsewhere, grown, self.growing_class());
        outlook.rate = self.has_times.then_some(trend.slope);
        Some(outlook)
    }

    /// Nothing is wrong, as far as can be told.
    fn quiet(&self) -> Outlook {
        let rows = || self.places.iter();
        let change = |verdict: Conclusion| {
            rows().filter(|row| row.judgement.verdict == verdict).map(|row| row.trend.change_bytes().abs()).sum::<f64>()
        };
        let is_judged = rows().any(|row| row.judgement.is_by_ages);
        let state = match self.total.verdict {
            Verdict::Unknown if !is_judged => State::Unknown,
            _ if change(Conclusion::Jit) > 0.5 * self.total.change_bytes().abs() && change(Conclusion::Jit) > 0.0 => {
                State::JitNoise
            }
            Verdict::Plateau => State::Plateau,
            Verdict::Grows => State::Grows,
            _ => State::NothingGrows,
        };
        let biggest = self.account.and_then(|account| account.classes.first()).map(|share| share.class);
        let bytes = if state == State::JitNoise { change(Conclusion::Jit) } else { self.total.change_bytes() };
        about(state, bytes, biggest.filter(|_| state == State::NothingGrows))
    }

    fn times(&self) -> Vec<f64> {
        self.series.seconds().unwrap_or_else(|| (0..self.series.dumps.len()).map(|n| n as f64).collect())
    }

    /// Resident bytes of each dump, if all say it.
    fn resident(&self) -> Option<Vec<f64>> {
        let of = |dump: &Dump| dump.metadata.rss_bytes.map(|bytes| bytes as f64);
        let resident: Vec<f64> = self.series.dumps.iter().map(of).collect::<Option<_>>()?;
        (resident.len() > 1).then_some(resident)
    }

    /// The class that grew most from the first dump to the last, where both tell.
    fn growing_class(&self) -> Option<Class> {
        let first = self.series.dumps.first()?;
        let before = Account::of_metadata(&first.metadata.rss_classes)?.with_live(first.total.bytes);
        let after = self.account?;
        let grown = |class: Class| after.bytes(class) as i64 - before.bytes(class) as i64;
        after.classes.iter().map(|share| share.class).max_by_key(|class| grown(*class))
    }
}

fn about(state: State, bytes: f64, look_at: Option<Class>) -> Outlook {
    Outlook {
        state,
        bytes,
        rate: None,
        confidence: 0.0,
        look_at,
        advice: None,
        limit_bytes: None,
        seconds_to_limit: None,
    }
}
