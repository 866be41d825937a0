//! Lives: of the process, which a fork child begins anew and a reset turns over, and of its threads. When a life is worth
//! a file, and how its live profile is opened.

use super::Profiler;
use crate::tap::os::filter::Deadly;
use crate::tap::os::tls::ThreadBlock;
use crate::tap::os::{clock, sys};
use crate::tap::sampler;
use crate::tap::store::{Identity, Region, Store};
use crate::wire::live::counters::Counter;
use std::sync::atomic::Ordering;

impl Profiler {
    /// Nanoseconds since the first call.
    pub(crate) fn uptime_ns(&self) -> u64 {
        clock::monotonic_ns().saturating_sub(self.life.start_ns())
    }

    /// Whether this process is worth a file: it lived long enough, holds enough, or was asked for.
    pub(crate) fn is_significant(&self) -> bool {
        let Some(settings) = self.settings() else { return false };
        let options = &settings.options;
        settings.run_pid == Some(self.pid())
            || options.prof_leak
            || self.store().map_or(0, |store| store.region().counter(Counter::LiveBytes)) >= options.prof_min_bytes
            || is_long_life(self.uptime_ns(), clock::process_cpu_ns, options.prof_min_seconds)
    }

    /// Forgets all samples and goes on with another period. Other threads may still be writing to the old region,
    /// which is therefore left where it is; blocks sampled before will be freed without being counted.
    pub(crate) fn reset(&self, lg_period: u32) {
        self.period.store(1 << lg_period.min(63), Ordering::Relaxed);
        self.life.turn_over();
        if let Some(store) = self.store() {
            store.region().remove_own_file();
        }
        self.store.forget();
    }

    /// After a reset: whoever looks from outside finds the process at once, not with its next sample.
    pub(crate) fn begin_again(&self) {
        self.open_store();
    }

    /// The live profile, made now if there is none yet.
    pub(super) fn open_store(&self) -> Option<&'static Store> {
        self.store.get_or_open(|| self.new_store())
    }

    fn new_store(&self) -> Option<Store> {
        let options = &self.settings()?.options;
        let identity = Identity {
            pid: self.pid(),
            token: self.life.token(),
            wall_ns: clock::wall_ns().saturating_sub(self.uptime_ns()),
            monotonic_ns: self.life.start_ns(),
            period: self.period.load(Ordering::Relaxed),
            pid_namespace: if self.may_not_open() { 0 } else { sys::pid_namespace() },
        };
        let bytes = options.prof_region_bytes;
        let region =
            if self.may_not_open() { Region::anonymous(bytes, &identity) } else { Region::open(bytes, &identity) };
        let region = region?;
        Store::new(region, options.prof_accum)
    }

    /// Brings a thread's block up to date: new threads, and all threads of a fork child.
    pub(crate) fn check_life(&self, thread: &ThreadBlock) {
        if self.life.is_over() {
            self.begin_life();
        }
        let life = self.life.number();
        if thread.life.get() != life && !self.may_not_sample() {
            thread.life.set(life);
            thread.tid.set(sys::thread_id());
            thread.record.set(0);
            if thread.random.get() == 0 {
                self.greet(thread);
            }
            self.seed(thread);
        }
    }

    /// Decides whether a new thread is sampled.
    #[cold]
    fn greet(&self, thread: &ThreadBlock) {
        // jemalloc's own threads call malloc by way of pthread_create, while locks of its wait for them.
        let is_jemallocs = sys::thread_name().starts_with(b"jemalloc_bg_thd");
        thread.muted.set(is_jemallocs || !self.thread_active.load(Ordering::Relaxed));
    }

    /// In a child of `fork`: it starts a life of its own, and empty.
    pub(crate) fn begin_life(&self) {
        if self.life.begin_anew() {
            self.triggers.store(0, Ordering::Relaxed);
            self.keeper_started.store(false, Ordering::Relaxed);
            self.keeper_thread.store(0, Ordering::Relaxed);
            self.dumper.restart();
            self.governor.restart();
            self.store.forget();
            if self.settings().is_some_and(|settings| !settings.options.prof_fork) {
                self.forbid(Deadly::EVERYTHING);
            }
        }
    }

    /// Seeds a thread's random numbers.
    fn seed(&self, thread: &ThreadBlock) {
        let random = self.settings().map_or([0; 2], |settings| settings.random);
        let own = u64::from(thread.tid.get()).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ clock::monotonic_ns();
        let (_, seed) = sampler::next_random((random[0] ^ random[1].rotate_left(17) ^ own) | 1);
        thread.random.set(seed | 1);
    }
}

/// Whether a process lived that long: so many seconds, half of which it used on a processor, or six times as many
/// whatever it did. On an overloaded machine a helper of a start script lives for ten seconds, too, but does not
/// use five; an idle server is waited for a minute.
fn is_long_life(uptime_ns: u64, cpu_ns: impl FnOnce() -> u64, seconds: u64) -> bool {
    let enough = seconds.saturating_mul(1_000_000_000);
    uptime_ns >= enough.saturating_mul(6) || uptime_ns >= enough && cpu_ns() >= enough / 2
}

#[cfg(test)]
mod tests {
    use super::is_long_life;

    #[test]
    fn time_counts_with_work_or_six_times_over() {
        let second = 1_000_000_000;
        let is = |uptime: u64, cpu: u64| is_long_life(uptime * second, || cpu * second, 10);
        assert_eq!([is(9, 9), is(10, 4), is(10, 5), is(59, 0), is(60, 0)], [false, false, true, false, true]);
        assert!(is_long_life(0, || 0, 0) && !is_long_life(u64::MAX - 1, || 0, u64::MAX));
    }
}
