//! `heaptap recover`: writes the final dump of a process that could not write it itself.

use super::ends::{Ends, Event};
use super::termination::{ENDED, TerminationLog};
use crate::cli::attach::discovery::{self, Directory, Found};
use crate::cli::attach::worth::is_worth_a_file;
use crate::cli::attach::{owner, region};
use crate::cli::inert::say;
use crate::cli::open;
use crate::wire::claim::Claim;
use crate::wire::dump_file;
use crate::wire::identity::Identity;
use crate::wire::liveness::Liveness;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write the final dump of killed processes from what they left in memory, or beside their dumps
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Pids, folders of dumps, region or mirror files (default: every killed process of this user)
    #[arg(value_name = "PID|DIR|FILE")]
    processes: Vec<PathBuf>,

    /// Directory for the dumps (default: where the process would have written them)
    #[arg(long, short = 'o', value_name = "DIR")]
    output: Option<PathBuf>,

    /// Leave region and mirror in place
    #[arg(long)]
    keep: bool,

    /// Wait until such a process is killed, or all of them have ended; then do it, and end: for a container beside the
    /// server's
    #[arg(long)]
    wait: bool,

    /// With --wait: add one line with the verdict to this file [default: /dev/termination-log, where there is one]
    #[arg(long, value_name = "FILE", requires = "wait")]
    verdict: Option<PathBuf>,

    /// Also other users' processes (for root), each with that user's rights
    #[arg(long)]
    all_users: bool,
}

/// Runs the command: the dumps' paths go to stdout.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.wait {
        return wait(arguments);
    }
    let mut found = found(&arguments.processes)?;
    if arguments.processes.is_empty() && !arguments.all_users {
        let before = found.len();
        found.retain(|found| found.owner == open::reader());
        if before > found.len() {
            say(&format!("{} killed processes of other users are left; --all-users", before - found.len()));
        }
    }
    if found.is_empty() {
        say("no killed process left a profile; `heaptap ps` lists what there is");
    }
    let mut status = ExitCode::SUCCESS;
    for found in found {
        match recover(&found, arguments.output.as_deref(), arguments.keep) {
            Ok(dump) => writeln!(io::stdout(), "{}", dump.display())?,
            Err(error) => {
                say(&format!("{error:#}"));
                status = ExitCode::from(2);
            }
        }
    }
    Ok(status)
}

