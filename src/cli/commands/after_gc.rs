//! `heaptap leaks PID --after-gc`: what only waits for the garbage collector, and what is held.
//!
//! Java frees direct buffers, Inflaters and the like when the collector finds that nobody refers to them, which on a
//! quiet node may take hours. So the profile is read, the JVM is asked to collect, and the profile is read again once
//! the memory that this freed is back: what went is no leak, what stayed is held by somebody.

use super::inputs::Inputs;
use crate::cli::analyze::collected::Collection;
use crate::cli::attach::jvm::{self, Collected};
use crate::cli::attach::{discovery, region};
use crate::cli::inert::say;
use crate::cli::profile::series::Series;
use anyhow::{Result, bail};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Collections: what the first one finds may have kept something else until then.
const ROUNDS: usize = 2;
/// Memory that does not change for so long is settled: references are handed to threads that free what they stand for.
const QUIET: Duration = Duration::from_millis(400);
/// Longest wait for that, as the program goes on allocating.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads, collects, reads again.
pub(super) fn collect(inputs: &Inputs) -> Result<Collection> {
    let [process] = inputs.files.as_slice() else {
        bail!("--after-gc looks at one running process: name its pid");
    };
    let Some(pid) = process.to_str().and_then(|text| text.parse().ok()) else {
        bail!("{}: --after-gc needs the pid of a running JVM, a file cannot be collected", process.display());
    };
    let found = discovery::of_process(pid, &[])?;
    if !found.is_alive() {
        bail!("process {pid} was killed: there is nobody to collect (`heaptap leaks {pid}` judges what it left)");
    }
    let before = inputs.open()?.series;
    for _ in 0..ROUNDS {
        if jvm::collect(pid)? == Collected::ByHistogram {
            say("System.gc() is disabled there; its objects were counted instead, which collects as well");
        }
        settle(&found.path)?;
    }
    let after = inputs.open()?.series;
    Ok(Collection::of(&Series::pair(before, after)))
}

/// Waits until live bytes are steady.
fn settle(region: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut last = region::live_bytes(region)?;
    let mut since = Instant::now();
    while Instant::now() < deadline && since.elapsed() < QUIET {
        thread::sleep(QUIET / 8);
        let now = region::live_bytes(region)?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(())
}
