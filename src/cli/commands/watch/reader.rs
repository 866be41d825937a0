//! What is read of living processes: a few figures at each look, and places whenever their cost has been earned.

use crate::cli::analyze::groups::Rows;
use crate::cli::analyze::report::{Report, SiteFacts};
use crate::cli::attach::discovery::{self, Found};
use crate::cli::attach::files;
use crate::cli::attach::glance::Glance;
use crate::cli::attach::process::Process;
use crate::cli::attach::source::Source;
use crate::cli::commands::naming::Symbols;
use crate::cli::inert::clean;
use crate::cli::profile::shape::Shape;
use crate::cli::render::plot::Plot;
use crate::cli::render::watch::{Place, Row};
use crate::cli::render::{sentences, words};
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// A look at all places is paid for by so many times its own length without one: 0.5 % of a processor.
const EARNED: u32 = 200;
/// Places that a look brings.
const PLACES: usize = 200;
/// Frames of one.
const FRAMES: usize = 40;

/// All lives, look by look.
#[derive(Default)]
pub(super) struct Watcher {
    first: HashMap<u32, (Instant, f64)>,
}

impl Watcher {
    /// The lives that are there now, biggest first.
    pub(super) fn lives(&mut self) -> Vec<Row> {
        let living = discovery::all(&[]).into_iter().filter(Found::is_alive);
        let mut rows: Vec<Row> = living.filter_map(|found| self.row(&found)).collect();
        rows.sort_by(|a, b| b.live_bytes.total_cmp(&a.live_bytes).then(a.pid.cmp(&b.pid)));
        rows
    }

    fn row(&mut self, found: &Found) -> Option<Row> {
        let pid = found.process.filter(|pid| *pid != std::process::id())?;
        let glance = Glance::of(&found.path, Some(pid)).ok()?;
        let (live_bytes, now) = (glance.live_bytes as f64, Instant::now());
        let (since, before) = *self.first.entry(pid).or_insert((now, live_bytes));
        let seconds = now.duration_since(since).as_secs_f64();
        Some(Row {
            pid,
            live_bytes,
            resident_bytes: glance.resident_bytes.map(|bytes| bytes as f64),
            rate: (seconds > 2.0).then(|| (live_bytes - before) / seconds),
            is_paused: glance.is_paused,
            program: Process { pid }.title().unwrap_or_default(),
        })
    }
}

/// Everything about one life.
pub(super) struct Answer {
    /// Who it is, and the verdict.
    pub(super) title: String,
    pub(super) verdict: String,
    /// What its keeper noted of the time before.
    pub(super) before: Plot,
    pub(super) places: Vec<Place>,
    /// What the look took.
    pub(super) cost: Duration,
}

/// Reads a life's places.
pub(super) fn answer(pid: u32, symbols: &Symbols) -> Result<Answer> {
    let began = Instant::now();
    let found = discovery::of_process(pid, &[])?;
    let read = files::read(&[Source::Region(found)], Vec::new(), Shape::default(), &mut |_, _| {})?;
    let series = read.series.into_iter().next().context("there is no profile in it")?;
    let named = symbols.name_silently(series, &read.recorded, &mut |_, _| {});
    let report = Report::by(&named.series, &named.modules, Rows::default());
    Ok(Answer {
        title: sentences::title(&report),
        verdict: sentences::verdict(&report),
        before: Plot::of(&named.series),
        places: report.sites.iter().take(PLACES).map(place).collect(),
        cost: began.elapsed(),
    })
}

fn place(site: &SiteFacts) -> Place {
    let name = |index: usize| site.frames.get(index).map_or("", |frame| frame.name.as_str());
    let hint = site.hint.as_ref().filter(|_| site.is_worth_a_hint);
    let lines = site.place.lines(FRAMES);
    let frames = lines.iter().map(|line| clean(&line.words(name)));
    Place {
        bytes: site.bytes,
        change: site.trend.change_bytes(),
        rate: site.judgement.rate,
        objects: site.objects,
        verdict: words::conclusion(site.judgement.verdict),
        label: site.label.clone(),
        stack: frames.chain(hint.map(|hint| format!("=> {}: {}", hint.title, hint.advice))).collect(),
    }
}

/// Reads one life's places on a thread of its own, as often as their cost allows, until nobody listens.
pub(super) fn follow(pid: u32, symbols: Symbols, every: Duration) -> Receiver<Result<Answer>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || send(pid, &symbols, every, &sender));
    receiver
}

fn send(pid: u32, symbols: &Symbols, every: Duration, sender: &Sender<Result<Answer>>) {
    loop {
        let found = answer(pid, symbols);
        let pause = found.as_ref().map_or(every, |answer| every.max(answer.cost * EARNED));
        let is_over = found.is_err();
        if sender.send(found).is_err() || is_over {
            return;
        }
        thread::sleep(pause);
    }
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
