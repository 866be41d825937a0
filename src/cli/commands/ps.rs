//! `heaptap ps`: the tapped processes of this machine, alive and killed, one line each.

use super::output::Output;
use crate::cli::attach::region::{self, Found};
use crate::cli::render::units;
use crate::wire::live::counters::Counter;
use crate::wire::live::snapshot::Snapshot;
use anyhow::Result;
use std::process::ExitCode;

/// List tapped processes: those that live, and those that were killed and can be recovered
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let found = region::all();
    if found.is_empty() {
        eprintln!("heaptap: no tapped process, and nothing left by one (short-lived ones leave nothing)");
        return Ok(ExitCode::SUCCESS);
    }
    arguments.output.write(|out| {
        writeln!(out, "{:>8}  {:<7} {:>10} {:>9}  program", "pid", "state", "live", "samples")?;
        for found in &found {
            match region::snapshot(&found.path) {
                Ok(snapshot) => writeln!(out, "{}", line(found, &snapshot))?,
                Err(error) => eprintln!("heaptap: {error:#}"),
            }
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn line(found: &Found, snapshot: &Snapshot) -> String {
    let state = if found.is_alive { "alive" } else { "killed" };
    let live = units::bytes(snapshot.counter(Counter::LiveBytes) as f64);
    let program = snapshot.text.metadata.iter().find(|(key, _)| key == "exe").map_or("?", |(_, value)| value);
    let advice = if found.is_alive { String::new() } else { format!("   (heaptap recover {})", found.pid) };
    let samples = snapshot.samples.len();
    format!("{:>8}  {state:<7} {live:>10} {samples:>9}  {}{advice}", found.pid, program.escape_debug())
}
