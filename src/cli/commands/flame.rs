//! `heaptap flame FILES… -o x.html|x.svg`: a picture of who holds the memory.

use super::diff::Pair;
use super::inputs::{Inputs, Opened, Symbols};
use super::output::Output;
use super::packing::RedactedPacks;
use super::picture;
use super::view::View;
use crate::cli::profile::metric::Metric;
use crate::cli::render::Renderer;
use crate::cli::render::page::Tab;
use crate::cli::render::svg::Svg;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Draw a flame graph: the page of `heaptap page` at that tab, or an SVG picture
///
/// What the picture tells: names of functions, classes, methods and threads, the program's title and pid, times; with
/// --lines names and lines of source files; the page also paths of libraries and dumps. Nothing of the memory's content
/// or the environment. With --redact it tells what a pack with --redact does: see `heaptap help pack`.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,

    /// What is measured
    #[arg(long, value_enum, default_value_t, value_name = "METRIC")]
    metric: Metric,

    /// Compare: the state before, a dump or a directory (FILES are the state after)
    #[arg(long, value_name = "BEFORE")]
    diff: Option<PathBuf>,

    /// SVG: root at the top
    #[arg(long)]
    icicle: bool,

    /// Leave out what tells of the machine and its users, as `heaptap pack --redact` does
    #[arg(long, conflicts_with = "merge")]
    redact: bool,

    /// The picture; its extension chooses the format [default: heaptap-flame.html]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let path = arguments.output.clone().unwrap_or_else(|| PathBuf::from("heaptap-flame.html"));
    let Opened { series, modules } = if arguments.redact { open_redacted(arguments)? } else { open(arguments)? };
    let output = Output { output: Some(path.clone()) };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("svg") => {
            let svg = Svg { title: picture::title(&series), is_icicle: arguments.icicle };
            output.write_binary(|out| svg.render(&series, out))?;
        }
        Some("html" | "htm") => {
            picture::page(&series, &modules, Tab::Flame, arguments.diff.is_some(), &output)?;
        }
        _ => bail!("{}: name the picture *.html or *.svg", path.display()),
    }
    picture::tell(&path)?;
    Ok(ExitCode::SUCCESS)
}

fn open(arguments: &Arguments) -> Result<Opened> {
    match &arguments.diff {
        None => arguments.inputs.open_as(arguments.metric, false),
        Some(before) => open_pair(arguments, before, after(arguments)?, &arguments.inputs.symbols),
    }
}

/// The same by way of packs: what is in none of them cannot be in the picture.
fn open_redacted(arguments: &Arguments) -> Result<Opened> {
    let (inputs, mut packs, named) = (&arguments.inputs, RedactedPacks::default(), Symbols::default());
    let mut opened = match &arguments.diff {
        None => {
            let (files, filters) = (vec![packs.add(inputs)?], inputs.filters.clone());
            let packed = Inputs { files, filters, raw: inputs.raw, ..Inputs::default() };
            packed.open_as(arguments.metric, false)?
        }
        Some(before) => {
            let mut pack = |path: &Path| {
                let (files, symbols) = (vec![path.to_owned()], inputs.symbols.clone());
                packs.add(&Inputs { files, symbols, ..Inputs::default() })
            };
            let (before, after) = (pack(before)?, pack(after(arguments)?)?);
            open_pair(arguments, &before, &after, &named)?
        }
    };
    for dump in &mut opened.series.dumps {
        dump.path = dump.path.file_name().map(PathBuf::from).unwrap_or_default();
    }
    Ok(opened)
}

fn after(arguments: &Arguments) -> Result<&Path> {
    match arguments.inputs.files.as_slice() {
        [after] => Ok(after),
        files => bail!("--diff BEFORE compares with one file or directory, {} were given", files.len()),
    }
}

fn open_pair(arguments: &Arguments, before: &Path, after: &Path, symbols: &Symbols) -> Result<Opened> {
    let pair = Pair { filters: &arguments.inputs.filters, symbols, view: &View::default() };
    Ok(Opened { series: pair.open(before, after)?, modules: Vec::new() })
}
