//! Looks as plain lines: for pipes, files and what only looks like a terminal.

use super::reader::{self, Watcher, now};
use crate::cli::commands::naming::Symbols;
use crate::cli::inert::clean;
use crate::cli::profile::timestamp;
use crate::cli::render::units::bytes;
use anyhow::{Result, bail};
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

/// Writes a line per life and look; of one life first its verdict and biggest places.
pub(super) fn write(pid: Option<u32>, symbols: &Symbols, every: Duration, count: Option<u64>) -> Result<()> {
    let (mut watcher, mut out) = (Watcher::default(), io::stdout().lock());
    if let Some(pid) = pid {
        let answer = reader::answer(pid, symbols)?;
        writeln!(out, "{}\n{}", clean(&answer.title), clean(&answer.verdict))?;
        for place in answer.places.iter().take(5) {
            writeln!(out, "{:>10} {:<9} {}", bytes(place.bytes), place.verdict, clean(&place.label))?;
        }
    }
    for look in 0.. {
        let rows = watcher.lives();
        let shown = || rows.iter().filter(|row| pid.is_none_or(|pid| row.pid == pid));
        let time = timestamp::display(now());
        shown().try_for_each(|row| writeln!(out, "{time}  {}", row.line()))?;
        out.flush()?;
        if let Some(pid) = pid.filter(|_| shown().next().is_none()) {
            bail!("process {pid} has ended; `heaptap report {pid}` reads what it left");
        }
        if count.is_some_and(|count| look + 1 >= count) {
            break;
        }
        thread::sleep(every);
    }
    Ok(())
}
