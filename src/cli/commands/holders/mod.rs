//! `heaptap holders PID`: who keeps the blocks of a place alive.

mod java;
mod names;

use super::inputs::{Filters, Inputs, Opened, Symbols};
use super::output::Output;
use super::terminal::{self, Progress};
use crate::cli::analyze::groups::Rows;
use crate::cli::analyze::holders::graph::Fate;
use crate::cli::analyze::holders::{Holders, Outcome, PlaceHolders};
use crate::cli::analyze::report::{Report, SiteFacts};
use crate::cli::attach::discovery::{self, Found};
use crate::cli::attach::holders::{self, Limits};
use crate::cli::attach::region;
use crate::cli::attach::source::Source;
use crate::cli::profile::metric::Metric;
use crate::cli::render::holders::HoldersText;
use anyhow::{Result, bail};
use java::Java;
use names::{Names, Samples};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

/// Longest chain that may be asked for.
const MOST_DEPTH: u64 = 64;

/// Show who holds the blocks of a place: a global, a thread, the Java heap, another block, or nobody
///
/// Takes a sample of each place's live blocks and searches the process's memory for pointers to them, then for pointers
/// to what points to them, and so on. The process is not stopped.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// The process: it must live
    #[arg(value_name = "PID")]
    pid: u32,

    /// Only this place, by its number in `heaptap report PID` [default: the biggest ones]
    #[arg(long, value_name = "N")]
    site: Option<usize>,

    /// Only stacks through a function or library whose name contains TEXT
    #[arg(long, value_name = "TEXT")]
    focus: Vec<String>,

    /// How many places, where none is named
    #[arg(long, short = 'n', default_value_t = 5, value_name = "N")]
    top: usize,

    /// How many blocks of a place are looked for
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=4096))]
    blocks: u64,

    /// Longest chain from a block to what holds it
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_DEPTH))]
    depth: u64,

    /// A heap dump of the JVM (jcmd PID GC.heap_dump -all FILE): which Java field owns a block, and what keeps its
    /// object
    #[arg(long, value_name = "FILE", conflicts_with = "heap_dump")]
    hprof: Option<PathBuf>,

    /// Have the JVM write one, into a folder as it sees it, and remove it afterwards. It stands still for about a
    /// second per GiB of its heap, and needs as much room
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "/tmp")]
    heap_dump: Option<PathBuf>,

    #[command(flatten)]
    symbols: Symbols,

    /// Write everything as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let pid = arguments.pid;
    let found = discovery::of_process(pid, &[])?;
    let Some(process) = found.process.filter(|_| found.is_alive()) else {
        bail!("process {pid} does not live: who held its blocks went with its memory");
    };
    let Opened { series, modules } = open_series(arguments, &found)?;
    let report = Report::by(&series, &modules, Rows::default());
    let places = chosen(arguments, &report)?;
    let snapshot = region::snapshot(&found)?;
    let its_samples = Samples::of(&snapshot, &series.profile);
    let (mut wanted, mut parts) = (Vec::new(), Vec::new());
    for (number, site) in &places {
        let all = its_samples.of_site(site);
        let step = all.len().div_ceil(arguments.blocks as usize).max(1);
        let some: Vec<usize> = all.iter().copied().step_by(step).collect();
        let range = wanted.len()..wanted.len() + some.len();
        parts.push(Part { number: *number, site, samples: all.len(), range });
        wanted.extend(some);
    }
    let mut progress = Progress::new("searching memory, MiB:");
    let limits = Limits { depth: arguments.depth as usize };
    let searched = holders::search(process, &found, &snapshot, &wanted, limits, &mut |_, done, all| {
        progress.at((done >> 20) as usize, (all >> 20) as usize);
    });
    drop(progress);
    let mut searched = searched?;
    let java = java::owners(arguments.hprof.as_deref(), arguments.heap_dump.as_deref(), process, &searched)?;
    if java.is_some() {
        holders::forget_freed(&mut searched, &found, &snapshot, &wanted)?;
    }
    let names = Names::of(&searched, &snapshot, process, &arguments.symbols, &series.profile, &report, &its_samples)?;
    let mut answer = Holders {
        schema: 1,
        pid,
        title: series.profile.title().map(str::to_owned),
        places: Vec::new(),
        read_bytes: searched.bytes,
        passes: searched.passes,
        seconds: searched.time.as_secs_f64(),
        unread_bytes: searched.unread_bytes,
        unseen_registers: searched.unseen_registers,
        knows_blocks: searched.knows_blocks,
    };
    for part in &parts {
        let mut place = part.unjudged(&searched);
        place.vote(part.outcomes(&searched, &wanted, &names, java.as_ref()), searched.unseen_registers);
        answer.places.push(place);
    }
    arguments.output.answer(&answer, arguments.json, &HoldersText { layout: terminal::layout() })?;
    Ok(ExitCode::SUCCESS)
}

