//! `heaptap recover`: writes the final dump of a process that could not write it itself.

use crate::cli::attach::lives::{self, Found};
use crate::cli::attach::{control, region};
use crate::wire::dump_file;
use crate::wire::life_name::LifeName;
use crate::wire::live::snapshot::Snapshot;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write the final dump of killed processes from what they left in memory, or beside their dumps
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Pids, folders of dumps, region or mirror files (default: every killed process)
    #[arg(value_name = "PID|DIR|FILE")]
    processes: Vec<PathBuf>,

    /// Directory for the dumps (default: where the process would have written them)
    #[arg(long, short = 'o', value_name = "DIR")]
    output: Option<PathBuf>,

    /// Leave region and mirror in place
    #[arg(long)]
    keep: bool,
}

/// Runs the command: the dumps' paths go to stdout.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let found = found(&arguments.processes)?;
    if found.is_empty() {
        eprintln!("heaptap: no killed process left a profile; `heaptap ps` lists what there is");
    }
    let mut status = ExitCode::SUCCESS;
    for found in found {
        match recover(&found, arguments.output.as_deref(), arguments.keep) {
            Ok(dump) => writeln!(io::stdout(), "{}", dump.display())?,
            Err(error) => {
                eprintln!("heaptap: {error:#}");
                status = ExitCode::from(2);
            }
        }
    }
    Ok(status)
}

/// Writes the dump of one process, and removes what it was made from unless that shall stay.
pub(super) fn recover(found: &Found, directory: Option<&Path>, keep: bool) -> Result<PathBuf> {
    let snapshot = region::snapshot(found)?;
    let prefix = prefix(found, &snapshot, directory);
    let saved = dump_file::save_last(&snapshot, &prefix, false);
    let dump = saved
        .map_err(|(path, error)| anyhow::Error::new(error).context(format!("writing {}", path.display())))
        .context("-o DIR chooses another place")?;
    if !keep {
        remove(found, &snapshot, &prefix)?;
    }
    if let Some(told) = region::provenance(found, &snapshot) {
        eprintln!("heaptap: {told}");
    }
    Ok(dump)
}

/// Without region, control file and mirror the next look finds the dump alone.
fn remove(found: &Found, snapshot: &Snapshot, prefix: &Path) -> Result<()> {
    for mirror in [snapshot.prefix().unwrap_or(prefix), prefix].map(|prefix| snapshot.life(prefix).mirror()) {
        let _ = fs::remove_file(mirror);
    }
    let _ = fs::remove_file(control::beside(&found.path));
    match fs::remove_file(&found.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {} (--keep leaves it)", found.path.display()))
        }
        _ => Ok(()),
    }
}

fn found(processes: &[PathBuf]) -> Result<Vec<Found>> {
    if processes.is_empty() {
        let all = lives::all(&lives::usual_folders()).into_iter();
        return Ok(all.filter(|found| !found.is_alive && is_worth_a_file(found)).collect());
    }
    let mut all = Vec::new();
    for process in processes {
        match process.to_str().and_then(|text| text.parse().ok()) {
            Some(pid) if !process.exists() => all.push(dead(lives::of_process(pid, &lives::usual_folders())?)?),
            _ if process.is_dir() => all.extend(of_folder(process)),
            _ => all.push(dead(lives::of_file(process))?),
        }
    }
    Ok(all)
}

fn dead(found: Found) -> Result<Found> {
    if found.is_alive {
        let pid = found.process.unwrap_or(found.pid);
        bail!("process {pid} lives: `heaptap report {pid}` reads its profile");
    }
    Ok(found)
}

/// The dead ones that wrote, or would have written, into a folder.
fn of_folder(folder: &Path) -> Vec<Found> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let is_its = |found: &Found| {
        if LifeName::of_mirror(&found.path).is_some() {
            return found.path.parent() == Some(&folder);
        }
        let prefix = region::snapshot(found).ok().and_then(|snapshot| snapshot.prefix().map(Path::to_path_buf));
        prefix.is_some_and(|prefix| {
            prefix.parent().and_then(|parent| parent.canonicalize().ok()).as_ref() == Some(&folder)
        })
    };
    let all = lives::all(std::slice::from_ref(&folder)).into_iter();
    all.filter(|found| !found.is_alive && is_its(found) && is_worth_a_file(found)).collect()
}

/// What helpers of start scripts left is nobody's profile.
pub(super) fn is_worth_a_file(found: &Found) -> bool {
    region::snapshot(found).is_ok_and(|snapshot| snapshot.is_worth_a_file())
}

/// The process's own prefix; or its last part, in another directory.
fn prefix(found: &Found, snapshot: &Snapshot, directory: Option<&Path>) -> PathBuf {
    let beside = LifeName::of_mirror(&found.path).map(|life| life.prefix);
    let own = beside.or_else(|| snapshot.prefix().map(Path::to_path_buf)).unwrap_or_else(|| "jeprof".into());
    match directory {
        Some(directory) => directory.join(own.file_name().unwrap_or("jeprof".as_ref())),
        None => own,
    }
}
