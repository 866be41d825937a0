//! The agent of a pod or a node: finds tapped lives and dumps, reads them from outside, and hands them over for
//! sending.
//!
//! Three threads: this one reads, one sends (`sender`), one answers who asks for metrics (`server`). Per life a profile
//! each interval and one of its end, whatever that was; per dump one, but for dumps of lives that are read anyway. What
//! was handed over is known over restarts (`send/cursor`), and waits on the disk (`send/spool`).

mod dumps;
mod lives;
mod numbers;
mod reading;
mod sender;
mod server;
mod settings;

use crate::cli::analyze::gauges::{Findings, Gauges};
use crate::cli::analyze::groups::Rows;
use crate::cli::analyze::report::Report;
use crate::cli::attach::discovery::Found;
use crate::cli::attach::region::Memory;
use crate::cli::held::held;
use crate::cli::inert::say;
use crate::cli::render::exposition::Labels;
use crate::cli::send::client::Client;
use crate::cli::send::cursor::{self, Cursor};
use crate::cli::send::labels;
use crate::cli::send::payload::{Head, Payload};
use crate::cli::send::spool::{Spool, State};
use crate::cli::symbolize::known::Known;
use crate::wire::dump_name::DumpKind;
use anyhow::{Context, Result};
use dumps::NewDump;
use lives::{Key, Life, Lives};
use numbers::Numbers;
use reading::Reading;
use sender::{Sender, now_ns};
use server::Board;
pub(crate) use settings::Settings;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often ends are looked for.
const TICK: Duration = Duration::from_secs(1);
/// How often folders are listed.
const LISTED: Duration = Duration::from_secs(5);
/// What the end of the agent may take for what still waits; containers are killed after 30 s.
const DRAIN: Duration = Duration::from_secs(10);
/// The same of `--once`, which nobody waits to kill.
const DRAIN_ONCE: Duration = Duration::from_secs(120);
/// Names of places that are remembered: a machine whose programs change has more and more.
const MOST_PLACES: usize = 50_000;
/// All verdicts of a machine are paid for by so many times their own length without one: 0.05 % of a processor.
const EARNED: u32 = 2000;

/// An agent at work.
pub(crate) struct Agent {
    settings: Settings,
    outlet: Option<Outlet>,
    lives: Lives,
    numbers: Numbers,
    known: Rc<Known>,
    /// Dumps that cannot be read: told once.
    damaged: BTreeSet<String>,
    host: Option<String>,
    /// What the cursor should hold, and cannot: its disk is full.
    held: BTreeSet<String>,
    /// What the server of metrics shows.
    board: Option<Board>,
}

/// Where profiles are handed over.
struct Outlet {
    cursor: Cursor,
    sender: Sender,
    _state: State,
}

impl Outlet {
    fn open(settings: &Settings) -> Result<Option<Outlet>> {
        let Some(target) = &settings.target else { return Ok(None) };
        let client = Client::new(target.clone())?;
        if client.is_bare() {
            say(&format!("{}: credentials go there unprotected (http)", target.url));
        }
        let state = State::open(&settings.state)?;
        let mut cursor = Cursor::open(&state.folder)?;
        let (spool, unclear) = Spool::open(&state.folder.join("spool"), settings.spool_bytes)?;
        if unclear > 0 {
            say(&format!("{unclear} profiles were on their way when an agent ended: they are not sent again"));
        }
        for (key, time_ns) in spool.keys().into_iter().filter(|(key, _)| !cursor.has(key)).collect::<Vec<_>>() {
            cursor.note(key, time_ns, 0)?;
        }
        let (waiting, _) = spool.waiting();
        if waiting > 0 {
            say(&format!("{waiting} profiles wait in {} since before", state.folder.display()));
        }
        let sender = Sender::begin(client, spool, unclear, settings.most_age).context("cannot start a thread")?;
        Ok(Some(Outlet { cursor, sender, _state: state }))
    }
}

