//! `heaptap symbols FILES…`: per mapped file, which source its names came from, and what is missing.

use super::inputs::Inputs;
use super::output::Output;
use super::terminal;
use crate::cli::render::symbols::{Modules, SymbolsText};
use anyhow::Result;
use std::process::ExitCode;

/// Show where the names came from, file by file; status 1 if a file is not the one the process had
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,

    /// Write everything as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let modules = Modules::of(&arguments.inputs.open()?.modules);
    let text = SymbolsText { layout: terminal::layout() };
    arguments.output.answer(&modules, arguments.json, &text)?;
    Ok(if modules.has_refusal() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
