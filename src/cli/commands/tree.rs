//! `heaptap tree FILES…`: the call tree as text, from either end.

use super::inputs::Inputs;
use super::output::Output;
use super::terminal;
use crate::cli::analyze::call_tree::CallTree;
use crate::cli::profile::metric::Metric;
use crate::cli::render::Renderer;
use crate::cli::render::json::Json;
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

    /// Write it as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let series = arguments.inputs.open_as(arguments.metric, false)?.series;
    let least_share = arguments.least / 100.0;
    if arguments.json {
        let tree = CallTree::of(&series, arguments.callers, least_share);
        arguments.output.write(|out| Json.render(&tree, out))?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = TreeText { layout: terminal::layout(), least_share, is_inverted: arguments.callers };
    arguments.output.write(|out| text.render(&series, out))?;
    Ok(ExitCode::SUCCESS)
}
