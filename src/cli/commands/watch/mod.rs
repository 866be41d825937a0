//! `heaptap watch [PID]`: tapped lives as they are now, on a screen; plain lines where stdout is no terminal.
//!
//! The process is not asked for anything: some words of its region are read each second, and its places again and again
//! so that all of it stays below one part in a hundred of a processor (`reader`).

mod lines;
mod reader;
mod screen;

use super::naming::Symbols;
use anyhow::Result;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

/// Watch tapped processes live: their memory over time, and the places that hold it
///
/// Keys: up/down choose, Enter opens a life or a place's stack, s sorts by the next column, S turns the order round,
/// p switches sampling off and on, d asks for a dump, Esc goes back, q quits.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Look at this process (default: a list to choose from)
    #[arg(value_name = "PID")]
    pid: Option<u32>,

    /// Seconds between two looks
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", value_parser = interval)]
    every: f64,

    /// Plain lines: end after so many looks
    #[arg(long, value_name = "N")]
    count: Option<u64>,

    #[command(flatten)]
    symbols: Symbols,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let every = Duration::from_secs_f64(arguments.every);
    let is_screen = std::io::stdout().is_terminal() && std::io::stdin().is_terminal() && arguments.count.is_none();
    match is_screen {
        true => screen::Screen::open(arguments.pid, arguments.symbols.clone(), every)?.run()?,
        false => lines::write(arguments.pid, &arguments.symbols, every, arguments.count)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.ok_or_else(|| format!("`{text}` is no number of seconds from 0.1 to 3600"))
}
