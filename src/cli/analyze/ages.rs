//! What the ages of a row's objects tell: a leak and a cache differ here in one snapshot.
//!
//! A dump says how long freed objects of a stack had lived, and how old the live ones are. Objects *outlive* the rest
//! when they are eight times as old as 99 of 100 freed ones ever got, or twice as old as any. How many such there would
//! be by chance follows from the freed ones as well: in a process that is U old, whose freed objects passed the age A
//! by the sum of (lifetime - A), sum / U of them were alive beyond A at any moment; three more are granted for those
//! lifetimes that nobody has seen yet.
//!
//! Objects that live long and are freed all the same (sessions, entries of a cache that is full, a backlog) are told
//! from leaks by that: of those that passed an eighth of the time, a third was freed. That acquits only if hardly any
//! lives on beyond the ages at which the others died (a life table tells it): one place may make objects that are kept
//! beside objects that a collector frees, and a short time does not tell which are which.
//!
//! When they were born says the rest: the births of what lives, over the time that was observed, are a course like any
//! other (`shape`). Births that go on to the end are a leak; births that stopped are a table or a cache; births that
//! become fewer and fewer are something that fills. No age of the process is asked for: thirty seconds in which births
//! went on evenly tell as much as an hour, if there were enough of them.
//!
//! Example: 4,000 samples were freed, 99 % of them within 2 s, none after 16 s; 60 live ones are between 20 s and 2 h
//! old, half of them born in either hour. By chance there would be three: this leaks.

use super::chance::{births_by_chance, upper_tail};
use super::shape::{Course, Shape};
use crate::wire::ages::{Ages, freed_bin_start, live_bin_start};
use serde::Serialize;

/// Freed samples that say how long objects usually live.
const FREED_ENOUGH: u64 = 20;
/// So many times the usual lifetime is too old, and so many times the longest that was seen.
const TOO_OLD: (f64, f64) = (8.0, 2.0);
/// Moments at which the course of births is looked at.
const MOMENTS: usize = 33;
/// Freed samples that were old, at least, and their share of all that became so old, for a stack whose objects die
/// late.
const FREED_OLD: f64 = 5.0;
const DYING: f64 = 0.3;
/// Share of the objects that lives on, from which on those that died say nothing of the others.
const SURVIVES: f64 = 0.2;
/// Samples of which some must have died for their share to tell.
const AT_RISK: f64 = 8.0;
/// Samples below which nothing is said.
const FEW: f64 = 3.0;

/// Live objects of about one age.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct LiveAge {
    /// Not younger than this.
    pub(crate) from_seconds: f64,
    /// Objects, estimated.
    pub(crate) objects: f64,
    /// Bytes, estimated.
    pub(crate) bytes: f64,
}

/// Freed objects that lived for about so long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Lifetime {
    /// Not shorter than this.
    pub(crate) from_seconds: f64,
    /// Samples (not objects).
    pub(crate) samples: u64,
}

/// How a row's objects live and die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pattern {
    /// Some outlive what is usual by far, and new ones of them were born all along: a leak.
    Outlive,
    /// Nearly none was ever freed, and new ones are born all along: a leak, or a cache that still fills.
    NeverFreed,
    /// As one of the first two, but fewer are born all the time: a cache that fills, a warm-up.
    Filling,
    /// Born, then no more, and kept: a cache, a table, what starting up costs.
    Kept,
    /// They come and go, and none is older than such objects become.
    ComeAndGo,
    /// They come and go; but of those that became old many live on, and nobody knows whether they will go.
    Mixed,
    /// Some are older than any that was freed became, and too little time has passed to say more.
    Older,
    /// A few were freed, as old as could be seen; most live, and may die yet.
    TooSoon,
    /// Too few samples, or all of them born just now.
    Unclear,
}

