//! `heaptap man`: the manual page, made from the table of arguments that is parsed.

use super::output::Output;
use anyhow::{Context, Result};
use clap::Command;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write the manual page: heaptap man | man -l -
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Write the pages of all commands into this directory
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Writes the page, or all pages.
pub(crate) fn run(arguments: &Arguments, program: Command) -> Result<ExitCode> {
    match &arguments.output {
        Some(directory) => {
            let context = || format!("cannot write manual pages to {}", directory.display());
            std::fs::create_dir_all(directory).with_context(context)?;
            clap_mangen::generate_to(program, directory).with_context(context)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(program).render(&mut page)?;
            Output::default().write_plain(|out| out.write_all(&page))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
