//! `heaptap pack FILES… -o FILE`: one file that a colleague can read without this machine.

use super::inputs::Inputs;
use super::lives;
use super::naming::Symbols;
use super::output::Output;
use super::packing::Packing;
use crate::cli::attach::redaction::Redaction;
use crate::cli::inert::{clean, say};
use crate::cli::profile::series::Series;
use crate::cli::render::units;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Put the dumps of a process and the names of everything in them into one file
///
/// All other commands read that file, on any machine: heaptap report shop.heaptap.tgz.
/// It is a gzipped tar archive: `heaptap-pack` (version), `symbols` (names, as text), `dumps/` and `java/`
/// (files as they were, for a stock jeprof).
///
/// What is told with it: paths of the program's files and of its groups of mapped files, names of its functions,
/// classes, methods and threads, its main class or script, pid and times, where its dumps were written; with --lines
/// names and lines of source files. Nothing of its memory's content, its environment, or its further arguments.
///
/// With --redact folders are numbered (/home/d1/d2/server; those that all machines have, such as /usr/lib, stay),
/// threads, too (thread-7); what the command line, the prefix of the dumps and a name that the process gave itself
/// tell is left out, and of files that hold data all but the extension. What stays: names of functions, classes and
/// methods, file names of program, libraries and sources, the main class, build ids, pid, times, and all numbers.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Dumps (*.heap), directories that hold them, or the pid of a running or killed process
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,

    /// Pack this process, when the files are of several (default: the newest life of the one with most live bytes)
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,

    /// Pack this life of a process: the beginning of its token, `last`, `first`, a time, or how long ago (`2h`)
    #[arg(long, value_name = "LIFE", value_parser = lives::parse)]
    life: Option<lives::Wanted>,

    #[command(flatten)]
    symbols: Symbols,

    /// Leave out what tells of the machine and its users: see above
    #[arg(long)]
    redact: bool,

    /// The pack [default: PROGRAM.PID.heaptap.tgz]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let inputs = Inputs {
        files: arguments.files.clone(),
        pid: arguments.pid,
        life: arguments.life.clone(),
        symbols: arguments.symbols.clone(),
        ..Inputs::default()
    };
    let packing = Packing::of(&inputs)?;
    let path = arguments.output.clone().unwrap_or_else(|| default_name(&packing.series));
    let output = Output { output: Some(path.clone()) };
    let mut redaction = arguments.redact.then(Redaction::default);
    output.write_binary(|out| packing.write(redaction.as_mut(), out))?;
    if path != Path::new("-") {
        let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
        let shown = clean(&path.to_string_lossy());
        say(&format!("wrote {shown}: {} dumps, {}", packing.dumps.len(), units::bytes(bytes as f64)));
        say(&format!("it is read on any machine with\n  heaptap report {shown}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn default_name(series: &Series) -> PathBuf {
    let program = series.profile.program().and_then(|path| path.rsplit('/').next()).unwrap_or("heap");
    let program: String = program.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(60).collect();
    let pid = series.pid().map_or(String::new(), |pid| format!(".{pid}"));
    PathBuf::from(format!("{program}{pid}.heaptap.tgz"))
}