/// The ages of one row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct AgeFacts {
    /// How they live and die.
    pub(crate) pattern: Pattern,
    /// The probability that `pattern` is no chance, for the two that are findings; else 0.
    pub(crate) confidence: f64,
    /// Half of the live bytes are older, seconds.
    pub(crate) median_seconds: f64,
    /// The oldest live object, seconds.
    pub(crate) oldest_seconds: f64,
    /// 99 of 100 freed samples had lived at most this long; not known of too few.
    pub(crate) usual_seconds: Option<f64>,
    /// Freed samples.
    pub(crate) freed_samples: u64,
    /// Bytes of the live objects that outlive what is usual, or were never freed.
    pub(crate) outliving_bytes: f64,
    /// Those objects.
    pub(crate) outliving_objects: f64,
    /// How fast those bytes grew, bytes a second over the later half of the life of the process.
    pub(crate) rate: f64,
    /// When nine tenths of the live bytes were born: so many seconds before the dump, the earlier moment first.
    pub(crate) born: (f64, f64),
    /// Whether hardly any sample was ever freed.
    pub(crate) never_freed: bool,
    /// Probability that it is chance.
    #[serde(skip)]
    pub(crate) chance: f64,
    /// Of the outliving bytes, those that were born in the later half.
    #[serde(skip)]
    pub(crate) late_bytes: f64,
    /// Live objects by age, youngest first.
    pub(crate) live: Vec<LiveAge>,
    /// Freed samples by lifetime, shortest first.
    pub(crate) freed: Vec<Lifetime>,
}

impl AgeFacts {
    /// Works it out for a row of a process whose allocations were recorded for so long; `None` where the dump tells no
    /// ages.
    pub(crate) fn of(ages: &Ages, uptime_seconds: Option<f64>, period_bytes: u64) -> Option<AgeFacts> {
        if ages.live.is_empty() {
            return None;
        }
        let rows = Rows { ages, period: period_bytes.max(1) as f64 };
        let oldest = ages.live.last().map_or(0.0, |bin| live_seconds(bin.bin));
        let freed_samples = ages.freed.iter().map(|(_, samples)| samples).fold(0, |sum: u64, &n| sum.saturating_add(n));
        let usual = (freed_samples >= FREED_ENOUGH).then(|| rows.lifetime(0.99, freed_samples));
        let uptime = uptime_seconds.unwrap_or(0.0).max(oldest);
        let found = rows.pattern(uptime, usual, freed_samples);
        Some(AgeFacts {
            pattern: found.pattern,
            confidence: if is_finding(found.pattern) { 1.0 - found.chance.min(1.0) } else { 0.0 },
            chance: found.chance,
            median_seconds: rows.median(),
            oldest_seconds: oldest,
            usual_seconds: usual,
            freed_samples,
            outliving_bytes: found.bytes,
            outliving_objects: found.objects,
            rate: found.rate,
            late_bytes: found.late_bytes,
            never_freed: freed_samples == 0
                || (freed_samples as f64) < 0.05 * (rows.born(0.0, f64::INFINITY).samples + freed_samples as f64),
            born: rows.when_born(),
            live: ages
                .live
                .iter()
                .map(|bin| LiveAge { from_seconds: live_seconds(bin.bin), objects: bin.objects, bytes: bin.bytes })
                .collect(),
            freed: ages
                .freed
                .iter()
                .map(|&(bin, samples)| Lifetime { from_seconds: freed_bin_start(bin) as f64 / 1e9, samples })
                .collect(),
        })
    }
}

fn is_finding(pattern: Pattern) -> bool {
    matches!(pattern, Pattern::Outlive | Pattern::NeverFreed)
}

fn live_seconds(bin: u8) -> f64 {
    live_bin_start(bin) as f64 / 1e9
}

/// What a pattern is found by.
#[derive(Clone, Copy, Debug)]
struct Found {
    pattern: Pattern,
    chance: f64,
    bytes: f64,
    objects: f64,
    rate: f64,
    late_bytes: f64,
}

impl Found {
    fn only(pattern: Pattern) -> Found {
        Found { pattern, chance: 1.0, bytes: 0.0, objects: 0.0, rate: 0.0, late_bytes: 0.0 }
    }
}

/// What was born between two moments and lives.
#[derive(Clone, Copy, Debug, Default)]
struct Born {
    objects: f64,
    bytes: f64,
    /// Samples that stand for it, about.
    samples: f64,
}

struct Rows<'a> {
    ages: &'a Ages,
    period: f64,
}

