//! When a dump is due: the keeper's decisions, as pure functions of what it measures.
//!
//! Bytes allocated (`lg_prof_interval`) are not decided here but where samples are counted.

use crate::wire::options::values::{Growth, Options};

/// The conditions that make a dump due, as set by options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Triggers {
    /// `prof_dump_seconds`: so much time since the last dump; 0: never.
    pub(crate) seconds: u64,
    /// `prof_dump_growth`: so many more live bytes than at the last dump.
    pub(crate) growth: Growth,
    /// `prof_dump_watermark`: percent of the memory limit that memory in use comes to exceed; 0: never.
    pub(crate) watermark_percent: u64,
    /// `prof_dump_rss`: bytes that resident memory comes to exceed; 0: never.
    pub(crate) resident_bytes: u64,
}

/// The keeper's measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub(crate) now_ns: u64,
    /// Live bytes, estimated.
    pub(crate) live_bytes: u64,
    /// Memory in use and its limit, bytes, where there is a limit.
    pub(crate) memory: Option<(u64, u64)>,
    /// Resident memory, bytes, where it is asked for.
    pub(crate) resident: Option<u64>,
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

/// The last dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Last {
    ns: u64,
    live_bytes: u64,
    /// Highest steps dumped for, percent: of the watermark, and of the resident memory. Each gives one dump.
    memory_step: u64,
    resident_step: u64,
}

impl Triggers {
    /// As the options say.
    pub(crate) fn of(options: &Options<'_>) -> Triggers {
        Triggers {
            seconds: options.prof_dump_seconds,
            growth: options.prof_dump_growth,
            watermark_percent: options.prof_dump_watermark,
            resident_bytes: options.prof_dump_rss,
        }
    }

    /// Whether anything here needs measuring.
    pub(crate) fn are_set(&self) -> bool {
        self.seconds | self.watermark_percent | self.resident_bytes != 0 || self.growth != Growth::None
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
        let is_due = match self.growth {
            Growth::None => false,
            Growth::Bytes(bytes) => grown >= bytes,
            // From nothing, any growth is infinite: a MiB is waited for.
            Growth::Percent(percent) => {
                let base = last.live_bytes.max(1 << 20);
                u128::from(grown) * 100 >= u128::from(base) * u128::from(percent)
            }
        };
        is_due.then_some(Due::Growth)
    }

    fn watermark(&self, measured: &Measured, last: &mut Last) -> Option<Due> {
        let memory = measured.memory.is_some_and(|(used, limit)| {
            self.watermark_percent > 0 && is_new_step(used, limit, self.watermark_percent, &mut last.memory_step)
        });
        let resident = measured.resident.is_some_and(|used| {
            self.resident_bytes > 0 && is_new_step(used, self.resident_bytes, 100, &mut last.resident_step)
        });
        (memory || resident).then_some(Due::Watermark)
    }
}

/// Whether so much is at or above that percentage of a limit, and a step of 5 % further than ever before.
fn is_new_step(used: u64, limit: u64, from_percent: u64, highest: &mut u64) -> bool {
    const STEP: u64 = 5;
    let percent = u64::try_from(u128::from(used) * 100 / u128::from(limit.max(1))).unwrap_or(u64::MAX);
    if percent < from_percent {
        return false;
    }
    let step = from_percent + (percent - from_percent) / STEP * STEP;
    let is_new = step > *highest;
    *highest = step.max(*highest);
    is_new
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
        Measured { now_ns: seconds * 1_000_000_000, live_bytes, memory, resident: None }
    }

    #[test]
    fn nothing_set_is_never_due() {
        let measured = at(1 << 30, 1 << 60, Some((99, 100)));
        assert!(!Triggers::default().are_set());
        assert_eq!(Triggers::default().due(&measured, &mut Last::default()), None);
    }

    #[test]
    fn time_and_growth_count_from_the_last_dump() {
        let triggers = Triggers { seconds: 60, growth: Growth::Bytes(1000), ..Triggers::default() };
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
        let triggers = Triggers { watermark_percent: 80, ..Triggers::default() };
        let mut last = Last::default();
        let due = [79, 80, 82, 84, 85, 81, 85, 97]
            .map(|used| triggers.due(&at(0, 0, Some((used, 100))), &mut last).is_some());
        assert_eq!(due, [false, true, false, false, true, false, false, true]);
        assert_eq!(triggers.due(&at(0, 0, None), &mut last), None);
    }

    #[test]
    fn resident_memory_has_steps_of_its_own() {
        let triggers = Triggers { resident_bytes: 1000, ..Triggers::default() };
        let mut last = Last::default();
        let due = [999, 1000, 1049, 1050, 900, 1050, 3000].map(|resident| {
            let measured = Measured { resident: Some(resident), ..Measured::default() };
            triggers.due(&measured, &mut last).is_some()
        });
        assert_eq!(due, [false, true, false, true, false, false, true]);
    }

    #[test]
    fn growth_by_percent_counts_from_the_last_dump_and_waits_for_a_mebibyte() {
        let triggers = Triggers { growth: Growth::Percent(50), ..Triggers::default() };
        let mut last = Last::default();
        let due = [1, 1 << 19, 700_000, 900_000, 3_000_000, 4_499_999, 4_500_000]
            .map(|live| triggers.due(&at(0, live, None), &mut last).is_some());
        assert_eq!(due, [false, true, false, false, true, false, true]);
    }
}
