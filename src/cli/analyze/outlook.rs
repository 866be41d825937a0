//! What is wrong with the process as a whole, if anything, and when it will meet its limit.
//!
//! Live bytes are only one part of what is resident. If they do not grow and the resident memory does, it is somebody
//! else's; if they shrink and the resident memory stays, the allocator keeps it. Both are said, so that malloc is not
//! searched for them. Neither is said where as much was allocated that the tap could not follow ([`Lost`]): it may be
//! that.
//!
//! The headline follows from the places (`places`). What leaks comes first, then what grows; else what most of a change
//! is made of: if the rows are busier, fill, or are the compiler's, so is the process. Whether anything could be judged
//! at all is a word of its own (`is_judged`): nothing is acquitted by default.

use super::chance::FALSE_ALARMS;
use super::lost::Lost;
use super::moments::Moments;
use super::resident::Past;
use super::rows::Row;
use super::rss::{Account, Class};
use super::shape::Shape;
use super::trend::{Trend, Verdict};
use super::verdict::Conclusion;
use crate::cli::profile::metric::Metric;
use crate::cli::profile::series::{Dump, Series};
use serde::Serialize;

/// Change of resident memory that is no noise: a share of it, and at least so many bytes.
const RSS_NOISE: (f64, f64) = (0.05, (16 << 20) as f64);
/// Memory that an allocator may keep beside what is live: a share of it, and at least so many bytes.
const RETAINED: (f64, f64) = (0.3, (64 << 20) as f64);

/// Shares of the live bytes that may still be a leak, and the process is judged: of what fills, and of what is open.
const OPEN: (f64, f64) = (0.1, 0.02);
/// Bytes of a class from which on it is named where nothing grows.
const LARGE: f64 = (64 << 20) as f64;
/// Bytes that may grow unseen, and the process is judged.
const UNKNOWN: f64 = (16 << 20) as f64;
/// Share of the time without sampling from which on nothing is acquitted.
const PAUSED: f64 = 0.1;
/// Share of what a verdict is about that lost samples may stand for, and the verdict still holds.
const UNSEEN: f64 = 0.1;

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
    /// What grows does so ever slower: a cache that fills, a warm-up.
    Fills,
    /// More is in flight, and none of it stays.
    Busier,
    /// What moved is the JIT compiler's.
    JitNoise,
    /// Most of it is held: never freed, and not growing now.
    Held,
    /// Rose, then stopped.
    Plateau,
    /// Nothing grows beyond noise.
    NothingGrows,
    /// What was lost could be what is looked for; or there is too little to judge by.
    CannotTell,
    /// One dump without ages.
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
    /// The place that it is most about, in words.
    pub(crate) place: Option<String>,
    /// Bytes that are about that place.
    pub(crate) place_bytes: f64,
    /// How many places it is about.
    pub(crate) places: usize,
    /// When nine tenths of that place's bytes were born: seconds before the last dump, the earlier moment first.
    pub(crate) born: Option<(f64, f64)>,
    /// Whether ages say it, rather than a series.
    pub(crate) is_by_ages: bool,
    /// Whether there was enough to judge by: if nothing leaks, then because it was looked at.
    pub(crate) is_judged: bool,
    /// What would tell, where it cannot be told yet.
    pub(crate) would_tell: Option<String>,
    /// Bound of the error of `rate` that holds in 95 of 100 cases.
    pub(crate) rate_error: Option<f64>,
    /// What the control group may use.
    pub(crate) limit_bytes: Option<u64>,
    /// When it will, if it goes on like this.
    pub(crate) seconds_to_limit: Option<f64>,
}

impl Outlook {
    /// Whether something leaks or grows.
    pub(crate) fn is_finding(&self) -> bool {
        matches!(self.state, State::Leaks | State::Grows)
    }
}

/// What an outlook is worked out from.
pub(super) struct Known<'a> {
    /// The dumps.
    pub(super) series: &'a Series,
    /// When they were written.
    pub(super) moments: &'a Moments,
    /// All live bytes over the series.
    pub(super) total: &'a Trend,
    /// The places.
    pub(super) places: &'a [Row],
    /// Classes of the last dump.
    pub(super) account: Option<&'a Account>,
}

