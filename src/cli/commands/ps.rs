//! `heaptap ps`: the tapped processes of this machine, alive and killed, one line each, biggest first.

use super::output::Output;
use crate::cli::attach::discovery::{self, Found};
use crate::cli::attach::process::{self, Process};
use crate::cli::attach::region;
use crate::cli::attach::worth::is_worth;
use crate::cli::inert::say;
use crate::cli::render::{Renderer, units};
use crate::wire::live::counters::Counter;
use crate::wire::live::snapshot::Snapshot;
use crate::wire::liveness::Liveness;
use crate::wire::{time, title};
use anyhow::Result;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// List tapped processes: those that live, and those that were killed and can be recovered; root sees all users'
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Folders of dumps where mirrors of dead processes may lie (default: the current one, and $HEAPTAP_DIR)
    #[arg(value_name = "DIR")]
    folders: Vec<PathBuf>,

    /// Also young and small ones that would leave no dump: living ones are counted else, dead ones left out
    #[arg(long)]
    all: bool,

    /// Write the list as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    output: Output,
}

/// So many young and small children of tapped processes are listed without being asked for.
const FEW: usize = 3;
/// What a process has that is no helper, bytes live.
const SOMETHING_BYTES: u64 = 16 << 20;

/// The answer.
#[derive(Debug, Serialize)]
struct Listed {
    schema: u32,
    processes: Vec<Row>,
    /// Young and small processes that live and are not listed.
    helpers: usize,
}

/// One life of one process.
#[derive(Debug, Serialize)]
struct Row {
    /// As we see it where it lives, else as it saw itself.
    pid: u32,
    token: String,
    user: u32,
    user_name: Option<String>,
    state: &'static str,
    live_bytes: u64,
    samples: usize,
    period_bytes: u64,
    from: &'static str,
    /// RFC 3339.
    started: String,
    container: Option<String>,
    program: String,
    executable: Option<String>,
    path: PathBuf,
    /// Whether it is worth a dump.
    #[serde(skip)]
    is_worth_a_file: bool,
    /// The process that started it.
    #[serde(skip)]
    parent: Option<u32>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let folders = if arguments.folders.is_empty() { discovery::usual_folders() } else { arguments.folders.clone() };
    let listed = list(&folders, arguments.all);
    if listed.processes.is_empty() && listed.helpers == 0 && !arguments.json {
        say("no tapped process, and nothing left by one (short-lived ones leave nothing)");
        return Ok(ExitCode::SUCCESS);
    }
    arguments.output.answer(&listed, arguments.json, &Table)?;
    Ok(ExitCode::SUCCESS)
}

fn list(folders: &[PathBuf], all: bool) -> Listed {
    let names = user_names();
    let mut processes = Vec::new();
    for found in discovery::all(folders) {
        if found.process == Some(std::process::id()) {
            continue; // this command, where the variables are exported in a shell
        }
        match region::snapshot(&found) {
            Ok(snapshot) => processes.push(row(&found, &snapshot, &names)),
            // It has just ended, or has hardly begun.
            Err(error) if !found.path.exists() || region::is_unfinished(&error) => {}
            Err(error) => say(&format!("{error:#}")),
        }
    }
    processes.sort_by(|a, b| (b.live_bytes, a.pid, &a.path).cmp(&(a.live_bytes, b.pid, &b.path)));
    let is_dead = |row: &Row| ["killed", "ended", "left"].contains(&row.state);
    processes.retain(|row| all || row.is_worth_a_file || !is_dead(row));
    // Of a family of small ones the eldest is shown: it is what somebody started.
    let living: BTreeSet<u32> = processes.iter().filter(|row| !is_dead(row)).map(|row| row.pid).collect();
    let is_helper = |row: &Row| {
        let has_elder = row.parent.is_some_and(|parent| living.contains(&parent));
        !is_dead(row) && !row.is_worth_a_file && row.live_bytes < SOMETHING_BYTES && has_elder
    };
    let helpers = processes.iter().filter(|row| is_helper(row)).count();
    let folds = !all && helpers > FEW;
    if folds {
        processes.retain(|row| !is_helper(row));
    }
    Listed { schema: 1, processes, helpers: if folds { helpers } else { 0 } }
}

