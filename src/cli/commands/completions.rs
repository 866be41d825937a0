//! `heaptap completions SHELL`: made from the table of arguments that is parsed.

use super::output::Output;
use anyhow::Result;
use clap::Command;
use std::process::ExitCode;

/// Write the completion script of a shell: heaptap completions bash > /etc/bash_completion.d/heaptap
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Which shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,

    #[command(flatten)]
    output: Output,
}

/// Writes the script.
pub(crate) fn run(arguments: &Arguments, mut program: Command) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, "heaptap", &mut script);
    arguments.output.write_plain(|out| out.write_all(&script))?;
    Ok(ExitCode::SUCCESS)
}
