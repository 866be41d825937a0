//! The governor: keeps the cost of sampling below a share of the process's own CPU time, by raising the period.
//!
//! Now and then, on a visit that is measured anyway, a thread looks whether the process has used another second of CPU
//! time, and has been in the profiler often enough to tell. Both are processor time: what a thread waits for, or is
//! kept from by others on a busy machine, is in neither. If the profiler's part was above `prof_max_overhead` twice in
//! a row (an interrupt, or a hypervisor that takes the processor away, falls into one window and not the next), the
//! period grows by as much as was spent too much in the better of the two, in powers of two and at most sixteenfold; if
//! it was below two fifths of that, it halves, down to what was asked for. A period of one byte means "every
//! allocation" and is never raised.
//!
//! No lock: one exchange decides which thread looks. Samples carry their own period, so a change costs nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

/// CPU time that a judgement is based on, and the least time between two looks.
const WINDOW_NS: u64 = 1_000_000_000;
/// Visits to the profiler that a judgement is based on: some thirty of them were measured.
const LEAST_VISITS: u64 = 8192;
/// Most that the period grows by at a time.
const MOST_AT_ONCE: u64 = 16;
/// Nothing larger is useful: one sample per TiB.
const LONGEST_PERIOD: u64 = 1 << 40;

/// Time and visits spent in a window.
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
    /// By how much the last window was too dear; 1: it was not.
    excess: AtomicU64,
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
            excess: AtomicU64::new(1),
        }
    }

    /// The period that was asked for.
    pub(crate) fn wanted(&self) -> u64 {
        self.wanted_period.load(Ordering::Relaxed)
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
        self.excess.store(1, Ordering::Relaxed);
    }

    /// Whether it is time to look, and no other thread does. `now_ns`: CLOCK_MONOTONIC.
    #[inline]
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        let due_ns = self.next_look_ns.load(Ordering::Relaxed);
        let next_ns = now_ns.saturating_add(WINDOW_NS);
        // Relaxed: decides which thread looks; what it writes is read by the one that looks a second later.
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
        let spent = Spent { cpu_ns, profiler_ns, visits };
        // With a longer period there are fewer, and the way back shall not take minutes. To go on, a few are not
        // enough: one that was measured stands for many, and so does what it met by chance.
        let is_cheap =
            period > wanted && visits >= LEAST_VISITS / 8 && profiler_ns < most_ns(spent, most_percent) * 2 / 5;
        if began_at != 0 && (cpu_ns < WINDOW_NS || (visits < LEAST_VISITS && !is_cheap)) {
            return None;
        }
        self.cpu_ns.store(total.cpu_ns, Ordering::Relaxed);
        self.profiler_ns.store(total.profiler_ns, Ordering::Relaxed);
        self.visits.store(total.visits, Ordering::Relaxed);
        // The first window is thrown away: a process's first samples are its dearest.
        if began_at == 0 {
            return None;
        }
        let excess = excess(spent, most_percent);
        let times = excess.min(self.excess.swap(excess, Ordering::Relaxed));
        if times > 1 {
            // The next window is judged at the new period, by itself.
            self.excess.store(1, Ordering::Relaxed);
        }
        Some(next_period(spent, times, most_percent, wanted, period))
    }
}

/// By how much a window was too dear, as a power of two; 1: it was not.
fn excess(spent: Spent, most_percent: u64) -> u64 {
    let most_ns = most_ns(spent, most_percent);
    if most_ns == 0 || spent.profiler_ns <= most_ns {
        return 1;
    }
    let times = spent.profiler_ns.div_ceil(most_ns).checked_next_power_of_two().unwrap_or(MOST_AT_ONCE);
    times.clamp(2, MOST_AT_ONCE)
}

/// What the profiler may spend in a window; 0: no bound, or nothing to judge by.
fn most_ns(spent: Spent, most_percent: u64) -> u64 {
    (u128::from(spent.cpu_ns) * u128::from(most_percent) / 100) as u64
}

/// The period after a window in which so much was spent at `period`, if `wanted` was asked for and the last two windows
/// were `times` too dear.
fn next_period(spent: Spent, times: u64, most_percent: u64, wanted: u64, period: u64) -> u64 {
    let most_ns = most_ns(spent, most_percent);
    if most_ns == 0 || wanted <= 1 {
        return period;
    }
    if times > 1 {
        return period.saturating_mul(times).min(LONGEST_PERIOD.max(period));
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
        next_period(spent, excess(spent, 4), 4, 1 << 17, period)
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
        assert_eq!(excess(all, 0), 1);
        assert_eq!(next_period(all, 1, 0, 1 << 17, 1 << 17), 1 << 17);
        assert_eq!(next_period(all, 16, 2, 1, 1), 1);
        let none = Spent { cpu_ns: 0, profiler_ns: 5, visits: 1 };
        assert_eq!((excess(none, 2), next_period(none, 1, 2, 512, 512)), (1, 512));
    }

    #[test]
    fn windows_are_judged_one_by_one_after_the_first() {
        let governor = Governor::new();
        governor.want(1 << 17);
        assert!(governor.is_due(5) && !governor.is_due(6) && governor.is_due(5 + WINDOW_NS));
        let spent = |cpu, profiler_ns| Spent { cpu_ns: cpu * SECOND / 2, profiler_ns, visits: cpu * LEAST_VISITS };
        let judge = |cpu, halves, period| governor.judge(spent(cpu, halves * SECOND / 2), 2, period);
        assert_eq!([judge(1, 1, 1 << 17), judge(2, 2, 1 << 17)], [None, None]);
        // The first dear window may be an accident.
        assert_eq!([judge(3, 3, 1 << 17), judge(5, 5, 1 << 17)], [Some(1 << 17), Some(1 << 21)]);
        assert_eq!(judge(7, 5, 1 << 21), Some(1 << 20));
        // One that is followed by a cheap one was.
        assert_eq!([judge(9, 6, 1 << 17), judge(11, 6, 1 << 17), judge(13, 7, 1 << 17)], [Some(1 << 17); 3]);
        // Few visits tell that it is cheap, not that it is dear.
        let rarely = Spent { visits: 14 * LEAST_VISITS - 1, ..spent(15, 8 * SECOND) };
        assert_eq!([1 << 17, 1 << 20].map(|period| governor.judge(rarely, 2, period)), [None; 2]);
        let cheap = Spent { profiler_ns: 7 * SECOND / 2, ..rarely };
        assert_eq!([1 << 17, 1 << 20].map(|period| governor.judge(cheap, 2, period)), [None, Some(1 << 19)]);
    }
}