impl Known<'_> {
    /// The verdict.
    pub(super) fn outlook(&self) -> Outlook {
        // What is resident can be compared with live bytes only.
        let is_live_bytes = self.series.profile.metric == Metric::InuseBytes;
        let elsewhere = || self.elsewhere().and_then(|found| self.by_class(found));
        let beside_malloc = || self.retention().or_else(elsewhere).filter(|_| is_live_bytes);
        let found = self.leaks().or_else(|| Some(self.if_seen(beside_malloc()?, UNSEEN)));
        let mut outlook = found.unwrap_or_else(|| {
            let quiet = self.quiet();
            let rests_on_all = matches!(
                quiet.state,
                State::NothingGrows | State::Plateau | State::JitNoise | State::Busier | State::Held | State::Fills
            );
            if rests_on_all { self.if_seen(quiet, 1.0) } else { quiet }
        });
        let last = self.series.last().map(|dump| &dump.metadata);
        outlook.limit_bytes = last.and_then(|last| last.memory_limit_bytes);
        let used = last.and_then(|last| last.rss_bytes.or(last.memory_used_bytes));
        if let (Some(limit), Some(used), Some(rate)) =
            (outlook.limit_bytes, used, outlook.rate.filter(|rate| *rate > 0.0 && is_live_bytes))
        {
            outlook.seconds_to_limit = Some(limit.saturating_sub(used) as f64 / rate);
        }
        outlook.advice = outlook.advice.or_else(|| Some(outlook.look_at?.advice()));
        self.name(&mut outlook);
        self.settle(&mut outlook);
        outlook
    }

    /// The place that the verdict is most about.
    fn name(&self, outlook: &mut Outlook) {
        let wanted: &[Conclusion] = match outlook.state {
            State::Leaks => &[Conclusion::Leak],
            State::Grows => &[Conclusion::Grows],
            State::Fills => &[Conclusion::Fills],
            State::Busier => &[Conclusion::Busier, Conclusion::Churn],
            State::JitNoise => &[Conclusion::Jit],
            State::Held => &[Conclusion::Held],
            State::Plateau => &[Conclusion::Held, Conclusion::Plateau, Conclusion::Pool],
            _ => return,
        };
        let rows = || self.places.iter().filter(|row| wanted.contains(&row.judgement.verdict));
        let Some(most) = rows().max_by(|a, b| a.judgement.bytes.total_cmp(&b.judgement.bytes)) else { return };
        outlook.place = Some(most.group.label(&self.series.profile));
        outlook.place_bytes = most.judgement.bytes;
        outlook.places = rows().count();
        outlook.born = most.ages.as_ref().map(|ages| ages.born);
        outlook.is_by_ages = most.judgement.is_by_ages;
    }

    /// Whether it was judged, and what would tell where it was not.
    fn settle(&self, outlook: &mut Outlook) {
        let is_open = |row: &&Row| row.judgement.verdict.is_open();
        let open: f64 = self.places.iter().filter(is_open).map(|row| row.trend.last_bytes).sum();
        let rising = |verdict: Conclusion| -> f64 {
            self.places.iter().filter(|row| row.judgement.verdict == verdict).map(|row| row.judgement.bytes).sum()
        };
        let live = self.total.last_bytes.max(1.0);
        let is_finding = matches!(outlook.state, State::Leaks | State::Grows);
        if !is_finding
            && (rising(Conclusion::Fills) > OPEN.0 * live
                || rising(Conclusion::Open) > OPEN.1 * live
                || self.total.moments < 2 && open > 0.5 * live
                || self.is_paused()
                || self.is_coarse())
        {
            outlook.is_judged = false;
            let speaks_of_rows = matches!(
                outlook.state,
                State::NothingGrows | State::Plateau | State::Held | State::Busier | State::JitNoise
            );
            if speaks_of_rows {
                (outlook.state, outlook.bytes) = (State::CannotTell, 0.0);
                (outlook.look_at, outlook.advice) = (None, None);
            }
        }
        if outlook.is_judged && outlook.state != State::Grows {
            return;
        }
        let span = self.moments.window.or(self.moments.times.last().copied()).filter(|_| self.moments.has_times);
        let later = span.map_or("later".to_owned(), |span| format!("in {}", about_duration(span)));
        outlook.would_tell = match outlook.state {
            State::CannotTell if outlook.advice.is_some() => None,
            State::Unknown => {
                Some("several dumps of the process (MALLOC_CONF=...,lg_prof_interval:30), or its region".to_owned())
            }
            State::CannotTell if self.is_paused() => {
                let off = about_duration(self.moments.off);
                Some(format!(
                    "the same question after sampling was on for a while (`heaptap start PID`): it was off for {off}"
                ))
            }
            State::CannotTell if self.is_coarse() => Some(
                "a finer rate, for a while (`heaptap rate PID 17`): samples are too far apart to see a leak".to_owned(),
            ),
            State::Grows if self.total.moments < 3 => Some("a third snapshot, as far apart as these two".to_owned()),
            State::Grows => None,
            _ => Some(format!("the same question {later}; with `heaptap rate PID 12` also small places")),
        };
    }

    /// Whether samples are so far apart that as much as there is could have come unseen, or there were none at all.
    fn is_coarse(&self) -> bool {
        let is_blind = self.series.profile.samples.is_empty();
        is_blind || self.total.moments > 1 && self.total.unseen_bytes > 2.0 * self.total.last_bytes.max(UNKNOWN)
    }

    /// Whether sampling was off for so long that what was not seen could be a leak.
    fn is_paused(&self) -> bool {
        let is_off = self.moments.sampling.pauses.last().is_some_and(|pause| pause.until.is_none());
        self.moments.window.is_some_and(|window| self.moments.off > PAUSED * window) || is_off
    }

    /// Places that leak, else those that grow.
    fn leaks(&self) -> Option<Outlook> {
        let sum = |verdict: Conclusion, state: State| {
            let rows = || self.places.iter().filter(|row| row.judgement.verdict == verdict);
            let confidence = rows().map(|row| row.judgement.confidence).fold(0.0, f64::max);
            let rate: f64 = rows().filter_map(|row| row.judgement.rate).sum();
            // Errors of different places are independent.
            let error = rows().filter_map(|row| row.judgement.rate_error).fold(0.0, f64::hypot);
            let bytes = rows().map(|row| row.judgement.bytes).sum();
            let mut outlook = about(state, bytes, rows().next().map(|_| Class::MallocLive));
            (outlook.rate, outlook.rate_error) = ((rate > 0.0).then_some(rate), (rate > 0.0).then_some(error));
            outlook.confidence = confidence;
            rows().next().map(|_| outlook)
        };
        let found = sum(Conclusion::Leak, State::Leaks).or_else(|| sum(Conclusion::Grows, State::Grows));
        found.or_else(|| self.scattered())
    }

    /// A process that grows though none of its places does by itself, and what its places do is no explanation.
    fn scattered(&self) -> Option<Outlook> {
        let change = self.total.change_bytes();
        if self.total.verdict != Verdict::Grows || self.total.shape == Shape::Slowing || change <= 0.0 {
            return None;
        }
        let is_explained = |row: &&Row| {
            let verdict = row.judgement.verdict;
            !matches!(verdict, Conclusion::Steady | Conclusion::Unknown | Conclusion::Cache)
        };
        let explained: f64 = self.places.iter().filter(is_explained).map(|row| row.trend.change_bytes().max(0.0)).sum();
        let rest = change - explained;
        if rest < 0.5 * change || rest < self.total.noise_bytes {
            return None;
        }
        let mut outlook = about(State::Grows, rest, Some(Class::MallocLive));
        outlook.rate = self.moments.has_times.then_some(self.total.slope);
        outlook.rate_error = self.moments.has_times.then_some(self.total.slope_error);
        outlook.confidence = self.total.confidence;
        Some(outlook)
    }

    /// A verdict that rests on what is not live, unless as much was lost meanwhile: more than this share of what it is
    /// about, and more than an allocator keeps.
    fn if_seen(&self, found: Outlook, share: f64) -> Outlook {
        let lost = |dump: &Dump| Lost::of(&dump.metadata, dump.period_bytes);
        let Some(last) = self.series.last().map(lost) else { return found };
        // Over a series: what was lost while it was taken, unless the verdict is about one dump's memory.
        let is_change = !matches!(found.state, State::AllocatorRetention) && self.series.dumps.len() > 1;
        let before = self.series.dumps.first().filter(|_| is_change).map_or(0.0, |dump| lost(dump).bytes);
        let unseen = last.bytes - before;
        if unseen < RETAINED.1 || unseen < share * found.bytes.abs() {
            return found;
        }
        let mut outlook = about(State::CannotTell, unseen, None);
        outlook.advice = last.cause.map(|cause| cause.advice);
        outlook
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
        let trend = Trend::of_exact(self.moments, resident, FALSE_ALARMS);
        let grown = last - first - self.total.change_bytes().max(0.0);
        if grown < (RSS_NOISE.0 * first).max(RSS_NOISE.1) || trend.verdict != Verdict::Grows {
            return None;
        }
        let mut outlook = about(State::GrowsElsewhere, grown, self.growing_class(grown));
        outlook.rate = self.moments.has_times.then_some(trend.slope);
        outlook.rate_error = self.moments.has_times.then_some(trend.slope_error);
        Some(outlook)
    }

    /// The same of the class that grew most, if the timeline tells classes: bytes and rate are that class's. A heap
    /// whose Java VM says how much of it is committed is bounded by its -Xmx and collected: that it grows is no alarm.
    fn by_class(&self, found: Outlook) -> Option<Outlook> {
        let past = Past::of(self.series);
        let Some(change) = past.change else { return Some(found) };
        let parts = change.parts.iter().filter(|part| part.class != Class::MallocLive && part.bytes > 0.0);
        let Some(most) = parts.max_by(|a, b| a.bytes.total_cmp(&b.bytes)) else { return Some(found) };
        let rate = Some(most.bytes / change.seconds);
        let look_at = Some(most.class);
        let is_bounded = past.moments.last().is_some_and(|last| last.java_committed_bytes.is_some());
        let found = Outlook { bytes: most.bytes, rate, rate_error: None, look_at, ..found };
        (most.class != Class::JavaHeap || !is_bounded).then_some(found)
    }

    /// Nothing is wrong, as far as can be told: what most of the change is made of, or most of the memory.
    fn quiet(&self) -> Outlook {
        let sum = |verdicts: &[Conclusion], of: &dyn Fn(&Row) -> f64| -> f64 {
            self.places.iter().filter(|row| verdicts.contains(&row.judgement.verdict)).map(of).sum()
        };
        let moved = |verdicts: &[Conclusion]| sum(verdicts, &|row| row.trend.change_bytes().abs());
        let total = self.total.change_bytes().abs();
        let held = sum(&[Conclusion::Held], &|row| row.trend.last_bytes);
        let has_past = self.total.verdict != Verdict::Unknown;
        let is_most =
            |part: f64| has_past && part > 0.5 * total && part > self.total.noise_bytes.min(total) && part > 0.0;
        let is_judged = self.places.iter().any(|row| row.judgement.is_by_ages);
        let has_ages = self.places.iter().any(|row| row.ages.is_some());
        let is_more = self.total.verdict == Verdict::Grows;
        let busier = moved(&[Conclusion::Busier]) + if is_more { moved(&[Conclusion::Churn]) } else { 0.0 };
        let jit = moved(&[Conclusion::Jit]);
        let (fills, young) = (moved(&[Conclusion::Fills]), sum(&[Conclusion::Fills], &|row| row.judgement.bytes));
        let (state, bytes) = match self.total.verdict {
            Verdict::Unknown if !is_judged && !has_ages => (State::Unknown, 0.0),
            Verdict::Unknown if !is_judged => (State::CannotTell, 0.0),
            Verdict::Unknown if young > OPEN.0 * self.total.last_bytes => (State::Fills, young),
            _ if is_most(jit) && jit >= busier && jit >= fills => (State::JitNoise, jit),
            _ if is_most(fills) && fills >= busier => (State::Fills, fills),
            _ if is_most(busier) => (State::Busier, busier),
            _ if held > 0.5 * self.total.last_bytes => (State::Held, held),
            Verdict::Plateau => (State::Plateau, self.total.change_bytes()),
            Verdict::Grows if self.total.shape == Shape::Slowing => (State::Fills, self.total.change_bytes()),
            _ => (State::NothingGrows, self.total.change_bytes()),
        };
        let biggest = self.account.and_then(|account| account.classes.first());
        let biggest = biggest.filter(|share| share.bytes as f64 >= LARGE).map(|share| share.class);
        // What malloc gave out was looked at already.
        let is_elsewhere = |class: &Class| state == State::NothingGrows && *class != Class::MallocLive;
        about(state, bytes, biggest.filter(is_elsewhere))
    }

    /// Resident bytes at each moment, if all say it.
    fn resident(&self) -> Option<&[f64]> {
        self.moments.resident.as_deref().filter(|resident| resident.len() > 1)
    }

    /// The class that grew most: by the first and the last dump, where both tell; else the Java heap, where the
    /// timeline says so of most of it.
    fn growing_class(&self, grown: f64) -> Option<Class> {
        let [first, .., last] = self.series.dumps.as_slice() else { return self.java_heap(grown) };
        let has_both = [first, last].iter().all(|dump| !dump.metadata.rss_classes.is_empty());
        if !has_both {
            return self.java_heap(grown);
        }
        let before = Account::of_metadata(&first.metadata.rss_classes)?.with_live(first.total.bytes);
        let after = self.account?;
        let grown = |class: &Class| after.bytes(*class) as f64 - before.bytes(*class) as f64;
        after.classes.iter().map(|share| share.class).max_by(|a, b| grown(a).total_cmp(&grown(b)))
    }
}