impl Rows<'_> {
    /// Live objects from one age up to another, seconds; a bin that lies across a bound is taken in part.
    fn born(&self, from: f64, to: f64) -> Born {
        let mut born = Born::default();
        for bin in &self.ages.live {
            let (start, end) = (live_seconds(bin.bin), live_seconds(bin.bin.saturating_add(1)));
            let inside = (end.min(to) - start.max(from)).max(0.0) / (end - start);
            born.objects += bin.objects * inside;
            born.bytes += bin.bytes * inside;
            // The way back from what samples stand for (see `profile::sample`).
            let seen = -(-(bin.bytes / bin.objects.max(1.0)) / self.period).exp_m1();
            born.samples += bin.objects * seen * inside;
        }
        born
    }

    /// The age that half of the live bytes are beyond.
    fn median(&self) -> f64 {
        let half = self.ages.live.iter().map(|bin| bin.bytes).sum::<f64>() / 2.0;
        let mut sum = 0.0;
        let beyond = self.ages.live.iter().rev().find(|bin| {
            sum += bin.bytes;
            sum >= half
        });
        beyond.map_or(0.0, |bin| live_seconds(bin.bin))
    }

    /// The ages between which nine tenths of the live bytes are, the older first.
    fn when_born(&self) -> (f64, f64) {
        let all: f64 = self.ages.live.iter().map(|bin| bin.bytes).sum();
        let beyond = |share: f64| {
            let mut sum = 0.0;
            let found = self.ages.live.iter().find(|bin| {
                sum += bin.bytes;
                sum >= share * all
            });
            found.or(self.ages.live.last()).map_or(0, |bin| bin.bin)
        };
        (live_seconds(beyond(0.95).saturating_add(1)), live_seconds(beyond(0.05)))
    }

    /// The lifetime that this share of all freed samples did not pass.
    fn lifetime(&self, share: f64, freed: u64) -> f64 {
        let wanted = (freed as f64 * share).ceil() as u64;
        let mut sum = 0u64;
        let last = self.ages.freed.iter().find(|(_, samples)| {
            sum = sum.saturating_add(*samples);
            sum >= wanted
        });
        last.map_or(0.0, |(bin, _)| freed_bin_start(bin.saturating_add(1)) as f64 / 1e9)
    }

    fn pattern(&self, uptime: f64, usual: Option<f64>, freed: u64) -> Found {
        let all = self.born(0.0, f64::INFINITY);
        if all.samples < FEW {
            return Found::only(Pattern::Unclear);
        }
        let freed_samples = freed as f64;
        if freed_samples < 0.05 * (all.samples + freed_samples) {
            let chance = births_by_chance(all.samples, freed_samples);
            return self.by_births(0.0, uptime, Pattern::NeverFreed, chance);
        }
        let longest =
            self.ages.freed.last().map_or(0.0, |(bin, _)| freed_bin_start(bin.saturating_add(1)) as f64 / 1e9);
        // Older than any that was freed, and more of them than those explain.
        let older = self.born(longest, f64::INFINITY);
        let is_outlived = older.samples >= 2.0 * self.by_chance(longest, uptime) + 4.0;
        let survives = || self.survival() >= SURVIVES;
        if !is_outlived && self.is_dying_old(uptime) {
            return Found::only(if survives() { Pattern::Mixed } else { Pattern::ComeAndGo });
        }
        let Some(usual) = usual else { return Found::only(Pattern::Unclear) };
        let too_old = (TOO_OLD.0 * usual).min(TOO_OLD.1 * longest);
        if too_old > uptime / 2.0 {
            // Nobody could have become that old.
            return match () {
                () if is_outlived => {
                    let Born { bytes, objects, .. } = older;
                    Found { bytes, objects, late_bytes: bytes, ..Found::only(Pattern::Older) }
                }
                () if survives() => Found::only(Pattern::TooSoon),
                () => Found::only(Pattern::ComeAndGo),
            };
        }
        let (by_chance, old) = (self.by_chance(too_old, uptime), self.born(too_old, f64::INFINITY));
        if old.samples < 2.0 * by_chance + 4.0 {
            return Found::only(Pattern::ComeAndGo);
        }
        let chance = upper_tail((old.samples - by_chance) / old.samples.sqrt());
        self.by_births(too_old, uptime, Pattern::Outlive, chance)
    }

    /// Whether objects that became old are freed all the same: of those that passed an eighth of the time, a third.
    /// What leaks is never freed, whatever happens to the others of its stack.
    fn is_dying_old(&self, uptime: f64) -> bool {
        let old = uptime / 8.0;
        let beyond = |(bin, _): &&(u8, u64)| 1.5 * freed_bin_start(*bin) as f64 / 1e9 > old;
        let died: f64 = self.ages.freed.iter().filter(beyond).map(|(_, samples)| *samples as f64).sum();
        died >= FREED_OLD && died > DYING * (died + self.born(old, f64::INFINITY).samples)
    }

    /// Which share of the objects lives on beyond the ages that anything was freed at, as a life table tells: what
    /// lives counts among those that could have died as long as it is old enough, and half where its age is of the
    /// same bin.
    fn survival(&self) -> f64 {
        let freed = &self.ages.freed;
        let mut later: f64 = freed.iter().map(|(_, samples)| *samples as f64).sum();
        let mut share = 1.0;
        for &(bin, samples) in freed {
            let died = samples as f64;
            let [start, end] = [bin, bin.saturating_add(1)].map(|bin| freed_bin_start(bin) as f64 / 1e9);
            let at_risk = later + self.born(end, f64::INFINITY).samples + self.born(start, end).samples / 2.0;
            if at_risk < AT_RISK {
                break;
            }
            share *= 1.0 - died / at_risk;
            later -= died;
        }
        share
    }

    /// Samples that would be older than `age` if all objects lived like those that were freed.
    fn by_chance(&self, age: f64, uptime: f64) -> f64 {
        let beyond = |&(bin, samples): &(u8, u64)| {
            let middle = 1.5 * freed_bin_start(bin) as f64 / 1e9;
            samples as f64 * (middle - age).max(0.0)
        };
        3.0 + self.ages.freed.iter().map(beyond).sum::<f64>() / uptime
    }

    /// What the births of all that is older than `from` say: `pattern` if they go on.
    fn by_births(&self, from: f64, uptime: f64, pattern: Pattern, chance: f64) -> Found {
        let span = (uptime - from).max(f64::MIN_POSITIVE);
        let old = self.born(from, f64::INFINITY);
        // Samples are counted, not bytes: their error is their root.
        let times: Vec<f64> = (0..MOMENTS).map(|n| span * n as f64 / (MOMENTS - 1) as f64).collect();
        let values: Vec<f64> = times.iter().map(|time| self.born(uptime - time, f64::INFINITY).samples).collect();
        let shape = Course { times: &times, values: &values, grain: 1.0, churn: 0.0 }.shape();
        let pattern = match shape {
            // What is a step at the end has no past; what began long before recording has no course.
            Shape::Step | Shape::Unclear | Shape::Sawtooth => Pattern::Unclear,
            Shape::Stopped | Shape::Stepwise => Pattern::Kept,
            Shape::Slowing => Pattern::Filling,
            Shape::Rising if old.samples < 2.0 * FEW => Pattern::Unclear,
            Shape::Rising => pattern,
        };
        // The rate is that of the later half: a start is no leak.
        let late = self.born(from, from + span / 2.0);
        let rate = late.bytes / (span / 2.0);
        match pattern {
            Pattern::Unclear => Found::only(pattern),
            Pattern::Kept => Found { bytes: old.bytes, objects: old.objects, ..Found::only(pattern) },
            _ => Found { pattern, chance, bytes: old.bytes, objects: old.objects, rate, late_bytes: late.bytes },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ages::live_bin;
    use crate::wire::live::records::age_bin;

    const HOUR: f64 = 3600.0;

    /// Live objects of 40 KB at these ages, and so many freed samples that had lived for so long.
    fn facts(live: impl IntoIterator<Item = f64>, freed: &[(f64, u64)], uptime: f64) -> AgeFacts {
        let mut ages = Ages::default();
        let period = 131_072.0;
        let weight = 1.0 / -(-40_000.0f64 / period).exp_m1();
        for age in live {
            ages.add_live(live_bin((age * 1e9) as u64), weight, weight * 40_000.0);
        }
        for (age, samples) in freed {
            ages.add_freed(age_bin((age * 1e9) as u64) as u8, *samples);
        }
        AgeFacts::of(&ages, Some(uptime), period as u64).unwrap()
    }

    fn evenly(from: f64, to: f64, count: usize) -> impl Iterator<Item = f64> {
        (0..count).map(move |n| from + (to - from) * (n as f64 + 0.5) / count as f64)
    }

    #[test]
    fn what_usually_lives_two_seconds_and_now_two_hours_leaks() {
        let facts =
            facts(evenly(0.0, 2.0, 20).chain(evenly(60.0, 2.0 * HOUR, 60)), &[(1.0, 3000), (2.0, 1000)], 2.0 * HOUR);
        assert_eq!(facts.pattern, Pattern::Outlive, "{facts:?}");
        assert!(facts.confidence > 0.99 && (2.0..5.0).contains(&facts.usual_seconds.unwrap()), "{facts:?}");
        // 60 samples stand for 8.6 MB over two hours.
        assert!((facts.rate / (60.0 * 40_000.0 / 0.2630 / 7200.0) - 1.0).abs() < 0.1, "{facts:?}");
    }

    #[test]
    fn what_was_born_once_and_all_lives_two_hours_is_a_cache() {
        assert_eq!(facts(evenly(1.9 * HOUR, 2.0 * HOUR, 60), &[], 2.0 * HOUR).pattern, Pattern::Kept);
        // Also if the same place makes short-lived objects all the time.
        let mixed = facts(evenly(0.0, 2.0, 20).chain(evenly(1.9 * HOUR, 2.0 * HOUR, 60)), &[(1.0, 4000)], 2.0 * HOUR);
        assert_eq!(mixed.pattern, Pattern::Kept, "{mixed:?}");
        assert!((mixed.median_seconds / HOUR - 1.8).abs() < 0.2 && mixed.rate == 0.0, "{mixed:?}");
    }

    #[test]
    fn what_is_born_all_along_and_never_freed_leaks() {
        let facts = facts(evenly(0.0, 2.0 * HOUR, 60), &[(1.0, 2)], 2.0 * HOUR);
        assert_eq!((facts.pattern, facts.usual_seconds), (Pattern::NeverFreed, None), "{facts:?}");
    }

    #[test]
    fn what_fills_ever_slower_is_none() {
        // Born at 1 - e^(-2t) of the time.
        let born = (0..200).map(|n| -(1.0 - (f64::from(n) + 0.5) / 200.0 * 0.8647).ln() / 2.0);
        let facts = facts(born.map(|at| 600.0 * (1.0 - at)), &[], 600.0);
        assert_eq!(facts.pattern, Pattern::Filling, "{facts:?}");
    }

    #[test]
    fn what_expires_comes_and_goes() {
        // Entries of a cache that live for ten minutes, in a process of two hours.
        let facts = facts(evenly(0.0, 600.0, 60), &[(600.0, 700)], 2.0 * HOUR);
        assert_eq!((facts.pattern, facts.confidence), (Pattern::ComeAndGo, 0.0), "{facts:?}");
        // A few stragglers are chance.
        let few = super::tests::facts(evenly(0.0, 2.0, 30).chain([900.0, 2000.0, 4000.0]), &[(1.0, 4000)], 2.0 * HOUR);
        assert_eq!(few.pattern, Pattern::ComeAndGo, "{few:?}");
    }

    #[test]
    fn what_mostly_outlives_a_short_time_does_not_come_and_go() {
        // One stack for buffers that are kept and others that a collector frees: seven seconds tell no lifetime.
        let mixed = facts(evenly(0.0, 6.0, 700), &[(0.6, 60), (1.5, 40), (3.0, 30), (5.0, 7)], 7.0);
        assert_eq!(mixed.pattern, Pattern::TooSoon, "{mixed:?}");
        // Sessions of a minute: nothing passes it.
        assert_eq!(facts(evenly(0.0, 60.0, 400), &[(60.0, 900)], 195.0).pattern, Pattern::ComeAndGo);
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes under Miri")]
    fn no_damaged_line_panics_or_gives_nonsense() {
        let line = "53/1311/146856 60/1/4000 133/18446744073709551615/1 | 0/12 31/18446744073709551615";
        for at in 0..line.len() {
            for flip in [0x01, 0x02, 0x04, 0x10] {
                let mut bytes = line.as_bytes().to_vec();
                bytes[at] ^= flip;
                let Some(ages) = std::str::from_utf8(&bytes).ok().and_then(Ages::parse) else { continue };
                let Some(facts) = AgeFacts::of(&ages, Some(7200.0), 131_072) else { continue };
                let figures = [facts.confidence, facts.median_seconds, facts.outliving_bytes, facts.rate];
                assert!(figures.iter().all(|figure| figure.is_finite()), "{facts:?}");
            }
        }
    }

    #[test]
    fn few_samples_are_not_judged_and_births_just_now_neither() {
        assert_eq!(facts(evenly(0.0, 60.0, 60), &[], 60.0).pattern, Pattern::NeverFreed);
        assert_eq!(facts(evenly(0.0, 1.0, 60), &[], 300.0).pattern, Pattern::Unclear);
        assert_eq!(facts([3000.0], &[], 2.0 * HOUR).pattern, Pattern::Unclear);
        assert_eq!(AgeFacts::of(&Ages::default(), Some(9e9), 1), None);
    }
}