impl Agent {
    /// Looks at the settings and opens what it needs; nothing is sent yet but what waits since before.
    pub(crate) fn new(settings: Settings) -> Result<Agent> {
        let outlet = Outlet::open(&settings)?;
        let board = settings.metrics.map(|_| Board::default());
        if let Some((address, board)) = settings.metrics.zip(board.clone()) {
            let sender = outlet.as_ref().map(|outlet| outlet.sender.watcher());
            server::begin(address, board, sender)?;
        }
        let host = crate::cli::open::kernel("/proc/sys/kernel/hostname".as_ref()).ok();
        let host = host.map(|name| name.trim().to_owned());
        Ok(Agent {
            outlet,
            lives: Lives::new(labels::names(&settings.labels)),
            settings,
            numbers: Numbers::default(),
            known: Rc::default(),
            damaged: BTreeSet::new(),
            host,
            held: BTreeSet::new(),
            board,
        })
    }

    /// Works until it is told to end. `false`: something waits still, or was not taken.
    pub(crate) fn run(mut self, ends: &Arc<AtomicBool>) -> Result<bool> {
        let (mut looks, mut lists) = (Instant::now(), Instant::now());
        loop {
            let now = Instant::now();
            let is_last = self.settings.once || ends.load(Ordering::Relaxed);
            let ended = self.lives.ended();
            self.ends(ended);
            // At its own end it reads no life once more: too dense profiles add up in one step of a picture.
            if !self.settings.dumps_only && now >= looks {
                looks = now + self.settings.every;
                self.round();
            }
            if now >= lists || is_last {
                lists = now + LISTED;
                self.dumps();
            }
            if is_last {
                break;
            }
            thread::sleep(TICK);
        }
        let Some(outlet) = self.outlet else { return Ok(true) };
        let within = if self.settings.once { DRAIN_ONCE } else { DRAIN };
        let (tally, (waiting, _), dropped) = outlet.sender.end(within).look();
        if waiting > 0 {
            say(&format!("{waiting} profiles wait in {} for the next start", self.settings.state.display()));
        }
        if self.settings.once {
            let lives = self.lives.len();
            say(&format!("{} profiles sent; {lives} tapped processes live here", tally.taken));
        }
        Ok(waiting == 0 && dropped == 0 && tally.refused == 0 && tally.unclear == 0)
    }

    /// Looks through the machine, and reads each life.
    fn round(&mut self) {
        if self.known.places() > MOST_PLACES {
            self.known = Rc::default();
        }
        let look = self.lives.look(&self.settings.folders);
        self.ends(look.ended);
        look.dead.iter().for_each(|found| self.end_of(found));
        let mut lives = std::mem::take(&mut self.lives);
        let memory = if self.board.is_some() { Memory::Looked } else { Memory::Sum };
        let count = u32::try_from(lives.len()).unwrap_or(u32::MAX);
        for life in lives.all() {
            match Reading::of_life(&life.found, life.file(), memory, &self.known) {
                Ok(reading) if reading.is_worth || self.settings.all => {
                    let (labels, number) = self.labels_of(&life.told, life.key(), &reading);
                    self.post(life, &reading, numbered(labels.clone(), number), count);
                    self.of_life(life, &reading, for_engine(labels, number), None);
                }
                Ok(_) => {}
                // It has just ended.
                Err(_) if !life.found.path.exists() => {}
                Err(error) => say(&format!("{error:#}")),
            }
        }
        self.lives = lives;
    }

    /// `end`: the name of its end in the cursor, if this is it.
    fn of_life(&mut self, life: &mut Life, reading: &Reading, labels: Labels, end: Option<String>) {
        let time_ns = reading.time_ns();
        match self.payload(reading, labels, time_ns, life.found.pid) {
            Ok(payload) => self.give(payload, end),
            Err(error) => return say(&format!("{}: {error:#}", life.found.path.display())),
        }
        let first = life.sent.map_or(time_ns, |(first, _)| first);
        life.sent = Some((first, time_ns));
    }

    /// Shows a life's figures to who asks for metrics; its verdict as often as that is cheap.
    fn post(&self, life: &mut Life, reading: &Reading, labels: Labels, lives: u32) {
        let Some(board) = &self.board else { return };
        if life.judged.as_ref().is_none_or(|(_, due)| *due <= Instant::now()) {
            let began = Instant::now();
            let report = Report::by(&reading.series, &reading.modules, Rows::default());
            let findings = Findings::of(&report, self.settings.places);
            let pause = began.elapsed() * EARNED * lives;
            life.judged = Some((findings, Instant::now() + pause));
        }
        let verdict = life.judged.as_ref().map(|(findings, _)| findings.clone());
        let gauges = Gauges { verdict, ..Gauges::of(&reading.series) };
        held(board).insert(life.key(), (labels, gauges));
    }

