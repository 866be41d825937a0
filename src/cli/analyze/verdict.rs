//! What a row is: the verdict over its series, its ages and what such a place usually does.
//!
//! | verdict    | evidence |
//! |------------|----------|
//! | leak       | rises beyond noise to the end, and what was born early is still there; or objects outlive what is usual there, born all along |
//! | grows      | as a leak, but from too few points to tell a leak from a cache that fills |
//! | fills      | rises, ever slower: a cache that fills, a warm-up |
//! | open       | rose, and too little was seen to judge: at once just before the end, in few objects, or seen too seldom |
//! | held       | born, then no more, and never freed: a table, a cache, or a leak that stopped |
//! | cache      | the same, born as the process started |
//! | plateau    | rose beyond noise, then stopped, and its objects are renewed |
//! | busier     | rises, but no object is older than such objects become: more work in flight |
//! | churn      | objects come and go |
//! | jit        | memory of a compiler: it comes and goes, unless it rises step by step through many dumps |
//! | pool       | a known pool that rises in a few steps, or has stopped |
//! | shrinks, steady, unknown | as the words say |
//!
//! Growth needs all of: more than chance explains, among all places that were tested (`chance`); a course that goes on
//! to the end (`shape`); a last value that is above the first; and a part of all live bytes worth the word. A leak
//! needs besides that what was born early lives: of what grew, some was born in the first half of the time.

use super::ages::{AgeFacts, Pattern};
use super::culprits::Kind;
use super::shape::Shape;
use super::trend::{Trend, Verdict};
use serde::Serialize;

/// Dumps through which compiler memory must rise step by step to be more than noise.
const JIT_DUMPS: usize = 8;
/// Dumps that tell a course by themselves.
const COURSE: usize = 3;
/// Dumps that tell it better than ages do.
const MANY: usize = 8;
/// Part of the live bytes that growth must be to be worth a word, or so many bytes.
const RELEVANT: (f64, f64) = (0.005, (16 << 20) as f64);
/// Bytes from which on what a place holds is worth advice.
const SIZE: f64 = (16 << 20) as f64;
/// Born before this part of the observed life: as the process started.
const START: f64 = 0.8;

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Conclusion {
    /// It is not given back.
    Leak,
    /// It grows; two dumps do not tell why.
    Grows,
    /// It grows ever slower.
    Fills,
    /// It rose, and too little was seen of it.
    Open,
    /// Never freed, and does not grow now.
    Held,
    /// Memory of the JIT compiler.
    Jit,
    /// A pool.
    Pool,
    /// Rose, then stopped.
    Plateau,
    /// More of it in flight, none of it kept.
    Busier,
    /// Allocated as the process started, and kept.
    Cache,
    /// Comes and goes.
    Churn,
    /// Became less.
    Shrinks,
    /// Does not change.
    Steady,
    /// One dump without ages.
    Unknown,
}

impl Conclusion {
    /// Whether it is worth somebody's time.
    pub(crate) fn is_suspect(self) -> bool {
        matches!(self, Conclusion::Leak | Conclusion::Grows)
    }

    /// Whether advice is worth giving to a place that holds so much of all: it grows, or it is a tenth of all and at
    /// least [`SIZE`], and nobody knows that it is well.
    pub(crate) fn is_worth_a_hint(self, bytes: f64, total: f64) -> bool {
        let is_much = bytes >= 0.1 * total && bytes >= SIZE;
        match self {
            Conclusion::Leak | Conclusion::Grows => true,
            Conclusion::Steady | Conclusion::Shrinks | Conclusion::Churn => false,
            _ => is_much,
        }
    }

    /// Whether it may be a leak, and more time would tell.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Conclusion::Fills | Conclusion::Open | Conclusion::Unknown)
    }
}

/// A verdict on a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Judgement {
    /// What it is.
    pub(crate) verdict: Conclusion,
    /// How sure that is, 0 to 1; 0 where nothing is claimed.
    pub(crate) confidence: f64,
    /// How fast it grows, bytes a second; `None` where it does not, or there is no clock.
    pub(crate) rate: Option<f64>,
    /// Bound of the error of `rate` that holds in 95 of 100 cases.
    pub(crate) rate_error: Option<f64>,
    /// Bytes that it is about: grown, or held.
    pub(crate) bytes: f64,
    /// Whether the ages of its objects say it, rather than the series.
    pub(crate) is_by_ages: bool,
}

