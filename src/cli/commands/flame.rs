//! `heaptap flame FILES… -o x.html|x.svg`: a picture of who holds the memory.

use super::diff::Pair;
use super::inputs::Inputs;
use super::output::Output;
use super::view::View;
use crate::cli::profile::series::{Dump, Series};
use crate::cli::profile::timestamp;
use crate::cli::render::Renderer;
use crate::cli::render::flame::Html;
use crate::cli::render::layout::clean;
use crate::cli::render::svg::Svg;
use crate::cli::render::units;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Draw a flame graph: an interactive HTML page or an SVG picture
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,

    /// Compare: the state before, a dump or a directory (FILES are the state after)
    #[arg(long, value_name = "BEFORE")]
    diff: Option<PathBuf>,

    /// SVG: root at the top
    #[arg(long)]
    icicle: bool,

    /// The picture; its extension chooses the format [default: heaptap-flame.html]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let path = arguments.output.clone().unwrap_or_else(|| PathBuf::from("heaptap-flame.html"));
    let series = match &arguments.diff {
        None => arguments.inputs.open()?.series,
        Some(before) => {
            let [after] = arguments.inputs.files.as_slice() else {
                bail!("--diff BEFORE compares with one file or directory, {} were given", arguments.inputs.files.len());
            };
            let inputs = &arguments.inputs;
            let pair = Pair { filters: &inputs.filters, symbols: &inputs.symbols, view: &View::default() };
            pair.open(before, after)?
        }
    };
    let title = title(&series);
    let output = Output { output: Some(path.clone()) };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("svg") => {
            let svg = Svg { title, is_icicle: arguments.icicle };
            output.write_binary(|out| svg.render(&series, out))?;
        }
        Some("html" | "htm") => {
            let html = Html { title, subtitle: subtitle(&series) };
            output.write_binary(|out| html.render(&series, out))?;
        }
        _ => bail!("{}: name the picture *.html or *.svg", path.display()),
    }
    tell(&path)?;
    Ok(ExitCode::SUCCESS)
}

fn title(series: &Series) -> String {
    let name = series.profile.program().and_then(|path| path.rsplit('/').next()).unwrap_or("heap");
    let pid = series.pid().map_or(String::new(), |pid| format!(" (pid {pid})"));
    clean(&format!("{name}{pid}"))
}

/// What the picture shows, in a sentence.
fn subtitle(series: &Series) -> String {
    let live = |dump: Option<&Dump>| units::bytes(dump.map_or(0.0, |dump| dump.total.bytes));
    let time =
        series.last().and_then(Dump::time).map_or(String::new(), |time| format!(", {}", timestamp::display(time)));
    match series.dumps.len() {
        0 | 1 => format!("{} live{time}", live(series.last())),
        many => {
            format!("{} live{time}; {} in the first of {many} dumps", live(series.last()), live(series.dumps.first()))
        }
    }
}

fn tell(path: &Path) -> Result<()> {
    let absolute = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
    eprintln!("heaptap: wrote {}", clean(&absolute.to_string_lossy()));
    Ok(())
}
