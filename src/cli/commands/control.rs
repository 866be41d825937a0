//! `heaptap dump`, `start`, `stop`, `rate`, `reset`, `trim`: ask running processes for something.

use crate::cli::attach::control::{self, Answer};
use crate::cli::attach::discovery::{self, Found};
use crate::cli::attach::process::{self, Process};
use crate::cli::attach::{owner, region};
use crate::cli::inert::{clean, say};
use crate::cli::render::units::bytes;
use crate::wire::control::{Outcome, Verb};
use crate::wire::dump_name::{DumpKind, DumpName};
use crate::wire::live::counters::Counter;
use crate::wire::{dump_file, whole_file};
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
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

/// Has the processes' allocators give back what they keep unused; what became of resident memory goes to stdout.
pub(crate) fn trim(processes: &Processes) -> Result<ExitCode> {
    each(processes, |pid| {
        let before = resident(pid)?;
        ask(pid, Verb::Trim, 0)?;
        let after = resident(pid)?;
        let given = bytes(before.saturating_sub(after) as f64);
        let (before, after) = (bytes(before as f64), bytes(after as f64));
        writeln!(std::io::stdout(), "process {pid}: resident {before} before, {after} after: {given} given back")?;
        Ok(())
    })
}

/// Resident bytes of a process.
fn resident(pid: u32) -> Result<u64> {
    region::resident_bytes(pid).with_context(|| format!("/proc/{pid}/status: no resident memory is told there"))
}

/// Asks each; one that fails does not keep the others from being asked.
fn ask_all(processes: &Processes, verb: Verb, argument: u64) -> Result<ExitCode> {
    each(processes, |pid| ask(pid, verb, argument))
}

fn each(processes: &Processes, mut ask: impl FnMut(u32) -> Result<()>) -> Result<ExitCode> {
    let mut status = ExitCode::SUCCESS;
    for pid in &processes.pids {
        if let Err(error) = ask(*pid) {
            say(&format!("process {pid}: {error:#}"));
            status = ExitCode::from(2);
        }
    }
    Ok(status)
}

fn ask(pid: u32, verb: Verb, argument: u64) -> Result<()> {
    match request(pid, verb, argument, &say)? {
        Some(path) => Ok(writeln!(std::io::stdout(), "{}", clean(&path.to_string_lossy()))?),
        None => Ok(()),
    }
}

/// Asks a process, and waits: the dump that it wrote, if that is what it was asked for. `tell` gets what the user
/// should know.
pub(super) fn request(pid: u32, verb: Verb, argument: u64, tell: &dyn Fn(&str)) -> Result<Option<PathBuf>> {
    let found = discovery::of_process(pid, &[])?;
    if !found.is_alive() {
        bail!("was killed; `heaptap recover {pid}` writes its final dump");
    }
    match asked(pid, &found, verb, argument) {
        // What the process cannot write we can: its profile lies open.
        Err(why) if verb == Verb::Dump => {
            let path = write_dump(&found).with_context(|| format!("{why:#}; and written from outside"))?;
            tell(&format!("process {pid} {why:#}: written from its region"));
            Ok(Some(path))
        }
        answer => {
            let answer = answer?;
            let told = answer.path.as_ref().map(|path| clean(&path.to_string_lossy()));
            match (answer.outcome, told) {
                (Outcome::Done, _) => Ok(answer.path),
                (Outcome::Failed, Some(why)) => bail!("{why}"),
                (Outcome::Failed, None) => bail!("could not do it; its stderr says why"),
                (Outcome::Refused, _) => bail!("refused: its tap is of another version"),
            }
        }
    }
}

fn asked(pid: u32, found: &Found, verb: Verb, argument: u64) -> Result<Answer> {
    if process::is_stopped(pid) {
        bail!("is stopped and cannot answer (kill -CONT {pid})");
    }
    control::ask(&discovery::claim(found)?, &found.path, verb, argument)
}

/// The dump that a process would write, written by us, with its owner's rights, where it would write it. What another
/// root directory makes of the path is the process's word, and root does not follow that.
fn write_dump(found: &Found) -> Result<PathBuf> {
    let claim = discovery::claim(found)?;
    let prefix = claim.life().map(|life| life.prefix).context("it was to write no dumps (prof_prefix)")?;
    let process = Process { pid: found.process.unwrap_or(found.pid) };
    let is_here = process.shares_our_mounts().unwrap_or(claim.terms().pid_namespace == own_pid_namespace());
    if !is_here {
        bail!("its files are elsewhere; `heaptap report {}` reads its profile", process.pid);
    }
    owner::acting_for(&claim, || {
        let mut snapshot = region::snapshot(found)?;
        if (claim.terms().pid, claim.terms().token) != (snapshot.pid, snapshot.token) {
            bail!("{} is not of the life that its name says", found.path.display());
        }
        snapshot.set("reason", "request");
        snapshot.set("source", "region");
        let seq = snapshot.counter(Counter::Dumps).min(u64::MAX >> 1);
        let name = DumpName { prefix: prefix.clone(), pid: snapshot.pid, seq, kind: DumpKind::Manual(seq) };
        let saved = dump_file::save(&snapshot, &snapshot.text, name, false);
        let saved =
            saved.map_err(|(path, error)| anyhow::Error::new(error).context(format!("writing {}", path.display())))?;
        Ok(whole_file::absolute(&saved.path()))
    })
}

fn own_pid_namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino())
}
