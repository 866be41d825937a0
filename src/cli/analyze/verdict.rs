//! What a row is: the verdict over its series, its ages and what such a place usually does.
//!
//! | verdict    | evidence |
//! |------------|----------|
//! | leak       | rises beyond noise, step by step, to the end; or objects outlive what is usual there, born all along |
//! | grows      | as a leak, but from two dumps, which cannot tell a leak from a cache that fills |
//! | jit        | memory of a compiler: it comes and goes, unless it rises step by step through many dumps |
//! | pool       | a known pool that rises in a few steps, or has stopped |
//! | plateau    | rose beyond noise, then stopped |
//! | busier     | rises, but no object is older than such objects become: more work in flight |
//! | cache      | allocated once, long ago, and kept |
//! | churn      | objects come and go |
//! | shrinks, steady, unknown | as the words say |
//!
//! A series is believed before ages where both speak of growth: what leaks by its ages must not have stood still for longer
//! than its rate allows.

use super::ages::{AgeFacts, Pattern};
use super::culprits::Kind;
use super::trend::{Trend, Verdict};
use serde::Serialize;

/// Dumps through which compiler memory must rise step by step to be more than noise.
const JIT_DUMPS: usize = 8;

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Conclusion {
    /// It is not given back.
    Leak,
    /// It grows; two dumps do not tell why.
    Grows,
    /// Memory of the JIT compiler.
    Jit,
    /// A pool.
    Pool,
    /// Rose, then stopped.
    Plateau,
    /// More of it in flight, none of it kept.
    Busier,
    /// Allocated once and kept.
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
    /// Whether the ages of its objects say it, rather than the series.
    pub(crate) is_by_ages: bool,
}

/// What a verdict rests on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence<'a> {
    /// The row over the series.
    pub(crate) trend: &'a Trend,
    /// The ages of its objects.
    pub(crate) ages: Option<&'a AgeFacts>,
    /// How such a place behaves.
    pub(crate) kind: Option<Kind>,
    /// Dumps of the series.
    pub(crate) dumps: usize,
    /// Seconds from the first to the last; `None` if there is no clock.
    pub(crate) span_seconds: Option<f64>,
}

impl Evidence<'_> {
    /// The verdict.
    pub(crate) fn judge(&self) -> Judgement {
        let by_series = |verdict: Conclusion| {
            let grows = verdict.is_suspect() || verdict == Conclusion::Busier;
            let rate = self.span_seconds.filter(|_| grows).map(|_| self.trend.slope);
            let confidence = if verdict == Conclusion::Unknown { 0.0 } else { self.trend.confidence };
            Judgement { verdict, confidence, rate, is_by_ages: false }
        };
        match self.trend.verdict {
            Verdict::Grows => by_series(self.growing()),
            Verdict::Plateau if self.kind == Some(Kind::Pool) => by_series(Conclusion::Pool),
            Verdict::Plateau | Verdict::Shrinks if self.kind == Some(Kind::Jit) => by_series(Conclusion::Jit),
            Verdict::Plateau => by_series(Conclusion::Plateau),
            Verdict::Shrinks => by_series(Conclusion::Shrinks),
            Verdict::Steady => self.by_ages().unwrap_or_else(|| by_series(Conclusion::Steady)),
            Verdict::Unknown => self.by_ages().unwrap_or_else(|| by_series(Conclusion::Unknown)),
        }
    }

    /// What growth is.
    fn growing(&self) -> Conclusion {
        let is_persistent = self.trend.is_persistent();
        match self.kind {
            Some(Kind::Jit) if !is_persistent || self.dumps < JIT_DUMPS => return Conclusion::Jit,
            Some(Kind::Pool) if self.trend.rising < 0.5 => return Conclusion::Pool,
            _ => {}
        }
        if self.ages.is_some_and(|ages| ages.pattern == Pattern::ComeAndGo) {
            return Conclusion::Busier;
        }
        match self.dumps {
            _ if !is_persistent => Conclusion::Plateau,
            2 if self.ages.is_none_or(|ages| !is_leak(ages.pattern)) => Conclusion::Grows,
            _ => Conclusion::Leak,
        }
    }

    /// What the ages say where the series says nothing.
    fn by_ages(&self) -> Option<Judgement> {
        let ages = self.ages?;
        let verdict = match ages.pattern {
            Pattern::Outlive | Pattern::NeverFreed if self.is_contradicted(ages) => Conclusion::Steady,
            Pattern::Outlive | Pattern::NeverFreed => match self.kind {
                Some(Kind::Jit) => Conclusion::Jit,
                Some(Kind::Pool) => Conclusion::Pool,
                _ => Conclusion::Leak,
            },
            Pattern::Kept => Conclusion::Cache,
            Pattern::ComeAndGo => Conclusion::Churn,
            Pattern::Unclear => return None,
        };
        let is_leak = verdict == Conclusion::Leak;
        let confidence = if is_leak { ages.confidence } else { 0.0 };
        Some(Judgement { verdict, confidence, rate: is_leak.then_some(ages.rate), is_by_ages: true })
    }

    /// Whether the series would show a leak of that rate, and does not.
    fn is_contradicted(&self, ages: &AgeFacts) -> bool {
        let unseen = |span: f64| ages.rate * span > 2.0 * self.trend.noise_bytes;
        self.trend.verdict == Verdict::Steady && self.span_seconds.is_some_and(unseen)
    }
}

