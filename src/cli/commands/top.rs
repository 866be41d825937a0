//! `heaptap top FILES…`: the table that jeprof users know, of functions, classes, packages or libraries.

use super::inputs::Inputs;
use super::output::Output;
use super::terminal;
use crate::cli::analyze::groups::By;
use crate::cli::analyze::top::Top;
use crate::cli::profile::metric::Metric;
use crate::cli::render::top::TopText;
use anyhow::Result;
use std::process::ExitCode;

/// Show which functions allocated what is live, as a table
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,

    /// What is measured
    #[arg(long, value_enum, default_value_t, value_name = "METRIC")]
    metric: Metric,

    /// What a row is
    #[arg(long, value_enum, default_value = "function", value_name = "WHAT")]
    by: By,

    /// Sort by what a row holds together with what it calls
    #[arg(long)]
    cum: bool,

    /// How many rows to show
    #[arg(long, short = 'n', default_value_t = 30, value_name = "N")]
    rows: usize,

    /// Write everything as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let series = arguments.inputs.open_as(arguments.metric, arguments.by == By::Thread)?.series;
    let mut top = Top::of(&series, arguments.by);
    if arguments.cum {
        top.sort_by_below();
    }
    let text = TopText { layout: terminal::layout(), rows: arguments.rows };
    arguments.output.answer(&top, arguments.json, &text)?;
    Ok(ExitCode::SUCCESS)
}
