//! `heaptap info FILES…`: what these files are, before anybody looks at what is in them.

use super::output::Output;
use super::terminal;
use crate::cli::attach::{files, source};
use crate::cli::inert::say;
use crate::cli::profile::shape::Shape;
use crate::cli::render::info::{Facts, InfoText};
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Show what a file is: whose, when, how it was sampled, what was lost, what profiling cost
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Dumps, packs, directories that hold dumps, or the pid of a running or killed process
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,

    /// Write everything as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut notes = Vec::new();
    let sources = source::all(&arguments.files, &mut notes)?;
    let found = files::read(&sources, notes, Shape::default(), &mut |_, _| {})?;
    found.notes.iter().for_each(|note| say(note));
    let mut facts = Facts::of(&found.series);
    for file in &mut facts.files {
        // Only a region is a process's own; a dump could name any.
        let is_live = file.reason.as_deref() == Some("live") && file.path.ends_with(".region");
        file.environment = file.pid.filter(|_| is_live).and_then(environment);
    }
    let text = InfoText { layout: terminal::layout() };
    arguments.output.answer(&facts, arguments.json, &text)?;
    Ok(ExitCode::SUCCESS)
}

/// The variables that a running process was tapped with.
fn environment(pid: u32) -> Option<Vec<String>> {
    let bytes = std::fs::read(Path::new("/proc").join(pid.to_string()).join("environ")).ok()?;
    let wanted = ["MALLOC_CONF=", "HEAPTAP_", "LD_PRELOAD="];
    let variables = bytes.split(|&byte| byte == 0).map(|variable| String::from_utf8_lossy(variable).into_owned());
    Some(variables.filter(|variable| wanted.iter().any(|name| variable.starts_with(name))).collect())
}
