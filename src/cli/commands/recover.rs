//! `heaptap recover`: writes the final dump of a process that could not write it itself.

use crate::cli::attach::{control, region};
use crate::wire::dump_name::{DumpKind, DumpName};
use crate::wire::heap_v2::{self, Surroundings};
use crate::wire::live::counters::Counter;
use crate::wire::live::snapshot::Snapshot;
use crate::wire::sidecar;
use anyhow::{Context, Result, bail};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write the final dump of killed processes from what they left in memory
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Pids, or region files (default: every killed process)
    #[arg(value_name = "PID|FILE")]
    processes: Vec<PathBuf>,

    /// Directory for the dumps (default: where the process would have written them)
    #[arg(long, short = 'o', value_name = "DIR")]
    output: Option<PathBuf>,

    /// Leave the region in place
    #[arg(long)]
    keep: bool,
}

/// Runs the command: the dumps' paths go to stdout.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let regions = regions(&arguments.processes)?;
    if regions.is_empty() {
        eprintln!("heaptap: no killed process left a profile; `heaptap ps` lists what there is");
    }
    for path in regions {
        let snapshot = region::snapshot(&path)?;
        let dump = write(&snapshot, arguments.output.as_deref())?;
        writeln!(io::stdout(), "{}", dump.display())?;
        if !arguments.keep {
            let _ = fs::remove_file(control::beside(&path));
            fs::remove_file(&path).with_context(|| format!("removing {} (--keep leaves it)", path.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn regions(processes: &[PathBuf]) -> Result<Vec<PathBuf>> {
    if processes.is_empty() {
        return Ok(region::all().into_iter().filter(|found| !found.is_alive).map(|found| found.path).collect());
    }
    let one = |process: &PathBuf| match process.to_str().and_then(|text| text.parse().ok()) {
        Some(pid) if !process.exists() => {
            let found = region::of_process(pid)?;
            if found.is_alive {
                bail!("process {pid} lives: `heaptap report {pid}` reads its profile");
            }
            Ok(found.path)
        }
        _ => Ok(process.clone()),
    };
    processes.iter().map(one).collect()
}

/// Writes dump and side-car; never over a file that exists.
fn write(snapshot: &Snapshot, directory: Option<&Path>) -> Result<PathBuf> {
    let prefix = prefix(snapshot, directory);
    let mut maps = snapshot.text.maps.clone();
    let path = PathBuf::from(format!("{}.{}.{:016x}.java.so", prefix.display(), snapshot.pid, snapshot.token));
    if let Some(bytes) = sidecar::bytes(snapshot, &fs::read(&path).unwrap_or_default()) {
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        let path = path.canonicalize().unwrap_or(path);
        maps.extend(sidecar::maps_line(snapshot, &path).unwrap_or_default().into_bytes());
    }
    let seq = snapshot.counter(Counter::Dumps);
    let (path, file) = create(DumpName { prefix, pid: snapshot.pid, seq, kind: DumpKind::Final })?;
    let around = Surroundings { maps: &maps, metadata: &snapshot.text.metadata, accumulated: false };
    let mut out = BufWriter::new(file);
    heap_v2::write(snapshot, &around, &mut out)
        .and_then(|()| out.flush())
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// The process's own prefix; or its last part, in another directory.
fn prefix(snapshot: &Snapshot, directory: Option<&Path>) -> PathBuf {
    let own = snapshot.text.metadata.iter().find(|(key, _)| key == "prefix").map(|(_, value)| Path::new(value));
    let own = own.unwrap_or(Path::new("jeprof"));
    match directory {
        Some(directory) => directory.join(own.file_name().unwrap_or("jeprof".as_ref())),
        None => own.to_path_buf(),
    }
}

/// The first number that is free.
fn create(mut name: DumpName) -> Result<(PathBuf, File)> {
    loop {
        let path = PathBuf::from(name.to_string());
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return Ok((path.canonicalize().unwrap_or(path), file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => name.seq += 1,
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("writing {} (-o DIR chooses another place)", path.display()));
            }
        }
    }
}
