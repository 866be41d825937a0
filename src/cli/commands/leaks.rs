//! `heaptap leaks FILES…`: the suspects only, each with its stack and the evidence against it.
//!
//! What is a suspect stands in `analyze/verdict`. Nothing is acquitted by default: where there is too little to judge
//! by, the status says so. The first tenth of a series is left out: starting up is no leak.

use super::after_gc;
use super::inputs::{Inputs, Opened};
use super::output::Output;
use super::terminal;
use super::view::View;
use crate::cli::analyze::growth::Growth;
use crate::cli::render::collected::CollectedText;
use crate::cli::render::leaks::LeaksText;
use anyhow::Result;
use std::process::ExitCode;

/// Status where there was too little to judge by.
const CANNOT_TELL: u8 = 3;

/// Show what leaks, with the evidence
///
/// Ends with status 0 if it could judge and found nothing, 1 if something leaks or grows, 2 in trouble, and 3 if it
/// could not judge: the output says why, and what would tell. `heaptap help verdicts` explains the words.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,

    #[command(flatten)]
    view: View,

    /// How many suspects to show
    #[arg(long, short = 'n', default_value_t = 10, value_name = "N")]
    top: usize,

    /// Have the JVM (FILES is its pid) collect its garbage first: what only waited for that, and what is held?
    #[arg(long)]
    after_gc: bool,

    /// Write everything as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.after_gc {
        return run_after_gc(arguments);
    }
    let Opened { mut series, .. } = arguments.inputs.open_as(arguments.view.metric, arguments.view.is_by_thread())?;
    series.drop_first(series.dumps.len() / 10);
    let mut growth = Growth::of(&series, arguments.view.rows());
    growth.retain_suspects();
    let text = LeaksText { layout: terminal::layout(), top: arguments.top };
    arguments.output.answer(&growth, arguments.json, &text)?;
    let has_finding = !growth.rows.is_empty() || growth.outlook.is_finding();
    Ok(match (has_finding, growth.outlook.is_judged) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(CANNOT_TELL),
    })
}

/// What a collection frees, and what it leaves.
fn run_after_gc(arguments: &Arguments) -> Result<ExitCode> {
    let collection = after_gc::collect(&arguments.inputs)?;
    let text = CollectedText { layout: terminal::layout(), top: arguments.top };
    arguments.output.answer(&collection, arguments.json, &text)?;
    Ok(ExitCode::SUCCESS)
}