    /// The last profiles of lives that were followed.
    fn ends(&mut self, ended: Vec<Life>) {
        for mut life in ended {
            if let Some(board) = &self.board {
                held(board).remove(&life.key());
            }
            self.end_of_life(&mut life);
            self.numbers.free(life.key());
        }
    }

    fn end_of_life(&mut self, life: &mut Life) {
        let key = cursor::life(life.found.token);
        if life.is_over || self.has(&key) {
            return;
        }
        match Reading::of_life(&life.found, life.file(), Memory::Sum, &self.known) {
            Ok(mut reading) if reading.is_worth || self.settings.all || life.sent.is_some() => {
                reading.not_before(life.sent.map_or(0, |(_, last)| last));
                let (labels, number) = self.labels_of(&life.told, life.key(), &reading);
                self.of_life(life, &reading, for_engine(labels, number), Some(key));
            }
            Ok(_) => {}
            Err(error) => say(&format!("{error:#}")),
        }
    }

    /// The last profile of a life that ended while nobody looked.
    fn end_of(&mut self, found: &Found) {
        let key = cursor::life(found.token);
        if self.outlet.is_none() || self.has(&key) {
            return;
        }
        let Ok(reading) = Reading::of_life(found, None, Memory::Sum, &self.known) else { return };
        let is_young = reading.time_ns() >= self.oldest_ns();
        if !is_young || !(reading.is_worth || self.settings.all) {
            return;
        }
        let labels = self.labels(&reading, &BTreeMap::new());
        let payload = self.payload(&reading, labels, reading.time_ns(), found.pid);
        if let Err(error) = payload.and_then(|payload| self.keep(payload, key)) {
            say(&format!("{}: it waits there: {error:#}", found.path.display()));
        }
    }

    /// Dumps that are new.
    fn dumps(&mut self) {
        let Some(outlet) = &self.outlet else { return };
        let known = |key: &str| outlet.cursor.has(key) || self.held.contains(key);
        let new = dumps::new(&self.settings.folders, self.oldest_ns(), &known);
        for dump in new {
            if self.damaged.contains(&dump.key) {
                continue;
            }
            match Reading::of_dump(&dump.path, &self.known) {
                Ok(reading) => self.dump(&dump, &reading),
                // It was thinned out.
                Err(_) if !dump.path.exists() => {}
                Err(error) => {
                    say(&format!("{}: {error:#}", dump.path.display()));
                    self.damaged.insert(dump.key);
                }
            }
        }
    }

    fn dump(&mut self, dump: &NewDump, reading: &Reading) {
        let is_final = dump.name.kind == DumpKind::Final;
        if self.is_covered(reading, is_final) {
            self.note(dump.key.clone());
            return;
        }
        let labels = self.labels_of_dump(reading);
        let payload = self.payload(reading, labels, reading.time_ns(), dump.name.pid);
        if let Err(error) = payload.and_then(|payload| self.keep(payload, dump.key.clone())) {
            return say(&format!("{}: it waits there: {error:#}", dump.path.display()));
        }
        if let Some(token) = reading.token().filter(|_| is_final) {
            self.note(cursor::life(token));
            self.lives.of_token(token).into_iter().for_each(|life| life.is_over = true);
        }
    }

    /// Whether a dump tells what the reading of its life tells: of a time at which that was read, or of an end that
    /// was.
    fn is_covered(&mut self, reading: &Reading, is_final: bool) -> bool {
        let Some(token) = reading.token() else { return false };
        if is_final {
            return self.has(&cursor::life(token));
        }
        let (time, every) = (reading.time_ns(), self.settings.every.as_nanos() as u64);
        let sent = self.lives.of_token(token).and_then(|life| life.sent);
        sent.is_some_and(|(first, last)| (first..=last.saturating_add(every)).contains(&time))
    }

