//! `heaptap callers NAME FILES…`: who calls a function, and what it calls.

use super::inputs::Inputs;
use super::output::Output;
use super::terminal;
use crate::cli::analyze::callers::Callers;
use crate::cli::profile::metric::Metric;
use crate::cli::render::callers::CallersText;
use anyhow::{Result, bail};
use std::process::ExitCode;

/// Show a function between its callers and what it calls
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Its name, or a part of it
    #[arg(value_name = "NAME")]
    name: String,

    #[command(flatten)]
    inputs: Inputs,

    /// What is measured
    #[arg(long, value_enum, default_value_t, value_name = "METRIC")]
    metric: Metric,

    /// How many neighbours (and functions, if several match) to show
    #[arg(long, short = 'n', default_value_t = 8, value_name = "N")]
    rows: usize,

    /// Write everything as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let series = arguments.inputs.open_as(arguments.metric, false)?.series;
    let callers = Callers::of(&series, &arguments.name);
    if callers.functions.is_empty() {
        bail!("no function of the profile is called `{}`; `heaptap top FILES` lists them", arguments.name);
    }
    let text = CallersText { layout: terminal::layout(), rows: arguments.rows };
    arguments.output.answer(&callers, arguments.json, &text)?;
    Ok(ExitCode::SUCCESS)
}