/// What a verdict rests on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence<'a> {
    /// The row over the series.
    pub(crate) trend: &'a Trend,
    /// The ages of its objects in the last dump that is judged.
    pub(crate) ages: Option<&'a AgeFacts>,
    /// How such a place behaves.
    pub(crate) kind: Option<Kind>,
    /// Seconds from the first dump to the last; `None` if there is no clock.
    pub(crate) span_seconds: Option<f64>,
    /// Whether the last dump is not judged, as the process was ending.
    pub(crate) is_cut: bool,
    /// For how long births were recorded, seconds.
    pub(crate) window: Option<f64>,
    /// Live bytes of the whole process.
    pub(crate) total: f64,
    /// Probability of error that it may have.
    pub(crate) allowed: f64,
    /// Variance that a byte of growth brings.
    pub(crate) grain: f64,
}

impl Evidence<'_> {
    /// The verdict.
    pub(crate) fn judge(&self) -> Judgement {
        let by_series = |verdict| self.by_series(verdict);
        let by_ages = |otherwise| self.by_ages().unwrap_or_else(|| by_series(otherwise));
        match self.trend.verdict {
            Verdict::Grows => self.growing(),
            Verdict::Plateau if self.kind == Some(Kind::Pool) => by_series(Conclusion::Pool),
            Verdict::Plateau | Verdict::Shrinks if self.kind == Some(Kind::Jit) => by_series(Conclusion::Jit),
            Verdict::Plateau => self.risen(),
            Verdict::Shrinks => by_series(Conclusion::Shrinks),
            Verdict::Steady if self.trend.shape == Shape::Sawtooth => by_ages(Conclusion::Churn),
            Verdict::Steady if self.trend.is_by_few && self.is_relevant(self.trend.change_bytes()) => {
                let found = by_ages(Conclusion::Open);
                if found.verdict == Conclusion::Steady { by_series(Conclusion::Open) } else { found }
            }
            Verdict::Steady => by_ages(Conclusion::Steady),
            Verdict::Unknown => by_ages(Conclusion::Unknown),
        }
    }

    fn by_series(&self, verdict: Conclusion) -> Judgement {
        let grows = verdict.is_suspect() || matches!(verdict, Conclusion::Busier | Conclusion::Fills);
        let timed = self.span_seconds.filter(|_| grows);
        let is_claimed = !matches!(verdict, Conclusion::Unknown | Conclusion::Open);
        Judgement {
            verdict,
            confidence: if is_claimed { self.trend.confidence } else { 0.0 },
            rate: timed.map(|_| self.trend.slope),
            rate_error: timed.map(|_| self.trend.slope_error),
            bytes: if verdict == Conclusion::Held { self.trend.last_bytes } else { self.trend.change_bytes() },
            is_by_ages: false,
        }
    }

    /// What growth is that goes on.
    fn growing(&self) -> Judgement {
        let trend = self.trend;
        let is_persistent = trend.rising >= 0.6 || trend.moments >= MANY;
        match self.kind {
            Some(Kind::Jit) if !is_persistent || trend.moments < JIT_DUMPS => return self.by_series(Conclusion::Jit),
            Some(Kind::Pool) if trend.rising < 0.5 => return self.by_series(Conclusion::Pool),
            _ => {}
        }
        if !self.is_relevant(trend.change_bytes()) {
            return self.by_series(Conclusion::Steady);
        }
        if !trend.is_by_size && !self.persists() {
            return self.by_series(Conclusion::Busier);
        }
        if trend.shape == Shape::Slowing {
            return self.by_series(Conclusion::Fills);
        }
        // The end of the process took the last snapshot away, and two are left.
        if self.is_cut && trend.moments < COURSE {
            return self.by_series(Conclusion::Open);
        }
        let pattern = self.ages.map(|ages| ages.pattern);
        let verdict = match pattern {
            Some(Pattern::Outlive | Pattern::NeverFreed) => Conclusion::Leak,
            // One dump, of a process that freed things as it ended: nobody knows how old they were.
            None if self.is_cut => Conclusion::Grows,
            // What few moments see is a part of what ages see; of many, the course is finer than the bins of ages.
            Some(Pattern::Filling) if trend.moments < MANY => Conclusion::Fills,
            Some(Pattern::Kept) if trend.moments < COURSE => Conclusion::Held,
            Some(Pattern::Unclear) if trend.moments < COURSE && !trend.is_by_size => Conclusion::Open,
            // It rose for as long as its objects may live.
            Some(Pattern::TooSoon) => Conclusion::Grows,
            Some(Pattern::Mixed) => Conclusion::Open,
            _ if trend.moments < COURSE => Conclusion::Grows,
            _ => Conclusion::Leak,
        };
        self.by_series(verdict)
    }

    /// What rose and stopped: held, if none of it goes; or a leak beneath it that the ages show.
    fn risen(&self) -> Judgement {
        let of_ages = self.by_ages().filter(|found| matches!(found.verdict, Conclusion::Leak | Conclusion::Open));
        if let Some(found) = of_ages {
            return found;
        }
        let comes_and_goes = self.ages.is_some_and(|ages| matches!(ages.pattern, Pattern::ComeAndGo | Pattern::Mixed));
        if matches!(self.trend.shape, Shape::Step | Shape::Stepwise) {
            let is_small = !self.is_relevant(self.trend.change_bytes());
            return self.by_series(match comes_and_goes {
                true => Conclusion::Churn,
                false if is_small => Conclusion::Steady,
                false => Conclusion::Open,
            });
        }
        let is_kept = self.trend.died.is_some_and(|died| died < 0.1 * self.trend.change_bytes());
        let is_held = is_kept && self.ages.is_some_and(|ages| ages.never_freed || ages.pattern == Pattern::Kept);
        self.by_series(if is_held { Conclusion::Held } else { Conclusion::Plateau })
    }

    /// Whether part of what grew was born in the first half of the time, as ages tell; `true` where they do not.
    fn persists(&self) -> bool {
        let (Some(ages), Some(span), Some(born)) = (self.ages, self.span_seconds, self.trend.born) else { return true };
        if ages.pattern == Pattern::ComeAndGo {
            return false;
        }
        if matches!(
            ages.pattern,
            Pattern::Outlive | Pattern::NeverFreed | Pattern::Kept | Pattern::Filling | Pattern::TooSoon
        ) {
            return true;
        }
        let older = |seconds: f64| -> f64 {
            ages.live.iter().filter(|bin| bin.from_seconds >= seconds).map(|bin| bin.bytes).sum()
        };
        let early = older(span / 2.0) - older(span);
        early > 0.2 * born.min(self.trend.change_bytes())
    }

    /// Whether it is a part of the process worth the word.
    fn is_relevant(&self, bytes: f64) -> bool {
        bytes >= RELEVANT.0 * self.total || bytes >= RELEVANT.1
    }

    /// What the ages say where the series says nothing.
    fn by_ages(&self) -> Option<Judgement> {
        let ages = self.ages?;
        let is_believed = ages.chance <= self.allowed && self.is_relevant(ages.late_bytes);
        let verdict = match ages.pattern {
            Pattern::Outlive | Pattern::NeverFreed | Pattern::Filling if self.is_contradicted(ages) => {
                Conclusion::Steady
            }
            Pattern::Outlive | Pattern::NeverFreed if !is_believed => return None,
            Pattern::Outlive | Pattern::NeverFreed => match self.kind {
                Some(Kind::Jit) => Conclusion::Jit,
                Some(Kind::Pool) => Conclusion::Pool,
                // Tables of the VM grow with classes and threads for a while: a series must say it.
                Some(Kind::Jvm) if self.trend.moments < COURSE => Conclusion::Open,
                _ => Conclusion::Leak,
            },
            Pattern::Filling if is_believed && self.trend.moments < MANY => Conclusion::Fills,
            Pattern::Filling => Conclusion::Steady,
            Pattern::Kept if self.is_from_start(ages) => Conclusion::Cache,
            Pattern::Kept => Conclusion::Held,
            Pattern::ComeAndGo | Pattern::Mixed => Conclusion::Churn,
            Pattern::Older if self.is_relevant(ages.outliving_bytes) => Conclusion::Open,
            Pattern::Unclear | Pattern::TooSoon | Pattern::Older => return None,
        };
        let is_leak = verdict == Conclusion::Leak;
        // No more than that rate makes in all the time: a start of the same stack is no leak.
        let grown = self.window.map_or(ages.outliving_bytes, |window| (ages.rate * window).min(ages.outliving_bytes));
        let bytes = match verdict {
            Conclusion::Leak | Conclusion::Fills => grown,
            Conclusion::Open => ages.late_bytes,
            _ => self.trend.last_bytes,
        };
        let is_rate = matches!(verdict, Conclusion::Leak | Conclusion::Fills);
        let rate_error = if ages.late_bytes > 0.0 {
            super::chance::BOUND_95 * (self.grain * ages.late_bytes).sqrt() * ages.rate / ages.late_bytes
        } else {
            0.0
        };
        Some(Judgement {
            verdict,
            confidence: if is_leak { ages.confidence } else { 0.0 },
            rate: is_rate.then_some(ages.rate),
            rate_error: is_rate.then_some(rate_error),
            bytes,
            is_by_ages: true,
        })
    }

    /// Whether nine tenths of it were born as the process started.
    fn is_from_start(&self, ages: &AgeFacts) -> bool {
        self.window.is_some_and(|window| ages.born.1 > START * window)
    }

    /// Whether the series would show a leak of that rate, and does not.
    fn is_contradicted(&self, ages: &AgeFacts) -> bool {
        let seen = self.trend.change_bytes() + self.trend.noise_bytes;
        let is_unseen = |span: f64| ages.rate * span > 2.0 * seen.max(0.0);
        self.trend.verdict == Verdict::Steady && self.span_seconds.is_some_and(is_unseen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::analyze::chance::FALSE_ALARMS;
    use crate::cli::analyze::trend::tests::{MIB, moments, track};
    use crate::wire::ages::{Ages, live_bin};
    use crate::wire::live::records::age_bin;

    /// Samples of 1 MiB at these ages, seconds, and so many freed ones that had lived for so long.
    fn ages(live: impl IntoIterator<Item = f64>, freed: &[(f64, u64)]) -> Option<Ages> {
        let mut ages = Ages::default();
        live.into_iter().for_each(|age| ages.add_live(live_bin((age * 1e9) as u64), 1.0, MIB));
        freed.iter().for_each(|(age, samples)| ages.add_freed(age_bin((age * 1e9) as u64) as u8, *samples));
        Some(ages)
    }

    fn evenly(from: f64, to: f64, count: u32) -> impl Iterator<Item = f64> {
        (0..count).map(move |n| from + (to - from) * (f64::from(n) + 0.5) / f64::from(count))
    }

    fn facts(ages: Option<&Ages>) -> Option<AgeFacts> {
        AgeFacts::of(ages?, Some(100.0), 1)
    }

    /// What MiB at each moment, ten seconds apart, and ages are called, in a process of 100 seconds.
    fn judge(values: &[f64], ages: Option<Ages>, kind: Option<Kind>, total: f64) -> Judgement {
        let mut track = track(values);
        let facts = facts(ages.as_ref());
        track.ages = ages.unwrap_or_default();
        let trend = Trend::of(&moments(values.len()), &track, FALSE_ALARMS);
        let evidence = Evidence {
            trend: &trend,
            ages: facts.as_ref(),
            kind,
            span_seconds: (values.len() > 1).then_some(10.0 * (values.len() - 1) as f64),
            is_cut: false,
            window: Some(100.0),
            total: total * MIB,
            allowed: FALSE_ALARMS,
            grain: MIB,
        };
        evidence.judge()
    }

    fn word(values: &[f64], ages: Option<Ages>, kind: Option<Kind>) -> Conclusion {
        judge(values, ages, kind, 100.0).verdict
    }

    const RISING: [f64; 9] = [20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0];
    const STOPPED: [f64; 9] = [20.0, 50.0, 80.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0];
    const FLAT: [f64; 9] = [100.0; 9];

    #[test]
    fn what_rises_and_stays_leaks() {
        assert_eq!(word(&RISING, None, None), Conclusion::Leak);
        assert_eq!(word(&RISING, ages(evenly(0.0, 100.0, 60), &[]), None), Conclusion::Leak);
        // Of two moments without ages nobody knows why.
        assert_eq!(word(&[20.0, 100.0], None, None), Conclusion::Grows);
        let found = judge(&RISING, None, None, 100.0);
        assert!((found.rate.unwrap() / MIB - 1.0).abs() < 0.01 && found.rate_error.unwrap() > 0.0, "{found:?}");
        assert_eq!(found.bytes, 80.0 * MIB);
    }

    #[test]
    fn what_rises_and_is_renewed_is_busier() {
        assert_eq!(word(&RISING, ages(evenly(0.0, 4.0, 60), &[(2.0, 3000)]), None), Conclusion::Busier);
    }

    #[test]
    fn what_rises_ever_slower_fills() {
        let slowing: Vec<f64> = (0..21).map(|n| 1000.0 * (1.0 - (-f64::from(n) / 10.0).exp())).collect();
        assert_eq!(word(&slowing, None, None), Conclusion::Fills);
    }

    #[test]
    fn the_course_of_many_moments_is_finer_than_ages() {
        // Born ever less, as far as bins of ages tell; the series rises evenly.
        let fewer = (0..200).map(|n| 100.0 * (1.0 + (1.0 - (f64::from(n) + 0.5) / 200.0 * 0.8647).ln() / 2.0));
        let fewer = ages(fewer, &[]);
        assert_eq!(facts(fewer.as_ref()).unwrap().pattern, Pattern::Filling);
        assert_eq!(word(&RISING, fewer.clone(), None), Conclusion::Leak);
        assert_eq!(word(&[20.0, 60.0, 100.0], fewer, None), Conclusion::Fills);
    }

    #[test]
    fn what_rose_and_stopped_is_held_if_nothing_of_it_died() {
        assert_eq!(word(&STOPPED, None, None), Conclusion::Plateau);
        let kept = ages(evenly(50.0, 80.0, 60).chain(evenly(88.0, 100.0, 15)), &[]);
        assert_eq!(word(&STOPPED, kept, None), Conclusion::Held);
    }

    #[test]
    fn what_rose_at_once_just_now_is_open_unless_such_things_come_and_go() {
        let step = [20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 100.0];
        assert_eq!(word(&step, None, None), Conclusion::Open);
        assert_eq!(word(&step, ages(evenly(0.0, 4.0, 60), &[(2.0, 3000)]), None), Conclusion::Churn);
        // A trifle is not worth the word.
        assert_eq!(judge(&step.map(|mib| mib / 100.0), None, None, 4000.0).verdict, Conclusion::Steady);
    }

    #[test]
    fn compilers_and_pools_are_known() {
        assert_eq!(word(&STOPPED, None, Some(Kind::Jit)), Conclusion::Jit);
        assert_eq!(word(&[20.0, 60.0, 100.0], None, Some(Kind::Jit)), Conclusion::Jit);
        assert_eq!(word(&RISING, None, Some(Kind::Jit)), Conclusion::Leak);
        assert_eq!(word(&STOPPED, None, Some(Kind::Pool)), Conclusion::Pool);
    }

    #[test]
    fn ages_speak_where_the_series_is_silent() {
        let leaking = || ages(evenly(0.0, 100.0, 60), &[]);
        assert_eq!(word(&[100.0], leaking(), None), Conclusion::Leak);
        assert_eq!(word(&[100.0], leaking(), Some(Kind::Jvm)), Conclusion::Open);
        assert_eq!(word(&[100.0], None, None), Conclusion::Unknown);
        assert_eq!(word(&FLAT, ages(evenly(88.0, 100.0, 60), &[]), None), Conclusion::Cache);
        assert_eq!(word(&FLAT, ages(evenly(50.0, 60.0, 60), &[]), None), Conclusion::Held);
        assert_eq!(word(&FLAT, ages(evenly(0.0, 4.0, 60), &[(2.0, 3000)]), None), Conclusion::Churn);
        // The series would show it.
        assert_eq!(word(&FLAT, leaking(), None), Conclusion::Steady);
    }

    #[test]
    fn small_growth_is_not_worth_the_word_and_less_is_less() {
        assert_eq!(judge(&RISING.map(|mib| mib / 10.0), None, None, 4000.0).verdict, Conclusion::Steady);
        let falling: Vec<f64> = RISING.iter().rev().copied().collect();
        assert_eq!(word(&falling, None, None), Conclusion::Shrinks);
    }

    #[test]
    fn advice_is_given_to_what_grows_and_to_what_is_much() {
        let is_worth = |verdict: Conclusion, mib: f64| verdict.is_worth_a_hint(mib * MIB, 100.0 * MIB);
        assert!(is_worth(Conclusion::Leak, 0.1) && is_worth(Conclusion::Held, 50.0));
        assert!(!is_worth(Conclusion::Held, 5.0) && !is_worth(Conclusion::Steady, 50.0));
    }
}
