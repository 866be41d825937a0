//! A pager for texts that are longer than the screen; only where stdout is a terminal.
//!
//! `less -FRX` ends by itself when everything fits, passes colours, and leaves the text on the
//! screen. `HEAPTAP_PAGER`, else `PAGER`, chooses another; empty or `cat` is none.

use std::io::{self, IsTerminal, Write};
use std::process::{Child, Command, Stdio};

/// Has `render` write to the pager, or to stdout where there is none.
pub(super) fn page(render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    match start() {
        None => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            render(&mut out)?;
            out.flush()
        }
        Some(mut pager) => {
            let written = match pager.stdin.take() {
                Some(input) => {
                    let mut out = io::BufWriter::new(input);
                    render(&mut out).and_then(|()| out.flush())
                }
                None => Ok(()),
            };
            // The terminal is the pager's until it ends, whether it read everything or not.
            pager.wait()?;
            written
        }
    }
}

fn start() -> Option<Child> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let asked = ["HEAPTAP_PAGER", "PAGER"].iter().find_map(|name| std::env::var(name).ok());
    let command = asked.unwrap_or_else(|| "less".to_owned());
    if command.trim().is_empty() || command.trim() == "cat" {
        return None;
    }
    let mut shell = Command::new("sh");
    // A shell that lacks the program ends at once: ask it first, so that nothing is lost.
    let word = command.split_whitespace().next()?.to_owned();
    let is_there = Command::new("sh").arg("-c").arg("command -v \"$0\" > /dev/null").arg(&word).status();
    is_there.ok().filter(std::process::ExitStatus::success)?;
    if std::env::var_os("LESS").is_none() {
        shell.env("LESS", "FRX");
    }
    shell.arg("-c").arg(&command).stdin(Stdio::piped()).spawn().ok()
}
