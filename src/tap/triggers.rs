//! When a dump is due: the keeper's decisions, as pure functions of what it measures.
//!
//! Floor 2. Bytes allocated (`lg_prof_interval`) are not decided here but where samples are counted.

use crate::wire::options::Options;

/// What may make a dump due, as set by options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Triggers {
    /// `prof_dump_seconds`: so much time since the last dump; 0: never.
    pub(crate) seconds: u64,
    /// `prof_dump_growth`: so many more live bytes than at the last dump; 0: never.
    pub(crate) growth_bytes: u64,
    /// `prof_dump_watermark`: percent of the memory limit that resident memory comes to exceed; 0: never.
    pub(crate) watermark_percent: u64,
}

/// What the keeper measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub(crate) now_ns: u64,
    /// Live bytes, estimated.
    pub(crate) live_bytes: u64,
    /// Memory in use and its limit, bytes, where there is a limit.
    pub(crate) memory: Option<(u64, u64)>,
}

/// Why a dump is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// The time is over.
    Seconds,
    /// The live bytes grew.
    Growth,
    /// Memory passed the watermark, or a step of 5 % above it.
    Watermark,
}

/// What is remembered of the last dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Last {
    ns: u64,
    live_bytes: u64,
    /// Highest watermark step dumped for: each one gives one dump.
    percent: u64,
}

impl Triggers {
    /// As the options say.
    pub(crate) fn of(options: &Options<'_>) -> Triggers {
        Triggers {
            seconds: options.prof_dump_seconds,
            growth_bytes: options.prof_dump_growth,
            watermark_percent: options.prof_dump_watermark,
        }
    }

    /// Whether anything here needs measuring.
    pub(crate) fn are_set(&self) -> bool {
        self.seconds | self.growth_bytes | self.watermark_percent != 0
    }

    /// Whether a dump is due; remembers it if so.
    pub(crate) fn due(&self, measured: &Measured, last: &mut Last) -> Option<Due> {
        let due = self
            .watermark(measured, last)
            .or_else(|| self.growth(measured, last))
            .or_else(|| self.time(measured, last));
        if due.is_some() {
            last.note(measured);
        }
        due
    }

    fn time(&self, measured: &Measured, last: &Last) -> Option<Due> {
        let waited = measured.now_ns.saturating_sub(last.ns);
        (self.seconds > 0 && waited / 1_000_000_000 >= self.seconds).then_some(Due::Seconds)
    }

    fn growth(&self, measured: &Measured, last: &Last) -> Option<Due> {
        let grown = measured.live_bytes.saturating_sub(last.live_bytes);
        (self.growth_bytes > 0 && grown >= self.growth_bytes).then_some(Due::Growth)
    }

    fn watermark(&self, measured: &Measured, last: &mut Last) -> Option<Due> {
        const STEP: u64 = 5;
        let (used, limit) = measured.memory?;
        let percent = (u128::from(used) * 100 / u128::from(limit.max(1))) as u64;
        if self.watermark_percent == 0 || percent < self.watermark_percent {
            return None;
        }
        let step = self.watermark_percent + (percent - self.watermark_percent) / STEP * STEP;
        let is_new = step > last.percent;
        last.percent = last.percent.max(step);
        is_new.then_some(Due::Watermark)
    }
}

impl Last {
    /// Remembers a dump, whatever it was written for.
    pub(crate) fn note(&mut self, measured: &Measured) {
        self.ns = measured.now_ns;
        self.live_bytes = measured.live_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, live_bytes: u64, memory: Option<(u64, u64)>) -> Measured {
        Measured { now_ns: seconds * 1_000_000_000, live_bytes, memory }
    }

    #[test]
    fn nothing_set_is_never_due() {
        let measured = at(1 << 30, 1 << 60, Some((99, 100)));
        assert!(!Triggers::default().are_set());
        assert_eq!(Triggers::default().due(&measured, &mut Last::default()), None);
    }

    #[test]
    fn time_and_growth_count_from_the_last_dump() {
        let triggers = Triggers { seconds: 60, growth_bytes: 1000, watermark_percent: 0 };
        let mut last = Last::default();
        last.note(&at(100, 5000, None));
        assert_eq!(triggers.due(&at(159, 5999, None), &mut last), None);
        assert_eq!(triggers.due(&at(159, 6000, None), &mut last), Some(Due::Growth));
        assert_eq!(triggers.due(&at(218, 100, None), &mut last), None);
        assert_eq!(triggers.due(&at(219, 100, None), &mut last), Some(Due::Seconds));
        assert_eq!(triggers.due(&at(220, 1099, None), &mut last), None);
        assert_eq!(triggers.due(&at(220, 1100, None), &mut last), Some(Due::Growth));
    }

    #[test]
    fn each_step_above_the_watermark_gives_one_dump() {
        let triggers = Triggers { seconds: 0, growth_bytes: 0, watermark_percent: 80 };
        let mut last = Last::default();
        let due = [79, 80, 82, 84, 85, 81, 85, 97]
            .map(|used| triggers.due(&at(0, 0, Some((used, 100))), &mut last).is_some());
        assert_eq!(due, [false, true, false, false, true, false, false, true]);
        assert_eq!(triggers.due(&at(0, 0, None), &mut last), None);
    }
}
