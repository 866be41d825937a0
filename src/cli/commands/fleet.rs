//! `heaptap fleet DIR…`: which places leak, in how many lives, and since which version?
//!
//! Each life is judged as `heaptap leaks` does, on all processors; what is told is worked out in `analyze/fleet`.

use super::crew::Crew;
use super::inputs::{Inputs, Opened};
use super::output::Output;
use super::terminal;
use crate::cli::analyze::fleet::{FleetBuilder, Life, version_label};
use crate::cli::attach::fleet::{self, Part};
use crate::cli::inert::say;
use crate::cli::profile::labels::Labels;
use crate::cli::profile::metric::Metric;
use crate::cli::render::fleet::FleetText;
use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::process::ExitCode;

/// Status where no life could be judged.
const CANNOT_TELL: u8 = 3;

/// Show which places leak over many processes, and since which version
///
/// FILES are folders with the dumps and packs of many processes, also in folders below. Each life is judged by itself
/// (`heaptap help verdicts`), and places are joined by their frames. Labels come from folders called `key=value`
/// (`version=1.4/pod=es-0/`) and from files called `labels` in them, one `key=value` a line.
///
/// Ends with status 0 if lives could be judged and nothing was found, 1 if something leaks or grows, 2 in trouble, and
/// 3 if no life could be judged.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,

    /// The label that tells lives apart [default: the one called version, release, image, build or commit]
    #[arg(long, value_name = "LABEL")]
    by: Option<String>,

    /// How many places to show
    #[arg(long, short = 'n', default_value_t = 10, value_name = "N")]
    top: usize,

    /// Write everything as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let inputs = &arguments.inputs;
    if inputs.life.is_some() || inputs.merge {
        bail!("fleet looks at every life: --life and --merge are for the commands that look at one");
    }
    let mut notes = Vec::new();
    let parts = fleet::parts(&inputs.files, &mut notes)?;
    notes.iter().for_each(|note| say(note));
    let mut fleet = FleetBuilder::by(label(arguments.by.as_deref(), &parts)?);
    let crew = Crew::new(inputs, Metric::default(), false);
    let work = |opened: Opened, labels: &Labels, take: &mut dyn FnMut(Life) -> bool| {
        take(Life::of(opened.series, labels));
    };
    let read = crew.each(&parts, work, &mut |life| {
        fleet.add(life);
        Ok(())
    })?;
    if read.lives == 0 {
        bail!("none of the files is a heap profile");
    }
    let fleet = fleet.finish();
    let text = FleetText { layout: terminal::layout(), top: arguments.top };
    arguments.output.answer(&fleet, arguments.json, &text)?;
    Ok(match (fleet.accused > 0, fleet.judged > 0) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(CANNOT_TELL),
    })
}

/// The label that is asked for, if some life has it; else the one that looks like a version.
fn label(asked: Option<&str>, parts: &[Part]) -> Result<Option<String>> {
    let keys: BTreeSet<&str> = parts.iter().flat_map(|part| part.labels.keys()).map(String::as_str).collect();
    let Some(asked) = asked else { return Ok(version_label(keys.iter().copied()).map(str::to_owned)) };
    if !keys.contains(asked) {
        let there: Vec<&str> = keys.into_iter().collect();
        let there = if there.is_empty() { "there are no labels".to_owned() } else { there.join(", ") };
        bail!("no life has the label `{asked}`: {there}");
    }
    Ok(Some(asked.to_owned()))
}
