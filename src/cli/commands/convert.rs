//! `heaptap convert FILES… --to FORMAT`: the profile for other tools.

use super::crew::{Crew, Read};
use super::inputs::{Inputs, Opened};
use super::output::Output;
use crate::cli::attach::fleet;
use crate::cli::inert::say;
use crate::cli::profile::labels::{self, Labels};
use crate::cli::profile::metric::Metric;
use crate::cli::profile::series::Series;
use crate::cli::render::Renderer;
use crate::cli::render::folded::Folded;
use crate::cli::render::parquet::{Rows, Table};
use crate::cli::render::pprof::Pprof;
use crate::cli::render::profile_json::ProfileJson;
use crate::cli::render::speedscope::Speedscope;
use anyhow::{Result, bail};
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

/// A format of other tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// pprof's profile.proto, gzipped: go tool pprof, Parca, Pyroscope
    Pprof,
    /// One line a stack: flamegraph.pl, inferno, Firefox Profiler
    Folded,
    /// www.speedscope.app
    Speedscope,
    /// Every stack of the last dump, with its past (`report --json` is the report)
    Json,
    /// A table of all lives and dumps, also in folders below: DuckDB, Spark, ClickHouse
    Parquet,
}

/// Write the profile in another tool's format
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,

    /// What is measured
    #[arg(long, value_enum, default_value_t, value_name = "METRIC")]
    metric: Metric,

    /// Which format
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: Format,

    /// Parquet: a label of every life, beside those of folders (`version=1.4/`) and of files called `labels` in them
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,

    /// pprof for Pyroscope and Parca: live values only, the biggest stacks, at most 2 MiB
    #[arg(long)]
    fleet: bool,

    #[command(flatten)]
    output: Output,
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    labels::parse(text).ok_or_else(|| format!("`{text}` is no label: `version=1.4.2` is one"))
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.fleet && arguments.to != Format::Pprof {
        bail!("--fleet is a kind of --to pprof");
    }
    if !arguments.label.is_empty() && arguments.to != Format::Parquet {
        bail!("--label is for --to parquet: no other format has labels");
    }
    let renderer: Option<&dyn Renderer<Series>> = match arguments.to {
        Format::Parquet => return write_table(arguments),
        Format::Pprof => None,
        Format::Json => Some(&ProfileJson),
        Format::Folded => Some(&Folded),
        Format::Speedscope => Some(&Speedscope),
    };
    let metric = arguments.metric;
    if renderer.is_none() && !metric.is_mapped() && metric != Metric::default() {
        bail!(
            "a pprof file holds bytes beside objects, and what was ever allocated: its reader chooses (-sample_index)"
        );
    }
    let series = arguments.inputs.open_as(metric, false)?.series;
    match renderer {
        Some(renderer) => arguments.output.write_plain(|out| renderer.render(&series, out))?,
        None => {
            let pprof = Pprof { is_for_fleet: arguments.fleet };
            arguments.output.write_binary(|out| pprof.render(&series, out))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// All lives, one row a stack and dump.
fn write_table(arguments: &Arguments) -> Result<ExitCode> {
    let inputs = &arguments.inputs;
    if inputs.life.is_some() || inputs.merge {
        bail!("--to parquet writes every life; its column `life` tells them apart");
    }
    if arguments.metric != Metric::default() {
        bail!("a table has live and allocated bytes and objects in columns of their own");
    }
    let mut notes = Vec::new();
    let mut parts = fleet::parts(&inputs.files, &mut notes)?;
    notes.iter().for_each(|note| say(note));
    parts.iter_mut().for_each(|part| Arc::make_mut(&mut part.labels).extend(arguments.label.iter().cloned()));
    let crew = Crew::new(inputs, Metric::default(), true);
    let mut told = None;
    arguments.output.write_binary(|out| {
        let mut table = Table::new(out)?;
        let work = |opened: Opened, labels: &Labels, take: &mut dyn FnMut(Rows) -> bool| {
            Rows::of(&opened.series, labels, take);
        };
        let read = crew.each(&parts, work, &mut |rows| Ok(table.add(rows)?));
        let read = read.map_err(|error| error.downcast::<io::Error>().unwrap_or_else(io::Error::other))?;
        if read.lives == 0 {
            return Err(io::Error::other("none of the files is a heap profile"));
        }
        told = Some((read, table.finish()?));
        Ok(())
    })?;
    if let Some((Read { lives, dumps }, rows)) = told {
        say(&format!("{rows} rows of {lives} lives, {dumps} dumps"));
    }
    Ok(ExitCode::SUCCESS)
}