/// Waits for the end of a process, and tells of it. Also that the kernel killed another one in a control group that
/// runs out of memory: then it goes on waiting.
fn wait(arguments: &Arguments) -> Result<ExitCode> {
    let log = TerminationLog::new(arguments.verdict.as_deref());
    let tell = |source: &Path, end: &str| {
        if let Some(log) = &log {
            log.write(&[source.to_path_buf()], end, false);
        }
    };
    let folders: Vec<PathBuf> = arguments.processes.iter().filter(|path| path.is_dir()).cloned().collect();
    let mut ends = Ends::default();
    loop {
        match ends.next(&|| meant(arguments, &folders), &folders)? {
            Event::Killed { found, for_memory } => {
                let dump = recover(&found, arguments.output.as_deref(), arguments.keep)?;
                writeln!(io::stdout(), "{}", dump.display())?;
                let why = if for_memory { " for want of memory (oom_kill of its control group)" } else { "" };
                tell(&dump, &format!("was killed{why}"));
                return Ok(ExitCode::SUCCESS);
            }
            Event::Ended { dump } => {
                writeln!(io::stdout(), "{}", dump.display())?;
                tell(&dump, ENDED);
                return Ok(ExitCode::SUCCESS);
            }
            Event::OthersKilled { found } => {
                tell(&found.path, "lives; the kernel killed another process of its control group for want of memory");
            }
            Event::Nothing => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// The processes that are waited for: those named, by pid or by where they write, or all; of this user unless all
/// users' are wanted.
fn meant(arguments: &Arguments, folders: &[PathBuf]) -> Result<Vec<Found>> {
    let mut pids = Vec::new();
    for process in arguments.processes.iter().filter(|path| !path.is_dir()) {
        let pid = process.to_str().and_then(|text| text.parse::<u32>().ok());
        pids.push(pid.with_context(|| format!("--wait takes pids and folders; {} is neither", process.display()))?);
    }
    let places = if folders.is_empty() { discovery::usual_folders() } else { folders.to_vec() };
    let is_meant = |found: &Found| {
        let is_named = found.process.is_some_and(|pid| pids.contains(&pid)) || pids.contains(&found.pid);
        let writes_there = folders.iter().any(|folder| writes_into(found, folder));
        let is_ours = arguments.all_users || found.owner == open::reader();
        is_ours && (is_named || writes_there || arguments.processes.is_empty())
    };
    Ok(discovery::all(&places).into_iter().filter(is_meant).collect())
}

/// Writes the dump of one process, and removes what it was made from unless that shall stay. For another user's process
/// as that user, but where we were told to write.
pub(super) fn recover(found: &Found, directory: Option<&Path>, keep: bool) -> Result<PathBuf> {
    let claim = discovery::claim(found);
    let Some(directory) = directory else {
        let claim = claim.context("-o DIR says where its dump may go")?;
        return owner::acting_for(&claim, || {
            let dump = save(found, Some(&claim), &own_prefix(&claim)?).context("-o DIR chooses another place")?;
            if !keep {
                remove(&claim, found)?;
            }
            Ok(dump)
        });
    };
    let claim = claim.ok();
    let dump = save(found, claim.as_ref(), &directory.join(name(claim.as_ref())))?;
    match claim {
        Some(claim) if !keep => owner::acting_for(&claim, || remove(&claim, found))?,
        Some(_) => {}
        None => say(&format!("{} has no claim beside it, and stays", found.path.display())),
    }
    Ok(dump)
}

/// Where the process would have written.
fn own_prefix(claim: &Claim) -> Result<PathBuf> {
    claim.life().map(|life| life.prefix).context("it was to write no dumps (prof_prefix); -o DIR says where to")
}

/// The last part of the process's own prefix. What another user has made up may hold anything.
fn name(claim: Option<&Claim>) -> OsString {
    let life = claim.and_then(Claim::life);
    let name = life.and_then(|life| life.prefix.file_name().map(OsString::from));
    let is_ours = claim.is_some_and(|claim| claim.owner() == open::reader());
    name.filter(|name| is_ours || name.as_bytes().iter().all(u8::is_ascii_graphic)).unwrap_or("jeprof".into())
}

fn save(found: &Found, claim: Option<&Claim>, prefix: &Path) -> Result<PathBuf> {
    let snapshot = region::snapshot(found)?;
    if claim.is_some_and(|claim| (claim.terms().pid, claim.terms().token) != (snapshot.pid, snapshot.token)) {
        bail!("{} is not of the life that its name says", found.path.display());
    }
    let saved = dump_file::save_last(&snapshot, prefix, false);
    let dump =
        saved.map_err(|(path, error)| anyhow::Error::new(error).context(format!("writing {}", path.display())))?;
    if let Some(told) = region::provenance(found, &snapshot) {
        say(&told);
    }
    Ok(dump)
}

/// Without region, control file, claim and mirror the next look finds the dump alone.
fn remove(claim: &Claim, found: &Found) -> Result<()> {
    let mirror = claim.life().map(|life| life.mirror());
    let is_mirror = Identity::of_mirror(&found.path).is_some();
    let removed = if is_mirror { fs::remove_file(&found.path) } else { Directory::around(&found.path)?.remove(claim) };
    removed.with_context(|| format!("removing {} (--keep leaves it)", found.path.display()))?;
    let its_own = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|there| claim.covers(&there));
    if let Some(mirror) = mirror.filter(its_own) {
        let _ = fs::remove_file(mirror);
    }
    Ok(())
}

fn found(processes: &[PathBuf]) -> Result<Vec<Found>> {
    if processes.is_empty() {
        let all = discovery::all(&discovery::usual_folders()).into_iter();
        return Ok(all.filter(|found| found.is_dead() && is_worth_a_file(found)).collect());
    }
    let mut all = Vec::new();
    for process in processes {
        match process.to_str().and_then(|text| text.parse().ok()) {
            Some(pid) if !process.exists() => all.push(dead(discovery::of_process(pid, &discovery::usual_folders())?)?),
            _ if process.is_dir() => all.extend(of_folder(process)),
            _ => all.push(dead(discovery::of_file(process))?),
        }
    }
    Ok(all)
}

fn dead(found: Found) -> Result<Found> {
    let pid = found.process.unwrap_or(found.pid);
    match found.state {
        Liveness::Dead => Ok(found),
        Liveness::Alive => bail!("process {pid} lives: `heaptap report {pid}` reads its profile"),
        Liveness::Unknown => bail!(
            "process {pid} is of another container and may live: `heaptap report {}` reads its profile",
            found.path.display()
        ),
    }
}

/// The dead ones that wrote, or would have written, into a folder.
fn of_folder(folder: &Path) -> Vec<Found> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let all = discovery::all(std::slice::from_ref(&folder)).into_iter();
    all.filter(|found| found.is_dead() && writes_into(found, &folder) && is_worth_a_file(found)).collect()
}

/// Whether a process wrote, or would have written, into a folder.
fn writes_into(found: &Found, folder: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    let parent = match Identity::of_mirror(&found.path) {
        Some(_) => found.path.parent().and_then(real),
        None => {
            let prefix = discovery::claim(found).ok().and_then(|claim| Some(claim.life()?.prefix));
            prefix.as_deref().and_then(Path::parent).and_then(real)
        }
    };
    parent.is_some() && parent == real(folder)
}
