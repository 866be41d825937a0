//! `heaptap tree FILES…`: the call tree as text, from either end.

use super::inputs::Inputs;
use super::output::Output;
use super::terminal;
use crate::cli::profile::shape::Metric;
use crate::cli::render::Renderer;
use crate::cli::render::tree::TreeText;
use anyhow::Result;
use std::process::ExitCode;

/// Show the call tree, from the root down (`--callers`: from the allocation up)
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,

    /// What is measured
    #[arg(long, value_enum, default_value_t, value_name = "METRIC")]
    metric: Metric,

    /// Allocating functions first, their callers below
    #[arg(long)]
    callers: bool,

    /// Leave out branches that hold less than this percentage of all bytes
    #[arg(long, default_value_t = 1.0, value_name = "PERCENT")]
    least: f64,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let series = arguments.inputs.open_as(arguments.metric, false)?.series;
    let text =
        TreeText { layout: terminal::layout(), least_share: arguments.least / 100.0, is_inverted: arguments.callers };
    arguments.output.write(|out| text.render(&series, out))?;
    Ok(ExitCode::SUCCESS)
}
