//! `heaptap convert FILES… --to FORMAT`: the profile for other tools.

use super::inputs::{Inputs, Opened};
use super::output::Output;
use crate::cli::analyze::report::Report;
use crate::cli::profile::series::Series;
use crate::cli::render::Renderer;
use crate::cli::render::folded::Folded;
use crate::cli::render::json::Json;
use crate::cli::render::pprof::Pprof;
use crate::cli::render::speedscope::Speedscope;
use anyhow::Result;
use std::process::ExitCode;

/// A format of other tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// pprof's profile.proto, gzipped: go tool pprof, Parca, Pyroscope
    Pprof,
    /// One line a stack: flamegraph.pl, inferno, Firefox Profiler
    Folded,
    /// www.speedscope.app
    Speedscope,
    /// The report as JSON
    Json,
}

/// Write the profile in another tool's format
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,

    /// Which format
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: Format,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Opened { series, modules } = arguments.inputs.open()?;
    let renderer: &dyn Renderer<Series> = match arguments.to {
        Format::Json => {
            let report = Report::of(&series, &modules);
            arguments.output.write(|out| Json.render(&report, out))?;
            return Ok(ExitCode::SUCCESS);
        }
        Format::Pprof => {
            arguments.output.write_binary(|out| Pprof.render(&series, out))?;
            return Ok(ExitCode::SUCCESS);
        }
        Format::Folded => &Folded,
        Format::Speedscope => &Speedscope,
    };
    arguments.output.write(|out| renderer.render(&series, out))?;
    Ok(ExitCode::SUCCESS)
}