fn row(found: &Found, snapshot: &Snapshot, names: &BTreeMap<u32, String>) -> Row {
    let executable = snapshot.metadata("exe").filter(|exe| *exe != "?").map(str::to_owned);
    let process = found.process.map(|pid| Process { pid });
    let command = process.map(Process::command).unwrap_or_default();
    let live_bytes = snapshot.counter(Counter::LiveBytes);
    let is_worth_a_file =
        snapshot.is_significant || discovery::claim(found).is_ok_and(|claim| is_worth(&claim, snapshot));
    Row {
        pid: found.process.unwrap_or(found.pid),
        token: format!("{:016x}", snapshot.token),
        user: found.owner,
        user_name: names.get(&found.owner).cloned(),
        state: state(found, snapshot),
        live_bytes,
        samples: snapshot.samples.len(),
        period_bytes: snapshot.period,
        from: if snapshot.is_mirror { "mirror" } else { "region" },
        started: time::rfc3339(snapshot.start_wall_ns),
        container: process.and_then(Process::container),
        program: match snapshot.metadata("title").filter(|_| command.is_empty()) {
            Some(title) => title.to_owned(),
            None => title::of(executable.as_deref().unwrap_or("?"), &command),
        },
        executable,
        path: found.path.clone(),
        is_worth_a_file,
        parent: process.and_then(Process::parent),
    }
}

fn state(found: &Found, snapshot: &Snapshot) -> &'static str {
    match found.state {
        Liveness::Dead if snapshot.is_other_user => "left",
        Liveness::Dead if snapshot.is_ending => "ended",
        Liveness::Dead => "killed",
        Liveness::Unknown => "unclear",
        Liveness::Alive if found.process.is_some_and(process::is_stopped) => "stopped",
        Liveness::Alive => "alive",
    }
}

/// The users that this machine knows by name. Those of a container may be others.
fn user_names() -> BTreeMap<u32, String> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((fields.nth(1)?.parse().ok()?, name))
    };
    text.lines().filter_map(name).collect()
}

/// The list as text.
struct Table;

impl Renderer<Listed> for Table {
    fn render(&self, listed: &Listed, out: &mut dyn Write) -> io::Result<()> {
        let has_containers = listed.processes.iter().any(|row| row.container.is_some());
        let container = |text: &str| if has_containers { format!("{text:<14.14} ") } else { String::new() };
        writeln!(
            out,
            "{:>8}  {:<10} {:<7} {:>10} {:>8}  {:<6}  {:<20}  {:<8}  {}program",
            "pid",
            "user",
            "state",
            "live",
            "samples",
            "from",
            "started",
            "token",
            container("container")
        )?;
        for row in &listed.processes {
            let user = row.user_name.clone().unwrap_or_else(|| row.user.to_string());
            writeln!(
                out,
                "{:>8}  {user:<10.10} {:<7} {:>10} {:>8}  {:<6}  {:<20}  {:<8.8}  {}{}{}",
                row.pid,
                row.state,
                units::bytes(row.live_bytes as f64),
                row.samples,
                row.from,
                row.started.get(..19).unwrap_or(&row.started).replace('T', " "),
                row.token,
                container(row.container.as_deref().unwrap_or("-")),
                row.program.escape_debug(),
                advice(row)
            )?;
        }
        if listed.helpers > 0 {
            writeln!(out, "and {} young and small processes, which leave no dump (--all lists them)", listed.helpers)?;
        }
        Ok(())
    }
}

fn advice(row: &Row) -> String {
    let is_dead = ["killed", "ended", "left"].contains(&row.state);
    match is_dead {
        false => String::new(),
        true if row.from == "mirror" => format!("   (heaptap recover {})", row.path.display()),
        true => format!("   (heaptap recover {})", row.pid),
    }
}
