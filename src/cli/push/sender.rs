//! The thread that sends what waits, oldest first, and waits itself where the server asks for it.

use crate::cli::held::held;
use crate::cli::inert::say;
use crate::cli::send::client::{Client, Outcome};
use crate::cli::send::spool::{Spool, Taken};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

/// First pause after a failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The same trouble is told again after so long.
const TOLD: Duration = Duration::from_secs(900);

/// What became of all payloads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// The server has them.
    pub(crate) taken: u64,
    /// The server will never take them.
    pub(crate) refused: u64,
    /// The server may have them.
    pub(crate) unclear: u64,
    /// Older than the server takes, when their turn came.
    pub(crate) too_old: u64,
    /// Attempts that are repeated.
    pub(crate) repeated: u64,
    /// When the server last took one, seconds since 1970.
    pub(crate) last_taken: Option<u64>,
    /// Why the last attempt failed, while it does.
    pub(crate) trouble: Option<String>,
}

/// How long the sender goes on when it is told to end.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Runs,
    EndsBy(Instant),
}

/// What both threads see.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    spool: Spool,
    tally: Tally,
    stage: Stage,
}

/// A sender at work.
#[derive(Debug)]
pub(super) struct Sender {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// A look at the tally while the sender works.
#[derive(Clone, Debug)]
pub(super) struct Watcher(Arc<Shared>);

impl Watcher {
    /// The tally; payloads and bytes that wait; payloads that went because the spool was full.
    pub(super) fn look(&self) -> (Tally, (usize, u64), u64) {
        let state = self.0.lock();
        (state.tally.clone(), state.spool.waiting(), state.spool.dropped)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        held(&self.state)
    }
}

impl Sender {
    /// Begins. `most_age`: older profiles are not sent.
    pub(super) fn begin(client: Client, spool: Spool, unclear: u64, most_age: Duration) -> std::io::Result<Sender> {
        let tally = Tally { unclear, ..Tally::default() };
        let state = Mutex::new(State { spool, tally, stage: Stage::Runs });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let worker = Worker { shared: Arc::clone(&shared), client, most_age, pause: FIRST_PAUSE, told: None };
        let thread = thread::Builder::new().name("push".to_owned()).spawn(move || worker.run())?;
        Ok(Sender { shared, thread: Some(thread) })
    }

    /// For who wants to see how it goes.
    pub(super) fn watcher(&self) -> Watcher {
        Watcher(Arc::clone(&self.shared))
    }

    /// Puts something into the spool, as `put` does it.
    pub(super) fn hand_over<T>(&self, put: impl FnOnce(&mut Spool) -> T) -> T {
        let result = put(&mut self.shared.lock().spool);
        self.shared.changed.notify_all();
        result
    }

    /// Sends what can be sent until then, and ends: at the first trouble at once.
    pub(super) fn end(mut self, within: Duration) -> Watcher {
        {
            let mut state = self.shared.lock();
            state.stage = Stage::EndsBy(Instant::now() + within);
            // One more attempt.
            state.tally.trouble = None;
        }
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.watcher()
    }
}

struct Worker {
    shared: Arc<Shared>,
    client: Client,
    most_age: Duration,
    pause: Duration,
    told: Option<(String, Instant)>,
}

impl Worker {
    fn run(mut self) {
        while let Some(taken) = self.next() {
            let age = Duration::from_nanos(now_ns().saturating_sub(taken.payload.head.time_ns));
            if age > self.most_age {
                self.over(&taken, |tally| tally.too_old += 1);
                self.tell(format!("{}: too old to be sent (--max-age)", taken.payload.head.what));
                continue;
            }
            match self.client.send(&taken.payload) {
                Outcome::Taken => {
                    self.over(&taken, |tally| {
                        tally.taken += 1;
                        tally.last_taken = Some(now_ns() / 1_000_000_000);
                    });
                    self.well();
                }
                Outcome::Refused(why) => {
                    self.over(&taken, |tally| tally.refused += 1);
                    self.tell(format!("{}: refused: {why}", taken.payload.head.what));
                    self.pause = FIRST_PAUSE;
                }
                Outcome::Unclear(why) => {
                    self.over(&taken, |tally| tally.unclear += 1);
                    self.tell(format!(
                        "{}: it may have arrived, so it is not sent again: {why}",
                        taken.payload.head.what
                    ));
                    self.wait(None);
                }
                Outcome::Later { why, after } => {
                    {
                        let mut state = self.shared.lock();
                        state.spool.put_back(taken);
                        state.tally.repeated += 1;
                        state.tally.trouble = Some(why.clone());
                    }
                    self.tell(format!("not sent, and waits: {why}"));
                    self.wait(after);
                }
            }
        }
    }

    /// The next payload; `None`: it is time to end.
    fn next(&self) -> Option<Taken> {
        let mut state = self.shared.lock();
        loop {
            if let Stage::EndsBy(end) = state.stage
                && (Instant::now() >= end || state.tally.trouble.is_some() || state.spool.waiting().0 == 0)
            {
                return None;
            }
            if let Some(taken) = state.spool.take() {
                return Some(taken);
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn over(&self, taken: &Taken, count: impl FnOnce(&mut Tally)) {
        let mut state = self.shared.lock();
        state.spool.done(taken);
        count(&mut state.tally);
    }

    /// The server is well.
    fn well(&mut self) {
        let before = self.shared.lock().tally.trouble.take();
        self.pause = FIRST_PAUSE;
        self.told = None;
        if before.is_some() {
            say("profiles are taken again");
        }
    }

    /// Waits before the next attempt: as long as the server asks for, else ever longer; some more or less, so that
    /// agents that were refused together do not come back together.
    fn wait(&mut self, after: Option<Duration>) {
        let pause = after.unwrap_or(self.pause).max(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let share = 0.8 + 0.4 * (now_ns() / 1000 % 1000) as f64 / 1000.0;
        let end = Instant::now() + pause.mul_f64(share);
        let mut state = self.shared.lock();
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if matches!(state.stage, Stage::EndsBy(_)) {
                break;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn tell(&mut self, what: String) {
        let is_new = self.told.as_ref().is_none_or(|(before, when)| *before != what || when.elapsed() > TOLD);
        if is_new {
            say(&what);
            self.told = Some((what, Instant::now()));
        }
    }
}

/// Nanoseconds since 1970.
pub(super) fn now_ns() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
