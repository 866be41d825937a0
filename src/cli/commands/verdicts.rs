//! `heaptap verdicts` and `heaptap help verdicts`: what the words of verdicts mean.

use crate::cli::render::words::{MEANINGS, conclusion};
use anyhow::Result;
use std::io::Write;
use std::process::ExitCode;

/// Show what the words of verdicts mean
#[derive(clap::Args, Debug)]
#[command(long_about = text())]
pub(crate) struct Arguments {}

/// Runs the command.
pub(crate) fn run(_: &Arguments) -> Result<ExitCode> {
    std::io::stdout().lock().write_all(text().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn text() -> String {
    let mut text = String::from("What the words of verdicts mean:\n\n");
    for (verdict, meaning) in MEANINGS {
        text += &format!("  {:<9}  {meaning}\n", conclusion(*verdict));
    }
    text += "\n`±` is a bound that holds in 95 of 100 cases. A place is called a finding only if chance would do so in one of\n\
             1,000 steady processes, however many places it has. `heaptap leaks` ends with status 0 if it could judge and\n\
             found nothing, 1 for findings, 2 in trouble, 3 if it could not judge.\n";
    text
}
