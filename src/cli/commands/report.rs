//! `heaptap report FILES…`: who holds the memory, and does it grow? One screen.

use super::inputs::{Inputs, Opened};
use super::terminal;
use crate::cli::analyze::report::Report;
use crate::cli::render::json::Json;
use crate::cli::render::text::Text;
use crate::cli::render::{Renderer, View};
use anyhow::Result;
use std::io::{BufWriter, Write};
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
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Opened { series, modules } = arguments.inputs.open()?;
    let report = Report::of(&series, &modules);
    let renderer: Box<dyn Renderer> = if arguments.json {
        Box::new(Json)
    } else {
        Box::new(Text {
            width: terminal::width(),
            top: arguments.top,
            has_colour: terminal::has_colour(),
            next: Vec::new(),
            shows_modules: arguments.modules,
        })
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    renderer.render(View { series: &series, report: &report }, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
