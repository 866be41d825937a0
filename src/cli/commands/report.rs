//! `heaptap report FILES…`: who holds the memory, and does it grow? One screen.

use super::form::Form;
use super::inputs::{Inputs, Opened};
use super::output::Output;
use super::shell::{patterns, words};
use super::terminal;
use super::view::View;
use crate::cli::analyze::report::Report;
use crate::cli::profile::series::Series;
use crate::cli::render::document::Document;
use crate::cli::render::plot::Plot;
use crate::cli::render::text::Text;
use anyhow::Result;
use std::path::PathBuf;
use std::process::ExitCode;

/// Show who holds the memory, and whether it grows
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,

    #[command(flatten)]
    view: View,

    /// How many places to show
    #[arg(long, short = 'n', default_value_t = 6, value_name = "N")]
    top: usize,

    /// Write the whole report as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    form: Form,

    /// Say where the names came from
    #[arg(long)]
    modules: bool,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Opened { series, modules } = arguments.inputs.open_as(arguments.view.metric, arguments.view.is_by_thread())?;
    let report = Report::by(&series, &modules, arguments.view.rows());
    if let Some(renderer) = arguments.form.renderer() {
        let document = Document::of_report(&report, arguments.top);
        arguments.output.write_plain(|out| renderer.render(&document, out))?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = Text {
        layout: terminal::layout(),
        plot: Plot::of(&series),
        top: arguments.top,
        next: next_steps(&arguments.inputs.files, &series, report.moments.len()),
        shows_modules: arguments.modules,
    };
    arguments.output.answer(&report, arguments.json, &text)?;
    // The process ends here: giving 100,000 stacks back piece by piece would be a tenth of its time.
    std::mem::forget((series, report));
    Ok(ExitCode::SUCCESS)
}

/// What a user would want to type after having read it.
fn next_steps(files: &[PathBuf], series: &Series, moments: usize) -> Vec<(String, &'static str)> {
    let dumps: Vec<PathBuf> = series.dumps.iter().map(|dump| dump.path.clone()).collect();
    // What was typed, unless a shell had made a long list of it.
    let files = if files.len() <= 2 { words(files) } else { patterns(&dumps) }.join(" ");
    let mut steps = Vec::new();
    if moments > 1 {
        steps.push((format!("heaptap growth {files}"), "every place that grows, with its evidence"));
    }
    let is_jvm = series.profile.mappings.iter().any(|mapping| mapping.file_name() == "libjvm.so");
    let is_alive = series.last().is_some_and(|dump| dump.metadata.reason.as_deref() == Some("live"));
    if let Some(pid) = series.pid().filter(|_| is_jvm && is_alive) {
        steps.push((format!("heaptap leaks {pid} --after-gc"), "what only waits for the garbage collector"));
    }
    steps.push((format!("heaptap flame {files} -o heap.html"), "the whole picture, as a page to hand on"));
    steps
}
