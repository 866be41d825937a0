//! `heaptap dump`, `start`, `stop`, `rate`, `reset`: ask running processes for something.

use crate::cli::attach::{control, lives, process};
use crate::wire::control::{Outcome, Verb};
use anyhow::{Result, bail};
use std::io::Write;
use std::process::ExitCode;

/// The processes that are asked.
#[derive(clap::Args, Debug)]
pub(crate) struct Processes {
    /// Pids of tapped processes (`heaptap ps` lists them)
    #[arg(required = true, value_name = "PID")]
    pids: Vec<u32>,
}

/// Sample from now on with another rate
#[derive(clap::Args, Debug)]
pub(crate) struct Rate {
    /// One sample per 2^N bytes
    #[arg(value_name = "LG", value_parser = clap::value_parser!(u64).range(0..=63))]
    lg: u64,

    #[command(flatten)]
    processes: Processes,
}

/// Makes the processes write a dump each; the paths go to stdout.
pub(crate) fn dump(processes: &Processes) -> Result<ExitCode> {
    ask_all(processes, Verb::Dump, 0)
}

/// Makes the processes sample.
pub(crate) fn start(processes: &Processes) -> Result<ExitCode> {
    ask_all(processes, Verb::Start, 0)
}

/// Makes the processes not sample.
pub(crate) fn stop(processes: &Processes) -> Result<ExitCode> {
    ask_all(processes, Verb::Stop, 0)
}

/// Changes the processes' sampling rate.
pub(crate) fn rate(arguments: &Rate) -> Result<ExitCode> {
    ask_all(&arguments.processes, Verb::Rate, arguments.lg)
}

/// Makes the processes forget their samples.
pub(crate) fn reset(processes: &Processes) -> Result<ExitCode> {
    ask_all(processes, Verb::Reset, 0)
}

/// Asks each; one that fails does not keep the others from being asked.
fn ask_all(processes: &Processes, verb: Verb, argument: u64) -> Result<ExitCode> {
    let mut status = ExitCode::SUCCESS;
    for pid in &processes.pids {
        if let Err(error) = ask(*pid, verb, argument) {
            eprintln!("heaptap: process {pid}: {error:#}");
            status = ExitCode::from(2);
        }
    }
    Ok(status)
}

fn ask(pid: u32, verb: Verb, argument: u64) -> Result<()> {
    let found = lives::of_process(pid, &[])?;
    if !found.is_alive {
        bail!("was killed; `heaptap recover {pid}` writes its final dump");
    }
    if process::is_stopped(pid) {
        bail!("is stopped and cannot answer (kill -CONT {pid}); `heaptap report {pid}` reads it all the same");
    }
    let answer = control::ask(&control::beside(&found.path), verb, argument)?;
    match answer.outcome {
        Outcome::Done => {}
        Outcome::Failed => bail!("could not do it; its stderr says why"),
        Outcome::Refused => bail!("refused: its tap is of another version"),
    }
    if let Some(path) = answer.path {
        writeln!(std::io::stdout(), "{}", path.display())?;
    }
    Ok(())
}
