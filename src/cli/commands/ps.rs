//! `heaptap ps`: the tapped processes of this machine, alive and killed, one line each.

use super::output::Output;
use super::recover::is_worth_a_file;
use crate::cli::attach::lives::{self, Found};
use crate::cli::attach::{process, region};
use crate::cli::render::units;
use crate::wire::live::counters::Counter;
use crate::wire::live::snapshot::Snapshot;
use anyhow::Result;
use std::path::PathBuf;
use std::process::ExitCode;

/// List tapped processes: those that live, and those that were killed and can be recovered
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Folders of dumps where mirrors of dead processes may lie (default: the current one, and $HEAPTAP_DIR)
    #[arg(value_name = "DIR")]
    folders: Vec<PathBuf>,

    /// Also dead processes that would have left no dump: they were short-lived and small
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let folders = if arguments.folders.is_empty() { lives::usual_folders() } else { arguments.folders.clone() };
    let mut found = lives::all(&folders);
    found.retain(|found| found.is_alive || arguments.all || is_worth_a_file(found));
    if found.is_empty() {
        eprintln!("heaptap: no tapped process, and nothing left by one (short-lived ones leave nothing)");
        return Ok(ExitCode::SUCCESS);
    }
    arguments.output.write(|out| {
        writeln!(out, "{:>8}  {:<7} {:>10} {:>9}  {:<6}  program", "pid", "state", "live", "samples", "from")?;
        for found in &found {
            match region::snapshot(found) {
                Ok(snapshot) => writeln!(out, "{}", line(found, &snapshot))?,
                // It has just ended.
                Err(_) if !found.path.exists() => {}
                Err(error) => eprintln!("heaptap: {error:#}"),
            }
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn line(found: &Found, snapshot: &Snapshot) -> String {
    let live = units::bytes(snapshot.counter(Counter::LiveBytes) as f64);
    let program = snapshot.metadata("exe").unwrap_or("?");
    let pid = found.process.unwrap_or(found.pid);
    let advice = if found.is_alive { String::new() } else { format!("   (heaptap recover {})", advised(found)) };
    let samples = snapshot.samples.len();
    let source = if snapshot.is_mirror { "mirror" } else { "region" };
    let state = state(found, snapshot);
    format!("{pid:>8}  {state:<7} {live:>10} {samples:>9}  {source:<6}  {}{advice}", program.escape_debug())
}

fn advised(found: &Found) -> String {
    match found.path.extension() {
        Some(extension) if extension == "live" => found.path.display().to_string(),
        _ => found.pid.to_string(),
    }
}

fn state(found: &Found, snapshot: &Snapshot) -> &'static str {
    match (found.is_alive, snapshot.is_ending) {
        (false, true) => "ended",
        (false, false) => "killed",
        (true, _) if found.process.is_some_and(process::is_stopped) => "stopped",
        (true, _) => "alive",
    }
}