    /// Labels and number of a life that is followed.
    fn labels_of(&mut self, told: &BTreeMap<String, String>, key: Key, reading: &Reading) -> (Labels, usize) {
        let labels = self.labels(reading, told);
        let number = self.numbers.of(&labels, key);
        (labels, number)
    }

    /// Those of a dump are its life's, if that is followed.
    fn labels_of_dump(&mut self, reading: &Reading) -> Labels {
        let life = reading.token().and_then(|token| self.lives.of_token(token));
        let Some((told, key)) = life.map(|life| (life.told.clone(), life.key())) else {
            return self.labels(reading, &BTreeMap::new());
        };
        let (labels, number) = self.labels_of(&told, key, reading);
        for_engine(labels, number)
    }

    /// `told`: what the process said while it could be asked.
    fn labels(&self, reading: &Reading, told: &BTreeMap<String, String>) -> Labels {
        labels::fill(&self.settings.labels, &|name| match name {
            labels::PROGRAM => reading.program(),
            labels::HOST => self.host.clone(),
            labels::UNIT => told.get(name).cloned(),
            _ => told.get(name).cloned().or_else(|| std::env::var(name).ok()),
        })
    }

    fn payload(&self, reading: &Reading, labels: Labels, time_ns: u64, pid: u32) -> Result<Payload> {
        let what = format!("the profile of process {pid} of {}", crate::wire::time::rfc3339(time_ns));
        Ok(Payload { head: Head::new(time_ns, labels, what), pprof: reading.pprof()? })
    }

    /// Hands a profile over that lies on the disk or on tmpfs: it goes into the spool and is noted, or waits where it
    /// is.
    fn keep(&mut self, mut payload: Payload, key: String) -> Result<()> {
        let oldest_ns = self.oldest_ns();
        let Some(outlet) = &mut self.outlet else { return Ok(()) };
        payload.head.key = Some(key.clone());
        let (cursor, time_ns) = (&mut outlet.cursor, payload.head.time_ns);
        outlet.sender.hand_over(|spool| spool.put_and(&payload, || cursor.note(key, time_ns, oldest_ns)))
    }

    /// Hands a profile over that nothing else keeps: it waits in memory, if need be.
    fn give(&mut self, payload: Payload, key: Option<String>) {
        let kept = match &key {
            Some(key) => self.keep(payload.clone(), key.clone()),
            None => match &self.outlet {
                Some(outlet) => outlet.sender.hand_over(|spool| spool.put(&payload).map(drop)),
                None => Ok(()),
            },
        };
        let Some(outlet) = &self.outlet else { return };
        if let Err(error) = kept {
            say(&format!("{error:#}; it waits in memory"));
            outlet.sender.hand_over(|spool| spool.hold(payload));
            self.held.extend(key);
        }
    }

    fn has(&self, key: &str) -> bool {
        self.held.contains(key) || self.outlet.as_ref().is_some_and(|outlet| outlet.cursor.has(key))
    }

    /// Notes what is not sent, as something else tells the same.
    fn note(&mut self, key: String) {
        let oldest_ns = self.oldest_ns();
        let Some(outlet) = &mut self.outlet else { return };
        if outlet.cursor.note(key.clone(), now_ns(), oldest_ns).is_err() {
            self.held.insert(key);
        }
    }

    fn oldest_ns(&self) -> u64 {
        now_ns().saturating_sub(self.settings.most_age.as_nanos() as u64)
    }
}

/// A life's labels with its number.
fn numbered(mut labels: Labels, number: usize) -> Labels {
    labels.push((labels::LIFE.to_owned(), number.to_string()));
    labels
}

/// The same for engines, whose first of a kind needs none: most often it is the only one.
fn for_engine(labels: Labels, number: usize) -> Labels {
    if number > 1 { numbered(labels, number) } else { labels }
}

/// Where spool and cursor lie if nobody says: where systemd put it, else where programs of this user keep theirs.
pub(crate) fn usual_state() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // Several are separated by colons.
    let systemds = variable("STATE_DIRECTORY").and_then(|all| all.to_str()?.split(':').next().map(PathBuf::from));
    let own = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")));
    systemds.or_else(|| Some(own?.join("heaptap")))
}
