//! `heaptap growth FILES…`: which places grow over the dumps of one process?

use super::inputs::{Inputs, Opened};
use super::output::Output;
use super::terminal;
use super::view::View;
use crate::cli::analyze::growth::Growth;
use crate::cli::render::growth::GrowthText;
use anyhow::Result;
use std::process::ExitCode;

/// Show which places grow over the dumps of one process
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,

    #[command(flatten)]
    view: View,

    /// How many rows to show
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
    top: usize,

    /// Also show rows that did not change beyond sampling noise
    #[arg(long)]
    all: bool,

    /// Write everything as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Opened { series, .. } = arguments.inputs.open_as(arguments.view.metric, arguments.view.is_by_thread())?;
    let growth = Growth::of(&series, arguments.view.rows());
    let text =
        GrowthText { layout: terminal::layout(), top: arguments.top, shows_all: arguments.all, is_comparison: false };
    arguments.output.answer(&growth, arguments.json, &text)?;
    Ok(ExitCode::SUCCESS)
}