impl Known<'_> {
    /// The Java heap, if it grew by most of so many bytes.
    fn java_heap(&self, grown: f64) -> Option<Class> {
        let span = self.moments.times.last()?;
        let timeline = &self.series.profile.history.timeline;
        let from = timeline.last()?.wall_ns.saturating_sub((span * 1e9) as u64);
        let within = timeline.iter().filter(|moment| moment.wall_ns >= from);
        let sizes: Vec<u64> = within.filter_map(|moment| moment.java_committed_bytes).collect();
        let more = sizes.last()?.saturating_sub(*sizes.first()?) as f64;
        (more > 0.5 * grown).then_some(Class::JavaHeap)
    }
}

/// `2 min`, `3 h`: a time of about that length.
fn about_duration(seconds: f64) -> String {
    match seconds {
        _ if seconds < 90.0 => format!("{:.0} s", seconds.max(10.0)),
        _ if seconds < 5400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.0} h", seconds / 3600.0),
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
        place: None,
        place_bytes: 0.0,
        places: 0,
        born: None,
        is_by_ages: false,
        is_judged: !matches!(state, State::CannotTell | State::Unknown),
        would_tell: None,
        rate_error: None,
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
    fn what_was_not_sampled_is_not_acquitted() {
        let events =
            |last: &str| format!("# uptime_ns: 1800000000000\n# event: 1795644300000000000 sampling-stopped 0\n{last}");
        let steady = |more: &str| outlook(&(0..4).map(|n| dump(n * 10, 100, more)).collect::<Vec<_>>());
        let (off, back) = (events(""), "# event: 1795644302000000000 sampling-started 131072\n");
        let found = steady(&off);
        assert_eq!((found.state, found.is_judged), (State::CannotTell, false), "{found:?}");
        assert!(found.would_tell.unwrap().contains("heaptap start"));
        // Two seconds of half an hour are no gap.
        let found = steady(&events(back));
        assert_eq!((found.state, found.is_judged), (State::NothingGrows, true), "{found:?}");
        // A leak that was seen is one all the same.
        assert_eq!(outlook(&(0..4).map(|n| dump(n * 10, 100 + n * 60, &off)).collect::<Vec<_>>()).state, State::Leaks);
    }

    #[test]
    fn samples_too_far_apart_acquit_nothing() {
        let coarse =
            |n: u64| dump(n * 10, 8, "").replace("heap_v2/1", "heap_v2/33554432").replace("8: 8388608", "1: 80000");
        let found = outlook(&(0..4).map(coarse).collect::<Vec<_>>());
        assert_eq!((found.state, found.is_judged), (State::CannotTell, false), "{found:?}");
        assert!(found.would_tell.unwrap().contains("heaptap rate PID 17"));
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
    fn what_was_lost_is_no_retention() {
        let resident = format!("{}# rss_malloc: {}\n", rss(600), 500 * MIB);
        let with = |lost: u64| format!("{resident}# lost_range: {}\n# unfollowed_bytes: {}\n", lost * 8, lost * MIB);
        let found = outlook(&[dump(0, 100, &with(400))]);
        assert_eq!(
            (found.state, found.bytes, found.look_at),
            (State::CannotTell, 400.0 * MIB as f64, None),
            "{found:?}"
        );
        assert!(found.advice.is_some_and(|advice| advice.contains("RLIMIT_AS")), "{found:?}");
        // A tenth of it does not matter.
        assert_eq!(outlook(&[dump(0, 100, &with(30))]).state, State::AllocatorRetention);
        // A dump of an older tap tells their number only, of a period of one byte here.
        let older = format!("{resident}# lost_range: {}\n", 400 * MIB);
        assert_eq!(outlook(&[dump(0, 100, &older)]).state, State::CannotTell);
        // Nor does nothing grow where much was lost while the dumps were taken; before does not matter.
        let lost = |now: u64| format!("# lost_samples: 9\n# unfollowed_bytes: {}\n", now * MIB);
        let dumps = |step: u64| (0..4).map(|n| dump(n * 10, 100, &lost(400 + n * step))).collect::<Vec<_>>();
        assert_eq!((outlook(&dumps(0)).state, outlook(&dumps(50)).state), (State::NothingGrows, State::CannotTell));
        // What leaks leaks.
        let leak: Vec<String> = (0..4).map(|n| dump(n * 10, 100 + n * 60, &lost(400 + n * 50))).collect();
        assert_eq!(outlook(&leak).state, State::Leaks);
    }

    #[test]
    fn where_nothing_grows_the_biggest_class_is_named() {
        let classes = format!("# rss_java_heap: {}\n# rss_malloc: {}\n", 700 * MIB, 110 * MIB);
        let dumps: Vec<String> = (0..4).map(|n| dump(n * 10, 100, &(rss(810) + &classes))).collect();
        let found = outlook(&dumps);
        assert_eq!((found.state, found.look_at), (State::NothingGrows, Some(Class::JavaHeap)), "{found:?}");
        // If that is malloc, this is what was looked at.
        let malloc = format!("{}# rss_malloc: {}\n", rss(110), 110 * MIB);
        let dumps: Vec<String> = (0..4).map(|n| dump(n * 10, 100, &malloc)).collect();
        assert_eq!((outlook(&dumps).state, outlook(&dumps).look_at), (State::NothingGrows, None));
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
        let live: String = (0..48)
            .map(|n| format!("{}/1/1048576 ", crate::wire::ages::live_bin(600_000_000_000 << (n / 16))))
            .collect();
        let uptime = "# uptime_ns: 7200000000000\n# ages: 1\n";
        let leak = dump(0, 48, &format!("{uptime}# age: 0 {live}| 14/4000\n"));
        let found = outlook(&[leak]);
        assert_eq!(found.state, State::Leaks, "{found:?}");
        assert!(found.rate.unwrap() > 0.0 && found.confidence > 0.9, "{found:?}");
        let cache = format!("{}/12/12582912 | 14/4000", crate::wire::ages::live_bin(7_000_000_000_000));
        assert_eq!(outlook(&[dump(0, 12, &format!("{uptime}# age: 0 {cache}\n"))]).state, State::NothingGrows);
    }
}