fn is_leak(pattern: Pattern) -> bool {
    matches!(pattern, Pattern::Outlive | Pattern::NeverFreed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1048576.0;

    fn ages(pattern: Pattern, rate: f64) -> AgeFacts {
        AgeFacts {
            pattern,
            confidence: 0.99,
            median_seconds: 3600.0,
            oldest_seconds: 7200.0,
            usual_seconds: Some(2.0),
            freed_samples: 4000,
            outliving_bytes: 8.0 * MIB,
            outliving_objects: 200.0,
            rate,
            live: Vec::new(),
            freed: Vec::new(),
        }
    }

    /// MiB in dumps ten seconds apart.
    fn judge(values: &[f64], kind: Option<Kind>, pattern: Option<Pattern>) -> Judgement {
        let times: Vec<f64> = (0..values.len()).map(|n| n as f64 * 10.0).collect();
        let values: Vec<f64> = values.iter().map(|value| value * MIB).collect();
        let trend = Trend::of(&times, &values, 131_072);
        let ages = pattern.map(|pattern| ages(pattern, 1000.0));
        let span_seconds = times.last().copied();
        Evidence { trend: &trend, ages: ages.as_ref(), kind, dumps: values.len(), span_seconds }.judge()
    }

    fn verdict(values: &[f64], kind: Option<Kind>, pattern: Option<Pattern>) -> Conclusion {
        judge(values, kind, pattern).verdict
    }

    const RISING: &[f64] = &[10.0, 40.0, 70.0, 100.0, 130.0];

    #[test]
    fn one_step_in_three_dumps_is_no_leak_however_sure() {
        assert_eq!(verdict(&[0.0, 20.0, 20.0], Some(Kind::Gc), None), Conclusion::Plateau);
    }

    #[test]
    fn leak_with_its_rate_and_confidence() {
        let found = judge(RISING, Some(Kind::Leak), None);
        assert_eq!((found.verdict, found.is_by_ages), (Conclusion::Leak, false));
        assert!((found.rate.unwrap() / MIB - 3.0).abs() < 1e-9 && found.confidence > 0.9999, "{found:?}");
    }

    #[test]
    fn two_dumps_grow_and_do_not_leak_unless_ages_say_so() {
        assert_eq!(verdict(&[10.0, 100.0], None, None), Conclusion::Grows);
        assert_eq!(verdict(&[10.0, 100.0], None, Some(Pattern::Outlive)), Conclusion::Leak);
    }

    #[test]
    fn plateau() {
        assert_eq!(verdict(&[10.0, 60.0, 90.0, 100.0, 100.0, 99.0, 100.0], None, None), Conclusion::Plateau);
    }

    #[test]
    fn jit_noise_unless_it_rises_through_many_dumps() {
        assert_eq!(verdict(&[2.0, 40.0, 45.0], Some(Kind::Jit), None), Conclusion::Jit);
        assert_eq!(verdict(&[40.0, 2.0], Some(Kind::Jit), None), Conclusion::Jit);
        let long: Vec<f64> = (0..20).map(|n| 10.0 + 5.0 * f64::from(n)).collect();
        assert_eq!(verdict(&long, Some(Kind::Jit), None), Conclusion::Leak);
    }

    #[test]
    fn a_pool_that_rises_in_steps_or_stops() {
        let stairs = [16.0, 16.0, 32.0, 32.0, 32.0, 48.0, 48.0, 48.0, 64.0];
        assert_eq!(verdict(&stairs, Some(Kind::Pool), None), Conclusion::Pool);
        assert_eq!(verdict(&[16.0, 64.0, 64.0, 64.0, 64.0, 64.0], Some(Kind::Pool), None), Conclusion::Pool);
        assert_eq!(verdict(RISING, Some(Kind::Pool), None), Conclusion::Leak);
    }

    #[test]
    fn more_in_flight_is_no_leak() {
        assert_eq!(verdict(RISING, None, Some(Pattern::ComeAndGo)), Conclusion::Busier);
    }

    #[test]
    fn one_dump_is_judged_by_ages() {
        let leak = judge(&[100.0], None, Some(Pattern::Outlive));
        assert_eq!(
            (leak.verdict, leak.confidence, leak.rate, leak.is_by_ages),
            (Conclusion::Leak, 0.99, Some(1000.0), true)
        );
        assert_eq!(verdict(&[100.0], None, Some(Pattern::Kept)), Conclusion::Cache);
        assert_eq!(verdict(&[100.0], None, Some(Pattern::ComeAndGo)), Conclusion::Churn);
        assert_eq!(verdict(&[100.0], None, Some(Pattern::Unclear)), Conclusion::Unknown);
        assert_eq!(verdict(&[100.0], None, None), Conclusion::Unknown);
    }

    #[test]
    fn a_series_that_stands_still_contradicts_a_leak_that_it_would_show() {
        let still = [100.0; 5];
        // 1000 bytes a second are below noise in forty seconds …
        assert_eq!(verdict(&still, None, Some(Pattern::Outlive)), Conclusion::Leak);
        // … a megabyte a second is not.
        let times = [0.0, 10.0, 20.0, 30.0, 40.0];
        let trend = Trend::of(&times, &still.map(|value| value * MIB), 131_072);
        let ages = ages(Pattern::Outlive, MIB);
        let evidence = Evidence { trend: &trend, ages: Some(&ages), kind: None, dumps: 5, span_seconds: Some(40.0) };
        assert_eq!(evidence.judge().verdict, Conclusion::Steady);
        assert_eq!(verdict(&[100.0, 20.0], None, None), Conclusion::Shrinks);
        assert_eq!(verdict(&still, None, None), Conclusion::Steady);
    }
}
