//! Lives: a fork child begins one, a reset begins the counting anew; threads notice with their next sample. When a life
//! is worth a file, and how its live profile is opened.

use super::early::EARLY;
use super::profiler::Profiler;
use crate::tap::os::tls::{self, ThreadBlock};
use crate::tap::os::{clock, map, shared, sys};
use crate::tap::settings::Settings;
use crate::tap::store::{Origin, Region, Store};
use crate::tap::{backend, hash, sampler};
use crate::wire::claim::{self, Terms};
use crate::wire::live::counters::Counter;
use crate::wire::live::layout::{Head, OTHER_USER};
use crate::wire::options::Options;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// What no helper of a start script holds: small JVMs hold 10 MiB, everything else less.
const HOLDS_SOMETHING_BYTES: u64 = 16 << 20;

impl Profiler {
    /// Nanoseconds since the first call.
    pub(crate) fn uptime_ns(&self) -> u64 {
        clock::monotonic_ns().saturating_sub(self.life.start_ns())
    }

    /// Whether this process is worth a file: it lived long enough, holds enough, or was asked for. What was worth one
    /// once stays so, though it may hold nothing at its end.
    pub(crate) fn is_significant(&self) -> bool {
        let Some(settings) = self.settings() else { return false };
        self.was_significant.load(Ordering::Relaxed)
            || (settings.run_pid == Some(self.pid()) || settings.options.prof_leak || self.has_done_enough(settings))
                && self.note_significant()
    }

    /// Somebody asked for a dump of this very process, or it was found to be worth one: so it stays.
    pub(crate) fn note_significant(&self) -> bool {
        if !self.was_significant.swap(true, Ordering::Relaxed)
            && let Some(store) = self.store()
        {
            // At once: it may be killed before the keeper's next round.
            store.region().set_flag(Head::Significant, true);
        }
        true
    }

    /// Whether it lived long enough or holds enough. Whoever asks for a dump every few seconds means the processes that
    /// hold something then: those need not hold as much.
    fn has_done_enough(&self, settings: &Settings) -> bool {
        let (options, live, uptime_ns) = (&settings.options, self.live_bytes(), self.uptime_ns());
        let seconds = options.prof_dump_seconds;
        live >= options.prof_min_bytes
            || is_long_life(uptime_ns, clock::process_cpu_ns, options.prof_min_seconds)
            || seconds > 0
                && live >= HOLDS_SOMETHING_BYTES.min(options.prof_min_bytes)
                && uptime_ns >= seconds.saturating_mul(1_000_000_000)
    }