/// A place, and which of the blocks that are looked for are its.
struct Part<'a> {
    /// Its number in the report.
    number: usize,
    site: &'a SiteFacts,
    /// Sampled blocks of it that live.
    samples: usize,
    /// Those that are looked for, among all.
    range: Range<usize>,
}

impl Part<'_> {
    /// What became of its blocks, but for those that were freed meanwhile.
    fn outcomes(
        &self,
        searched: &holders::Holders,
        wanted: &[usize],
        names: &Names<'_>,
        java: Option<&Java>,
    ) -> Vec<Outcome> {
        let numbers = wanted.get(self.range.clone()).unwrap_or_default();
        let outcome = |(sample, fate): (&usize, &Option<Fate>)| {
            let native = names.outcome(*sample, fate.as_ref()?)?;
            Some(match java {
                Some(java) => java.judge(names, *sample, fate.as_ref(), native),
                None => native,
            })
        };
        numbers.iter().zip(self.fates(searched)).filter_map(outcome).collect()
    }

    fn fates<'a>(&self, searched: &'a holders::Holders) -> &'a [Option<Fate>] {
        searched.fates.get(self.range.clone()).unwrap_or_default()
    }

    /// Before its blocks have voted.
    fn unjudged(&self, searched: &holders::Holders) -> PlaceHolders {
        let (site, fates) = (self.site, self.fates(searched));
        PlaceHolders {
            number: self.number,
            place: site.place.clone(),
            frames: site.frames.iter().map(|frame| frame.name.clone()).collect(),
            bytes: site.bytes,
            objects: site.objects,
            samples: self.samples,
            looked_for: fates.len(),
            freed: fates.iter().filter(|fate| fate.is_none()).count(),
            votes: Vec::new(),
            verdict: None,
        }
    }
}

fn open_series(arguments: &Arguments, found: &Found) -> Result<Opened> {
    let filters = Filters { focus: arguments.focus.clone(), ..Filters::default() };
    let inputs = Inputs { filters, symbols: arguments.symbols.clone(), ..Inputs::default() };
    inputs.open_sources(&[Source::Region(found.clone())], Vec::new(), Metric::default(), false)
}

/// The places that are asked for, with their numbers in the report.
fn chosen<'a>(arguments: &Arguments, report: &'a Report) -> Result<Vec<(usize, &'a SiteFacts)>> {
    let numbered = report.sites.iter().enumerate().map(|(index, site)| (index + 1, site));
    let places: Vec<(usize, &SiteFacts)> = match arguments.site {
        Some(number) => numbered.filter(|(its, _)| *its == number).collect(),
        None => numbered.filter(|(_, site)| site.bytes >= 0.5).take(arguments.top).collect(),
    };
    if places.is_empty() && arguments.site.is_some() {
        bail!("there is no place of that number: `heaptap report {}` has {}", arguments.pid, report.sites.len());
    }
    if places.is_empty() {
        bail!("no sampled block of process {} is live", arguments.pid);
    }
    Ok(places)
}
