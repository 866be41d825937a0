//! `heaptap report FILES…`: who holds the memory, and does it grow? One screen.

use super::inputs::{Inputs, Opened};
use super::output::Output;
use super::terminal;
use crate::cli::analyze::report::Report;
use crate::cli::render::Renderer;
use crate::cli::render::json::Json;
use crate::cli::render::layout::quoted;
use crate::cli::render::text::Text;
use anyhow::Result;
use std::path::PathBuf;
use std::process::ExitCode;

/// Show who holds the memory, and whether it grows
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,

    /// How many places to show
    #[arg(long, short = 'n', default_value_t = 6, value_name = "N")]
    top: usize,

    /// Write the whole report as JSON
    #[arg(long)]
    json: bool,

    /// Say where the names came from
    #[arg(long)]
    modules: bool,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Opened { series, modules } = arguments.inputs.open()?;
    let report = Report::of(&series, &modules);
    let text = Text {
        layout: terminal::layout(),
        top: arguments.top,
        next: next_steps(&arguments.inputs.files, &report),
        shows_modules: arguments.modules,
    };
    let renderer: &dyn Renderer<Report> = if arguments.json { &Json } else { &text };
    arguments.output.write(|out| renderer.render(&report, out))?;
    Ok(ExitCode::SUCCESS)
}

/// What a user would want to type after having read it.
fn next_steps(files: &[PathBuf], report: &Report) -> Vec<(String, &'static str)> {
    let named: Vec<String> = files.iter().take(3).map(|path| quoted(path)).collect();
    let files = if files.len() <= named.len() { named.join(" ") } else { "FILES".to_owned() };
    let mut steps = Vec::new();
    if report.dumps.len() > 1 {
        steps.push((format!("heaptap growth {files}"), "every place that grows, with its evidence"));
    }
    steps.push((format!("heaptap flame {files} -o heap.html"), "the whole picture, as a page to hand on"));
    steps
}