    /// Bytes that are live, estimated.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.store().map_or(0, |store| store.region().counter(Counter::LiveBytes))
    }

    /// Whether a process is no helper of a start script by what it holds, however short it has lived.
    pub(crate) fn holds_something(&self) -> bool {
        self.live_bytes() >= HOLDS_SOMETHING_BYTES
    }

    /// The process waits for connections.
    pub(crate) fn note_server(&self) {
        self.serves.store(true, Ordering::Relaxed);
    }

    /// Whether it waits for connections, or the process that it was forked from does.
    pub(crate) fn serves(&self) -> bool {
        self.serves.load(Ordering::Relaxed)
    }

    /// The process is here to stay, however young it is.
    pub(crate) fn settle_down(&self) {
        self.is_settled.store(true, Ordering::Relaxed);
    }

    /// Whether that is known.
    pub(crate) fn has_settled(&self) -> bool {
        self.is_settled.load(Ordering::Relaxed)
    }

    /// Whether dumps by the clock were promised: the keeper, which writes them, must be there in time.
    pub(crate) fn has_promised_time(&self) -> bool {
        self.settings().is_some_and(|settings| settings.options.prof_dump_seconds > 0)
    }

    /// Forgets all samples and goes on in the same region, with another period if one is given (`prof.reset`,
    /// `heaptap reset`): a record at a time is taken back, as by a free. Blocks sampled before will be freed without
    /// being counted.
    pub(crate) fn reset(&self, lg_period: Option<u32>) {
        // Not the parent's, in a child that has not allocated yet.
        self.begin_life();
        self.put_period(1 << lg_period.unwrap_or(self.period().ilog2()).min(63));
        self.life.turn_over();
        if let Some(store) = self.store() {
            store.clear();
            store.region().set_since(clock::monotonic_ns());
        }
        // It counts the visits, which begin anew.
        self.governor.restart();
    }

    /// What is to be done every two seconds, for a process in which nothing happens: unused memory goes back to the
    /// system, and a limit is noticed that was set behind our back. For the keeper.
    pub(crate) fn upkeep(&self) {
        backend::decay();
        if !self.may_not_open() {
            self.heed_limits();
        }
    }

    /// Under a limit on address space that came later than the range: gives back what of that is not in use.
    pub(crate) fn heed_limits(&self) {
        if let Some(limit) = map::address_space_limit() {
            backend::stop_retaining();
            self.heap.heed_limit();
            self.heap.give_back(map::most_reserved(Some(limit), None));
        }
    }

    /// After a reset: a reader from outside finds the process at once, not with its next sample.
    pub(crate) fn begin_again(&self) {
        self.open_store();
    }

    /// The live profile, made now if there is none yet.
    pub(super) fn open_store(&self) -> Option<&'static Store> {
        if self.may_not_sample() {
            return self.store();
        }
        self.store.get_or_open(|is_again| self.new_store(is_again), || self.life.token())
    }

    /// `is_again`: an opening before was given up.
    fn new_store(&self, is_again: bool) -> Option<Store> {
        let options = &self.settings()?.options;
        let origin = Origin {
            pid: self.pid(),
            token: self.life.token(),
            wall_ns: clock::wall_ns().saturating_sub(self.uptime_ns()),
            monotonic_ns: self.life.start_ns(),
            period: self.period.load(Ordering::Relaxed),
            pid_namespace: if self.may_not_open() { 0 } else { sys::pid_namespace() },
        };
        let bytes = options.prof_region_bytes;
        let shared = if self.may_not_open() { None } else { Region::open(is_again, bytes, &origin) };
        // Without a claim others could do nothing for this life but read.
        let shared = shared.filter(|region| match region.path() {
            Some(path) if !self.claim(path) => {
                region.remove_files();
                false
            }
            _ => true,
        });
        let region = shared.or_else(|| Region::anonymous(bytes, &origin))?;
        region.set_block_tree(backend::block_tree());
        if !options.prof_active {
            // It is the first sample, which is taken now.
            region.set_since(clock::monotonic_ns());
        }
        Store::new(region, options.prof_accum)
    }

    /// Writes the claim beside the region: what others may do for this life once it is over.
    fn claim(&self, region: &shared::Path) -> bool {
        let Some(settings) = self.settings() else { return false };
        let prefix = Path::new(OsStr::from_bytes(settings.prefix()));
        let terms = Terms {
            pid: self.pid(),
            token: self.life.token(),
            start_ns: self.life.start_ns(),
            pid_namespace: sys::pid_namespace(),
            min_bytes: settings.options.prof_min_bytes,
            run: settings.run_report.map(|run| OsStr::from_bytes(run).into()),
            // Where the present directory was gone it leads nowhere.
            prefix: if prefix.is_absolute() { prefix.to_path_buf() } else { PathBuf::new() },
        };
        let bytes = terms.to_bytes();
        bytes.len() <= claim::MOST_BYTES && shared::place(&region.claim(), &bytes, 0o400)
    }

    /// Ends this life if the process has given up for good the user whom its files belong to: it must not write to that
    /// user's region any more. The life that follows is empty, as a fork child's. For whatever thread; `true`: it did.
    pub(crate) fn check_user(&self) -> bool {
        if self.may_not_open() || !self.is_our_own() || self.life.belongs_to(sys::user_ids()) {
            return false;
        }
        let store = self.store();
        if !self.life.change_user() {
            return false;
        }
        if let Some(store) = store {
            store.region().at(Head::Ending as usize).store(OTHER_USER, Ordering::Release);
        }
        self.dumper.change_user();
        self.governor.restart();
        self.store.forget();
        true
    }

    /// Whether a sample of this thread is to look for that: it takes three system calls, so once in a tick of the clock
    /// is enough, and only the main thread's users are the process's.
    pub(crate) fn is_user_look_due(&self, thread: &ThreadBlock) -> bool {
        if thread.tid.get() != self.pid() {
            return false;
        }
        let now = clock::tick_ns();
        let is_due = self.asked_user_ns.load(Ordering::Relaxed) != now;
        if is_due {
            self.asked_user_ns.store(now, Ordering::Relaxed);
        }
        is_due
    }

    /// Whether this life goes on, and is that of the calling process: a child of vfork has our memory and another pid.
    pub(super) fn is_our_own(&self) -> bool {
        !self.life.is_over() && sys::process_id() == self.pid()
    }

    /// Whether the process will have given up the user whom its files belong to once it has these user ids.
    pub(crate) fn would_leave(&self, users: [u32; 3]) -> bool {
        !self.life.belongs_to(users)
    }

    /// Before rights go: what this life would leave is removed unless it is much; afterwards it could not be. `true`:
    /// it was. The process leaves one final dump, at its end; what it held as another user is worth a second one only
    /// if that is more than what a start takes, whatever the options say.
    pub(crate) fn leave_if_little(&self) -> bool {
        let (Some(store), Some(settings), true) = (self.store(), self.settings(), self.is_our_own()) else {
            return false;
        };
        let least = Options::DEFAULT;
        let bytes = settings.options.prof_min_bytes.max(least.prof_min_bytes);
        let seconds = settings.options.prof_min_seconds.max(least.prof_min_seconds);
        let is_much = store.region().counter(Counter::LiveBytes) >= bytes
            || is_long_life(self.uptime_ns(), clock::process_cpu_ns, seconds);
        if !is_much {
            store.region().remove_files();
            self.dumper.remove_mirrors(store, settings);
        }
        !is_much
    }

    /// The process executes another program: what this life would leave is removed unless it is worth a dump.
    pub(crate) fn leave_image(&self) {
        let (Some(store), Some(settings), true) = (self.store(), self.settings(), self.is_our_own()) else { return };
        if !self.has_done_enough(settings) {
            store.region().remove_files();
            self.dumper.remove_mirrors(store, settings);
            self.begin_unnamed();
        }
    }

    /// The files of this life are gone, and it goes on: with new ones, and what was recorded is forgotten.
    pub(crate) fn begin_unnamed(&self) {
        self.life.turn_over();
        self.store.forget();
    }

    /// Token of this life.
    pub(crate) fn token(&self) -> u64 {
        self.life.token()
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
            thread.shard.set(self.next_shard.fetch_add(1, Ordering::Relaxed));
            thread.record.set(0);
            self.threads.join(thread);
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
            self.was_significant.store(false, Ordering::Relaxed);
            self.is_settled.store(false, Ordering::Relaxed);
            self.is_young.store(self.settings().is_some_and(Settings::has_keepers), Ordering::Relaxed);
            self.triggers.store(0, Ordering::Relaxed);
            self.threads.begin_anew(tls::thread());
            self.dumper.restart();
            self.governor.restart();
            self.store.forget();
            EARLY.clear();
            if self.settings().is_some_and(|settings| !settings.options.prof_fork) {
                self.forbid(true, true);
            }
        }
    }

    /// Seeds a thread's random numbers.
    fn seed(&self, thread: &ThreadBlock) {
        let random = self.settings().map_or([0; 2], |settings| settings.random);
        let own = hash::spread(thread.tid.get().into()) ^ clock::monotonic_ns();
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
