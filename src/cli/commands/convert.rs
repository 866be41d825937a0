//! `heaptap convert FILES… --to FORMAT`: the profile for other tools.

use super::inputs::Inputs;
use super::output::Output;
use crate::cli::profile::series::Series;
use crate::cli::render::Renderer;
use crate::cli::render::folded::Folded;
use crate::cli::render::gperftools::Gperftools;
use crate::cli::render::pprof::Pprof;
use crate::cli::render::profile_json::ProfileJson;
use crate::cli::render::speedscope::Speedscope;
use anyhow::{Result, bail};
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
    /// gperftools' text, addresses and all: go tool pprof with the libraries at hand, jeprof
    Gperftools,
    /// Every stack of the last dump, with its past (`report --json` is the report)
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

    /// pprof for Pyroscope and Parca: live values only, the biggest stacks, at most 2 MiB
    #[arg(long)]
    fleet: bool,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.fleet && arguments.to != Format::Pprof {
        bail!("--fleet is a kind of --to pprof");
    }
    if arguments.to == Format::Gperftools && arguments.inputs.merge {
        bail!("addresses of several processes mean nothing in one gperftools file: choose one with --pid");
    }
    let series = arguments.inputs.open()?.series;
    let pprof = Pprof { is_for_fleet: arguments.fleet };
    let renderer: &dyn Renderer<Series> = match arguments.to {
        Format::Pprof => {
            arguments.output.write_binary(|out| pprof.render(&series, out))?;
            return Ok(ExitCode::SUCCESS);
        }
        Format::Json => &ProfileJson,
        Format::Gperftools => &Gperftools,
        Format::Folded => &Folded,
        Format::Speedscope => &Speedscope,
    };
    arguments.output.write_plain(|out| renderer.render(&series, out))?;
    Ok(ExitCode::SUCCESS)
}
