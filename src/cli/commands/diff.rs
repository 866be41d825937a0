//! `heaptap diff BEFORE AFTER`: what changed between two states, of one process or of two.
//!
//! Joins by name, so it also compares two versions of a program, or yesterday's process with today's.

use super::form::Form;
use super::inputs::{Filters, Inputs, Symbols};
use super::output::Output;
use super::terminal;
use super::view::View;
use crate::cli::analyze::growth::Growth;
use crate::cli::inert::say;
use crate::cli::profile::series::Series;
use crate::cli::render::document::Document;
use crate::cli::render::growth::GrowthText;
use crate::cli::render::units;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Show what changed between two dumps
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// A dump, or a directory: the last dump of its biggest process
    #[arg(value_name = "BEFORE")]
    before: PathBuf,

    /// Likewise
    #[arg(value_name = "AFTER")]
    after: PathBuf,

    #[command(flatten)]
    filters: Filters,

    #[command(flatten)]
    symbols: Symbols,

    #[command(flatten)]
    view: View,

    /// How many rows to show
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
    top: usize,

    /// Also show rows that did not change beyond sampling noise
    #[arg(long)]
    all: bool,

    /// End with status 1 if live bytes grew by more than this (`64MiB`), noise taken off
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    fail_above: Option<u64>,

    /// Write everything as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    form: Form,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let view = &arguments.view;
    let pair = Pair { filters: &arguments.filters, symbols: &arguments.symbols, view };
    let series = pair.open(&arguments.before, &arguments.after)?;
    let growth = Growth::of(&series, view.rows());
    let text =
        GrowthText { layout: terminal::layout(), top: arguments.top, shows_all: arguments.all, is_comparison: true };
    match arguments.form.renderer() {
        Some(renderer) => {
            let document = Document::of_diff(&growth, arguments.top, arguments.all);
            arguments.output.write_plain(|out| renderer.render(&document, out))?;
        }
        None => arguments.output.answer(&growth, arguments.json, &text)?,
    }
    let certain = growth.total.change_bytes() - growth.total.noise_bytes;
    match arguments.fail_above {
        Some(bound) if certain > bound as f64 => Ok(ExitCode::FAILURE),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// How two states are read.
pub(super) struct Pair<'a> {
    pub(super) filters: &'a Filters,
    pub(super) symbols: &'a Symbols,
    pub(super) view: &'a View,
}

impl Pair<'_> {
    /// The last dumps of two arguments as a series of two.
    pub(super) fn open(&self, before: &Path, after: &Path) -> Result<Series> {
        // Stacks are chosen from both together: one of them may have none.
        let of_each =
            Filters { older_than: self.filters.older_than, threads: self.filters.threads, ..Filters::default() };
        let of_both = Filters { since: None, ..self.filters.clone() };
        let open = |path: &Path| {
            let (symbols, filters) = (self.symbols.clone(), of_each.clone());
            let inputs = Inputs { files: vec![path.to_owned()], symbols, filters, ..Inputs::default() };
            inputs.open_as(self.view.metric, self.view.is_by_thread()).map(|opened| opened.series)
        };
        let mut pair = Series::pair(open(before)?, open(after)?);
        of_both.apply(&mut pair)?.iter().for_each(|note| say(note));
        Ok(pair)
    }
}
