//! `heaptap rss PID|DUMPS…`: where the resident memory of a process is, tapped or not, now and over time.

use super::lives;
use super::naming::Symbols;
use super::output::Output;
use super::terminal;
use crate::cli::analyze::kept::Kept;
use crate::cli::analyze::report::account;
use crate::cli::analyze::resident::{Past, Resident};
use crate::cli::analyze::rss::{Account, Areas, JvmSizes};
use crate::cli::attach::discovery::{self, Found};
use crate::cli::attach::process::Process;
use crate::cli::attach::source::{self, Source};
use crate::cli::attach::{allocators, files, memory};
use crate::cli::inert::say;
use crate::cli::open;
use crate::cli::profile::metric::Metric;
use crate::cli::profile::series::Series;
use crate::cli::profile::shape::Shape;
use crate::cli::render::rss::RssText;
use crate::wire::maps_line::MapsLine;
use crate::wire::resident::known::Known;
use anyhow::{Context, Result, bail};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Longest copy of a process's smaps: 65,530 mappings are the usual limit.
const MOST_SMAPS: u64 = 1 << 30;

/// Show where the resident memory of a process is: Java heap, malloc, stacks, files …, now and over time
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Pid of a running process, tapped or not, or of a killed one; dumps (*.heap, *.live) or folders of them; or a
    /// copy of /proc/PID/smaps
    #[arg(required = true, value_name = "PID|DUMPS|SMAPS")]
    files: Vec<PathBuf>,

    /// Look at this process, when the files are of several
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,

    /// Look at this life of a process: the beginning of its token, `last`, `first`, a time, or how long before the last
    /// dump (`2h`)
    #[arg(long, value_name = "LIFE", value_parser = lives::parse)]
    life: Option<lives::Wanted>,

    /// How many moments to show
    #[arg(long, short = 'n', default_value_t = 8, value_name = "N")]
    moments: usize,

    /// Write everything as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let resident = match arguments.files.as_slice() {
        [file] => of_one(arguments, file)?,
        _ => of_dumps(arguments)?,
    };
    let text = RssText { layout: terminal::layout(), moments: arguments.moments };
    arguments.output.answer(&resident, arguments.json, &text)?;
    Ok(ExitCode::SUCCESS)
}

fn of_one(arguments: &Arguments, file: &Path) -> Result<Resident> {
    let pid = file.to_str().and_then(|text| text.parse::<u32>().ok()).filter(|_| !file.exists());
    match pid {
        Some(pid) if Path::new(&format!("/proc/{pid}")).exists() => of_process(pid),
        Some(_) => of_dumps(arguments),
        None if is_smaps(file) => of_smaps(file),
        None => of_dumps(arguments),
    }
}

/// Whether it is a copy of smaps: a pipe, or a file that begins as they do.
fn is_smaps(path: &Path) -> bool {
    let mut head = [0; 512];
    match std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        true => {
            let read = open::typed(path).and_then(|mut file| file.read(&mut head)).unwrap_or(0);
            let line = head.get(..read).unwrap_or_default().split(|&byte| byte == b'\n').next();
            line.is_some_and(|line| MapsLine::read(line).is_some())
        }
        false => path != Path::new("-") && !path.is_dir() && path.exists(),
    }
}

fn of_process(pid: u32) -> Result<Resident> {
    let found = discovery::of_process(pid, &[]).ok().filter(Found::is_alive);
    let series = found.map(|found| series(vec![Source::Region(found)], None, None)).and_then(Result::ok);
    // What a region tells of the process goes into its account.
    let account = match series.as_ref().and_then(told) {
        Some(account) => account,
        None => memory::account(pid, Known::default())?,
    };
    let limit = memory::limit(pid);
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    Ok(Resident {
        schema: 1,
        pid: Some(pid),
        exe: exe.map(|exe| exe.display().to_string()),
        title: Process { pid }.title(),
        is_jvm: memory::is_jvm(pid),
        account,
        live_bytes: series.as_ref().and_then(Series::last).map(|dump| dump.total.bytes as u64),
        memory_used_bytes: limit.map(|limit| limit.used_bytes),
        memory_limit_bytes: limit.map(|limit| limit.limit_bytes),
        allocators: allocators::of_process(pid),
        allocator: series.as_ref().and_then(|series| Kept::of(&series.profile)),
        past: series.as_ref().map(Past::of).filter(|past| past.moments.len() > 1),
    })
}

fn told(series: &Series) -> Option<Account> {
    let last = series.last()?;
    account(&series.profile, &last.metadata, Metric::InuseBytes, last.total)
}

fn of_smaps(path: &Path) -> Result<Resident> {
    let smaps = open::typed(path)
        .and_then(|file| open::bytes(&file, MOST_SMAPS))
        .with_context(|| format!("reading {} (a pid, dumps, or a file of smaps)", path.display()))?;
    let areas = Areas::of(&smaps);
    let mut known = Known::default();
    JvmSizes::default().complete(&areas, &mut known);
    let account = Account::of(&areas, &known);
    if account.classes.is_empty() {
        bail!("{} is no copy of /proc/PID/smaps: there is no mapping with anything resident in it", path.display());
    }
    Ok(Resident { schema: 1, account, is_jvm: areas.is_jvm(), ..Resident::default() })
}

fn of_dumps(arguments: &Arguments) -> Result<Resident> {
    let mut notes = Vec::new();
    let sources = source::all(&arguments.files, &mut notes)?;
    notes.iter().for_each(|note| say(note));
    let series = series(sources, arguments.pid, arguments.life.as_ref())?;
    let past = Past::of(&series);
    let last = series.last().map(|dump| &dump.metadata);
    let Some(account) = told(&series).or_else(|| Some(past.moments.last()?.account.clone())) else {
        bail!("nothing in these files tells classes of resident memory: they are of an older heaptap, or too young");
    };
    Ok(Resident {
        schema: 1,
        pid: series.pid(),
        exe: series.profile.program().map(str::to_owned),
        title: series.profile.title().map(str::to_owned),
        is_jvm: series.profile.is_jvm(),
        account,
        live_bytes: series.last().map(|dump| dump.total.bytes as u64),
        memory_used_bytes: last.and_then(|last| last.memory_used_bytes),
        memory_limit_bytes: last.and_then(|last| last.memory_limit_bytes),
        allocators: Vec::new(),
        allocator: Kept::of(&series.profile),
        past: Some(past),
    })
}

/// The life that is meant of these sources.
fn series(sources: Vec<Source>, pid: Option<u32>, life: Option<&lives::Wanted>) -> Result<Series> {
    let shape = Shape { metric: Metric::InuseBytes, ..Shape::default() };
    let found = files::read(&sources, Vec::new(), shape, &mut |_, _| {})?;
    found.notes.iter().for_each(|note| say(note));
    let mut all = found.series;
    let chosen = lives::choose(&all, pid, life).map_err(anyhow::Error::msg)?;
    if all.len() > 1 && pid.is_none() && life.is_none() {
        say(&lives::told(&all, chosen));
    }
    let series = all.swap_remove(chosen);
    // Names say who mapped what.
    if series.profile.mapped.is_empty() {
        return Ok(series);
    }
    Ok(Symbols::default().name(series, &found.recorded).series)
}
