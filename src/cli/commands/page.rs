//! `heaptap page DUMPS|PID|PACK -o heap.html`: everything about a life as one page to look at and to hand on.

use super::inputs::{Inputs, Opened};
use super::output::Output;
use super::picture;
use crate::cli::render::page::Tab;
use anyhow::Result;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write everything as one page: verdict, memory over time, flame graph, table, ages
///
/// The page is one file that loads nothing else. What is shown stands in its address, so that a copied address opens
/// the same view: `heap.html#tab=flame&search=Inflater`.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,

    /// The page [default: heaptap.html; `-` is stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let path = arguments.output.clone().unwrap_or_else(|| PathBuf::from("heaptap.html"));
    let Opened { series, modules } = arguments.inputs.open()?;
    let output = Output { output: Some(path.clone()) };
    picture::page(&series, &modules, Tab::Summary, false, &output)?;
    picture::tell(&path)?;
    Ok(ExitCode::SUCCESS)
}
