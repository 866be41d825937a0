//! A few figures of a living process, read each second: some words of its region and a line of `/proc`, and no more.

use super::{openat, region};
use crate::wire::live::counters::Counter;
use crate::wire::live::layout::{Head, Layout};
use crate::wire::live::words::Words;
use crate::wire::word;
use anyhow::{Context, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a process holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Glance {
    /// Live bytes, estimated.
    pub(crate) live_bytes: u64,
    /// Bytes allocated so far, estimated.
    pub(crate) allocated_bytes: u64,
    /// Mean distance of samples, bytes.
    pub(crate) period_bytes: u64,
    /// Whether sampling is switched off.
    pub(crate) is_paused: bool,
    /// Resident memory; `None`: the process has ended, or we may not look.
    pub(crate) resident_bytes: Option<u64>,
}

/// The words of a file, each read when it is asked for.
struct Sparse {
    file: File,
    len: usize,
}

impl Words for Sparse {
    fn len(&self) -> usize {
        self.len
    }

    fn word(&self, index: usize) -> u64 {
        let mut bytes = [0; word::BYTES];
        let read = self.file.read_exact_at(&mut bytes, word::offset_of(index));
        read.map_or(0, |()| u64::from_ne_bytes(bytes))
    }
}

impl Glance {
    /// Of a life by its region; `process`: its pid as we see it.
    pub(crate) fn of(path: &Path, process: Option<u32>) -> Result<Glance> {
        let reading = || format!("reading {}", path.display());
        let file = openat::open(path, false).with_context(reading)?;
        let bytes = file.metadata().with_context(reading)?.len();
        let words = Sparse { file, len: usize::try_from(bytes).map_or(0, word::whole_in) };
        let layout = Layout::read(&words).with_context(reading)?;
        let counter = |counter: Counter| layout.counter(&words, counter as usize);
        Ok(Glance {
            live_bytes: counter(Counter::LiveBytes),
            allocated_bytes: counter(Counter::AllocatedBytes),
            period_bytes: words.word(Head::Period as usize),
            is_paused: words.word(Head::Paused as usize) != 0,
            resident_bytes: process.and_then(region::resident_bytes),
        })
    }
}
