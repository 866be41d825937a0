//! Law 8: keeps what sampling costs below a share of the process's own CPU time, by raising the period.
//!
//! Now and then, on a visit that is measured anyway, a thread looks whether the process has used another second
//! of CPU time, and has been in the profiler often enough to tell. If the profiler's part of it was above `prof_max_overhead`, the period grows by as much as
//! was spent too much, in powers of two and at most sixteenfold; if it was below two fifths of that, it
//! halves, down to what was asked for. A period of one byte means "every allocation" and is never raised.
//!
//! No lock: one exchange decides which thread looks. Samples carry their own period, so a change costs nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

/// CPU time that a judgement is based on, and the least time between two looks.
const WINDOW_NS: u64 = 1_000_000_000;
/// Visits to the profiler that a judgement is based on: some thirty of them were measured.
const LEAST_VISITS: u64 = 4096;
/// Most that the period grows by at a time.
const MOST_AT_ONCE: u64 = 16;
/// Nothing larger is useful: one sample per TiB.
const LONGEST_PERIOD: u64 = 1 << 40;

/// What was spent in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent {
    /// CPU time of the process, nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Of it in the profiler.
    pub(crate) profiler_ns: u64,
    /// Samples taken and taken back.
    pub(crate) visits: u64,
}

/// The governor's window, and the period that it goes back to.
pub(crate) struct Governor {
    wanted_period: AtomicU64,
    next_look_ns: AtomicU64,
    cpu_ns: AtomicU64,
    profiler_ns: AtomicU64,
    visits: AtomicU64,
}

impl Governor {
    /// A window that has not begun.
    pub(crate) const fn new() -> Governor {
        Governor {
            wanted_period: AtomicU64::new(1),
            next_look_ns: AtomicU64::new(0),
            cpu_ns: AtomicU64::new(0),
            profiler_ns: AtomicU64::new(0),
            visits: AtomicU64::new(0),
        }
    }

    /// Sets the period that was asked for.
    pub(crate) fn want(&self, period: u64) {
        self.wanted_period.store(period, Ordering::Relaxed);
    }

    /// In a fork child, whose clocks begin at zero.
    pub(crate) fn restart(&self) {
        self.next_look_ns.store(0, Ordering::Relaxed);
        self.cpu_ns.store(0, Ordering::Relaxed);
        self.profiler_ns.store(0, Ordering::Relaxed);
        self.visits.store(0, Ordering::Relaxed);
    }

    /// Whether it is time to look, and this thread's turn. `now_ns`: CLOCK_MONOTONIC.
    #[inline]
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        let due_ns = self.next_look_ns.load(Ordering::Relaxed);
        let next_ns = now_ns.saturating_add(WINDOW_NS);
        // Relaxed: decides who looks; what that thread writes is read by whoever looks a second later.
        now_ns >= due_ns
            && self.next_look_ns.compare_exchange(due_ns, next_ns, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The period that should be in force, given all that was spent so far; `None`: too early to tell.
    pub(crate) fn judge(&self, total: Spent, most_percent: u64, period: u64) -> Option<u64> {
        let began_at = self.cpu_ns.load(Ordering::Relaxed);
        let cpu_ns = total.cpu_ns.saturating_sub(began_at);
        let profiler_ns = total.profiler_ns.saturating_sub(self.profiler_ns.load(Ordering::Relaxed));
        let visits = total.visits.saturating_sub(self.visits.load(Ordering::Relaxed));
        let wanted = self.wanted_period.load(Ordering::Relaxed);
        // With a longer period there are fewer, and the way back shall not take minutes.
        let least_visits = if period > wanted { LEAST_VISITS / 8 } else { LEAST_VISITS };
        if began_at != 0 && (cpu_ns < WINDOW_NS || visits < least_visits) {
            return None;
        }
        self.cpu_ns.store(total.cpu_ns, Ordering::Relaxed);
        self.profiler_ns.store(total.profiler_ns, Ordering::Relaxed);
        self.visits.store(total.visits, Ordering::Relaxed);
        // The first window is thrown away: a process's first samples are its dearest.
        (began_at != 0).then(|| next_period(Spent { cpu_ns, profiler_ns, visits }, most_percent, wanted, period))
    }
}

/// The period after a window in which so much was spent at `period`, if `wanted` was asked for.
fn next_period(spent: Spent, most_percent: u64, wanted: u64, period: u64) -> u64 {
    let most_ns = (u128::from(spent.cpu_ns) * u128::from(most_percent) / 100) as u64;
    if most_percent == 0 || most_ns == 0 || wanted <= 1 {
        return period;
    }
    if spent.profiler_ns > most_ns {
        let times = spent.profiler_ns.div_ceil(most_ns).checked_next_power_of_two().unwrap_or(MOST_AT_ONCE);
        return period.saturating_mul(times.clamp(2, MOST_AT_ONCE)).min(LONGEST_PERIOD.max(period));
    }
    if spent.profiler_ns < most_ns * 2 / 5 && period > wanted {
        return (period / 2).max(wanted);
    }
    period
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn after(percent_spent: u64, period: u64) -> u64 {
        let spent = Spent { cpu_ns: 2 * SECOND, profiler_ns: 2 * SECOND / 100 * percent_spent, visits: LEAST_VISITS };
        next_period(spent, 4, 1 << 17, period)
    }

    #[test]
    fn the_period_grows_by_what_is_spent_too_much() {
        assert_eq!([4, 5, 8, 9, 33, 99].map(|spent| after(spent, 1 << 17) >> 17), [1, 2, 2, 4, 16, 16]);
        assert_eq!(after(99, 1 << 40), 1 << 40);
    }

    #[test]
    fn it_shrinks_only_down_to_what_was_asked_for() {
        assert_eq!(
            [(0, 18), (0, 17), (1, 20), (2, 20)].map(|(spent, lg)| after(spent, 1 << lg)),
            [1 << 17, 1 << 17, 1 << 19, 1 << 20]
        );
        assert_eq!(after(0, 1 << 20), 1 << 19);
    }

    #[test]
    fn no_limit_and_every_allocation_are_left_alone() {
        let all = Spent { cpu_ns: SECOND, profiler_ns: SECOND, visits: LEAST_VISITS };
        assert_eq!(next_period(all, 0, 1 << 17, 1 << 17), 1 << 17);
        assert_eq!(next_period(all, 2, 1, 1), 1);
        assert_eq!(next_period(Spent { cpu_ns: 0, profiler_ns: 5, visits: 1 }, 2, 512, 512), 512);
    }

    #[test]
    fn windows_are_judged_one_by_one_after_the_first() {
        let governor = Governor::new();
        governor.want(1 << 17);
        assert!(governor.is_due(5) && !governor.is_due(6) && governor.is_due(5 + WINDOW_NS));
        let spent = |cpu, profiler_ns| Spent { cpu_ns: cpu * SECOND / 2, profiler_ns, visits: cpu * LEAST_VISITS };
        assert_eq!(governor.judge(spent(1, SECOND / 2), 2, 1 << 17), None);
        assert_eq!(governor.judge(spent(2, SECOND), 2, 1 << 17), None);
        assert_eq!(governor.judge(spent(3, SECOND), 2, 1 << 17), Some(1 << 21));
        assert_eq!(governor.judge(spent(5, SECOND), 2, 1 << 21), Some(1 << 20));
        let rarely = Spent { visits: 6 * LEAST_VISITS - 1, ..spent(7, 2 * SECOND) };
        assert_eq!((governor.judge(rarely, 2, 1 << 17), governor.judge(rarely, 2, 1 << 20)), (None, Some(1 << 24)));
    }
}
