//! `heaptap help`: a command, or a topic that is no command. `options` is the page about `MALLOC_CONF`.

use super::{pager, terminal};
use crate::cli::render::layout::Layout;
use crate::cli::render::markdown;
use anyhow::Result;
use clap::Command;
use std::io::{self, Write};
use std::process::ExitCode;

/// The page about the tap's options.
const OPTIONS: &str = include_str!("../OPTIONS.md");

/// Show the help of a command, or what the options of MALLOC_CONF mean: heaptap help options
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// A command, or `options`
    topic: Option<String>,
}

/// Shows it.
pub(crate) fn run(arguments: &Arguments, program: Command) -> Result<ExitCode> {
    if arguments.topic.as_deref() == Some("options") {
        let layout = terminal::layout();
        pager::page(|out| write_options(layout, out))?;
        return Ok(ExitCode::SUCCESS);
    }
    let line = ["heaptap"].into_iter().chain(arguments.topic.as_deref()).chain(["--help"]);
    // clap answers `--help` by what it calls an error.
    match program.try_get_matches_from(line) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(answer) => {
            answer.print()?;
            Ok(if answer.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS })
        }
    }
}

/// Writes the page about options.
pub(super) fn write_options(layout: Layout, out: &mut dyn Write) -> io::Result<()> {
    markdown::write(OPTIONS, layout, out)
}
