//! `heaptap mcp`: answers agents, on stdin and stdout, in the Model Context Protocol: a JSON-RPC message a line.
//!
//! Each tool is a command of heaptap, run as a child process of the same executable (`child`): what fails, hangs or
//! eats memory there ends there. Its answer is the documented JSON (`src/cli/JSON.md`), cut to a page (`page`). The
//! server keeps no state between messages, so the protocol's revisions with a handshake and without are served alike.
//! Tools that change a process are there with `--control` only.

mod child;
mod page;
mod protocol;
mod server;
mod tools;

use anyhow::{Context, Result};
use server::Server;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::{emulate_default_handler, pipe};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Answer agents by the Model Context Protocol on stdin and stdout
///
/// For a client's configuration: the command `heaptap` with the argument `mcp`. Tools: ps, status, report, leaks,
/// growth, diff, callers, rss, info, symbols and fleet, which only read; with --control also dump, start, stop and
/// rate. It reads what its user may read, opens no connection, and ends when stdin does: with the answers to what was
/// asked, if those take no more than 30 s.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Also offer what changes a process: dump, start, stop, rate
    #[arg(long)]
    control: bool,

    /// Give a command up after so many seconds
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    timeout: u32,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let server = Arc::new(Server::new(arguments.control, Duration::from_secs(arguments.timeout.into())));
    end_on_signals(&server).context("cannot catch signals")?;
    server.serve(&mut std::io::stdin().lock())?;
    Ok(ExitCode::SUCCESS)
}

/// Leaves no child behind where a client ends us, as clients do that have closed stdin and do not want to wait.
fn end_on_signals(server: &Arc<Server>) -> io::Result<()> {
    let (mut hears, tells) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        pipe::register(signal, tells.try_clone()?)?;
    }
    let server = Arc::clone(server);
    let ends = move || {
        if hears.read_exact(&mut [0]).is_ok() {
            server.end(Duration::ZERO);
            // Others see that a signal ended us.
            let _ = emulate_default_handler(SIGTERM);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(ends)?;
    Ok(())
}
