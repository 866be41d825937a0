//! `heaptap leaks FILES…`: the suspects only, each with its stack and the evidence against it.
//!
//! A suspect grew beyond sampling noise, rose in most steps, and was still rising at the end; or its objects outlive
//! what is usual at that place. The first tenth of a series is left out: starting up is no leak.

use super::after_gc;
use super::inputs::{Inputs, Opened};
use super::output::Output;
use super::terminal;
use super::view::View;
use crate::cli::analyze::growth::Growth;
use crate::cli::render::collected::CollectedText;
use crate::cli::render::leaks::LeaksText;
use anyhow::{Result, bail};
use std::process::ExitCode;

/// Show what leaks, with the evidence; status 1 if anything does
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
    if series.dumps.len() < 2 && series.profile.samples.iter().all(|sample| sample.ages.is_none()) {
        bail!(
            "one dump cannot show a leak if it tells no ages of objects: give two or more of the same process \
             (`lg_prof_interval:30` writes them)"
        );
    }
    series.drop_first(series.dumps.len() / 10);
    let mut growth = Growth::of(&series, arguments.view.rows());
    growth.retain_suspects();
    let text = LeaksText { layout: terminal::layout(), top: arguments.top };
    arguments.output.answer(&growth, arguments.json, &text)?;
    Ok(if growth.rows.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a collection frees, and what it leaves.
fn run_after_gc(arguments: &Arguments) -> Result<ExitCode> {
    let collection = after_gc::collect(&arguments.inputs)?;
    let text = CollectedText { layout: terminal::layout(), top: arguments.top };
    arguments.output.answer(&collection, arguments.json, &text)?;
    Ok(ExitCode::SUCCESS)
}
