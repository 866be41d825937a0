//! What is wrong with the process as a whole, if anything, and when it will meet its limit.
//!
//! Live bytes are only one part of what is resident. If they do not grow and the resident memory does, it is somebody else's;
//! if they shrink and the resident memory stays, the allocator keeps it. Both are said, lest somebody hunts malloc for them.

use super::ages::AgeFacts;
use super::rss::{Account, Class};
use super::trend::{Trend, Verdict};
use super::verdict::{Conclusion, Judgement};
use crate::cli::profile::series::{Dump, Series};
use crate::cli::profile::shape::Metric;
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
        // What is resident can be compared with live bytes only.
        let is_live_bytes = self.series.profile.metric == Metric::InuseBytes;
        let beside_malloc = || self.retention().or_else(|| self.elsewhere()).filter(|_| is_live_bytes);
        let found = self.leaks().or_else(beside_malloc);
        let mut outlook = found.unwrap_or_else(|| self.quiet());
        let last = self.series.last().map(|dump| &dump.metadata);
        outlook.limit_bytes = last.and_then(|last| last.memory_limit_bytes);
        let used = last.and_then(|last| last.rss_bytes.or(last.memory_used_bytes));
        if let (Some(limit), Some(used), Some(rate)) =
            (outlook.limit_bytes, used, outlook.rate.filter(|rate| *rate > 0.0 && is_live_bytes))
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
        let grown = |class: &Class| after.bytes(*class) as f64 - before.bytes(*class) as f64;
        after.classes.iter().map(|share| share.class).max_by(|a, b| grown(a).total_cmp(&grown(b)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::analyze::report::Report;
    use crate::cli::profile::heap_v2;
    use crate::cli::profile::series::SeriesBuilder;
    use crate::cli::symbolize;
    use std::fmt::Write;

    const MIB: u64 = 1 << 20;

    /// A dump of one stack with so many MiB live, taken so many minutes after the first, and further metadata.
    fn dump(minute: u64, live_mib: u64, more: &str) -> String {
        let mut text = String::from("heap_v2/1\n  t*: 0: 0 [0: 0]\n");
        writeln!(text, "@ 0x1000 0x2000\n  t*: {live_mib}: {} [0: 0]\n\nMAPPED_LIBRARIES:\n", live_mib * MIB).unwrap();
        writeln!(text, "# heaptap 1\n# pid: 7\n# token: ab\n# time: 2026-11-25T22:{minute:02}:00Z\n{more}").unwrap();
        text
    }

    fn outlook(dumps: &[String]) -> Outlook {
        let mut builder = SeriesBuilder::default();
        for (number, text) in dumps.iter().enumerate() {
            builder.add(format!("x.7.{number}.i{number}.heap").into(), None, heap_v2::parse(text.as_bytes()).unwrap());
        }
        let mut series = builder.finish();
        symbolize::symbolize(&mut series.profile, &symbolize::Options::default(), &mut |_, _| {});
        Report::of(&series, &[]).outlook
    }

    fn rss(mib: u64) -> String {
        format!("# rss_bytes: {}\n", mib * MIB)
    }

    #[test]
    fn a_leak_and_when_it_meets_the_limit() {
        let limit = format!("# memory_limit_bytes: {}\n", 1000 * MIB);
        let dumps: Vec<String> = (0..4).map(|n| dump(n * 10, 100 + n * 60, &(rss(400 + n * 60) + &limit))).collect();
        let found = outlook(&dumps);
        assert_eq!((found.state, found.look_at), (State::Leaks, Some(Class::MallocLive)), "{found:?}");
        assert!((found.rate.unwrap() * 600.0 / MIB as f64 - 60.0).abs() < 1e-6);
        // 420 MiB are left, at 6 MiB a minute.
        assert!((found.seconds_to_limit.unwrap() / 60.0 - 70.0).abs() < 1e-6, "{found:?}");
        assert_eq!(found.bytes, 180.0 * MIB as f64);
        // Without a limit nobody can say when.
        let unlimited: Vec<String> = (0..4).map(|n| dump(n * 10, 100 + n * 60, &rss(400))).collect();
        assert_eq!(outlook(&unlimited).seconds_to_limit, None);
    }

    #[test]
    fn two_dumps_grow() {
        assert_eq!(outlook(&[dump(0, 100, ""), dump(1, 200, "")]).state, State::Grows);
    }

    #[test]
    fn resident_memory_that_grows_while_live_does_not_is_elsewhere() {
        let classes = |heap: u64| format!("# rss_java_heap: {}\n# rss_malloc: {}\n", heap * MIB, 110 * MIB);
        let dumps: Vec<String> =
            (0..4).map(|n| dump(n * 10, 100, &(rss(400 + n * 60) + &classes(290 + n * 60)))).collect();
        let found = outlook(&dumps);
        assert_eq!((found.state, found.look_at), (State::GrowsElsewhere, Some(Class::JavaHeap)), "{found:?}");
        assert!(found.advice.is_some_and(|advice| advice.contains("heap dump")));
        assert!((found.bytes - 180.0 * MIB as f64).abs() < 1.0);
        // Without classes it is told, but not what.
        let dumps: Vec<String> = (0..4).map(|n| dump(n * 10, 100, &rss(400 + n * 60))).collect();
        let found = outlook(&dumps);
        assert_eq!((found.state, found.look_at), (State::GrowsElsewhere, None), "{found:?}");
    }

    #[test]
    fn what_was_freed_and_stays_resident_is_retention() {
        let live = [500, 400, 250, 100];
        let dumps: Vec<String> = (0..4).map(|n| dump(n * 10, live[n as usize], &rss(600))).collect();
        let found = outlook(&dumps);
        assert_eq!((found.state, found.bytes), (State::AllocatorRetention, 400.0 * MIB as f64), "{found:?}");
        // One dump shows it too, if it tells the classes.
        let one = dump(0, 100, &format!("{}# rss_malloc: {}\n", rss(600), 500 * MIB));
        let found = outlook(&[one]);
        assert_eq!((found.state, found.bytes), (State::AllocatorRetention, 400.0 * MIB as f64), "{found:?}");
        // Freed and given back: nothing to say.
        let back: Vec<String> = (0..4).map(|n| dump(n * 10, live[n as usize], &rss(live[n as usize] + 100))).collect();
        assert_eq!(outlook(&back).state, State::NothingGrows);
    }

    #[test]
    fn where_nothing_grows_the_biggest_class_is_named() {
        let classes = format!("# rss_java_heap: {}\n# rss_malloc: {}\n", 700 * MIB, 110 * MIB);
        let dumps: Vec<String> = (0..4).map(|n| dump(n * 10, 100, &(rss(810) + &classes))).collect();
        let found = outlook(&dumps);
        assert_eq!((found.state, found.look_at), (State::NothingGrows, Some(Class::JavaHeap)), "{found:?}");
    }

    #[test]
    fn what_the_compiler_does_is_noise() {
        let java = "# java: 0x2000 C2Compiler:: C2Compiler::compile_method 0\n";
        let dumps: Vec<String> = [30, 90, 40, 120].iter().zip(0..).map(|(mib, n)| dump(n, *mib, java)).collect();
        let found = outlook(&dumps);
        assert_eq!(found.state, State::JitNoise, "{found:?}");
    }

    #[test]
    fn a_rise_that_stopped_is_a_plateau_and_one_dump_is_unknown() {
        let live = [10, 60, 90, 100, 100, 100, 99, 100];
        let dumps: Vec<String> = live.iter().zip(0..).map(|(mib, n)| dump(n, *mib, "")).collect();
        assert_eq!(outlook(&dumps).state, State::Plateau);
        assert_eq!(outlook(&dumps[..1]).state, State::Unknown);
    }

    #[test]
    fn ages_judge_one_dump() {
        let live: String = (0..12)
            .map(|n| format!("{}/1/1048576 ", crate::wire::ages::live_bin(600_000_000_000 << (n / 4))))
            .collect();
        let uptime = "# uptime_ns: 7200000000000\n# ages: 1\n";
        let leak = dump(0, 12, &format!("{uptime}# age: 0 {live}| 14/4000\n"));
        let found = outlook(&[leak]);
        assert_eq!(found.state, State::Leaks, "{found:?}");
        assert!(found.rate.unwrap() > 0.0 && found.confidence > 0.9, "{found:?}");
        let cache = format!("{}/12/12582912 | 14/4000", crate::wire::ages::live_bin(7_000_000_000_000));
        assert_eq!(outlook(&[dump(0, 12, &format!("{uptime}# age: 0 {cache}\n"))]).state, State::NothingGrows);
    }
}
