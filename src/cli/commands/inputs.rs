//! The arguments that say which profile to look at, shared by all reports, and the way from them to
//! a named series.

pub(super) use super::filters::Filters;
use super::lives;
pub(super) use super::naming::Symbols;
pub(super) use super::opened::Opened;
use super::terminal::Progress;
use crate::cli::attach::files;
use crate::cli::attach::source::{self, Source};
use crate::cli::inert::say;
use crate::cli::profile::mapped;
use crate::cli::profile::metric::Metric;
use crate::cli::profile::series::Series;
use crate::cli::profile::shape::Shape;
use crate::cli::profile::threads;
use anyhow::Result;
use std::path::PathBuf;

/// Which dumps, and whose.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct Inputs {
    /// Dumps (*.heap), directories that hold them, or the pid of a running or killed process; `-` reads stdin
    #[arg(required = true, value_name = "FILES")]
    pub(crate) files: Vec<PathBuf>,

    /// Look at this process, when the files are of several (default: the one with most live bytes, or the newest
    /// life of that program)
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,

    /// Look at this life of a process: the beginning of its token, `last`, `first`, a time, or how long before the last
    /// dump (`2h`)
    #[arg(long, value_name = "LIFE", value_parser = lives::parse)]
    pub(crate) life: Option<lives::Wanted>,

    /// Add the last dumps of all processes up
    #[arg(long, conflicts_with_all = ["pid", "life"])]
    pub(crate) merge: bool,

    /// Also show the frames that only pass an allocation on: allocators, their wrappers, the JVM's own
    #[arg(long)]
    pub(crate) raw: bool,

    #[command(flatten)]
    pub(crate) filters: Filters,

    #[command(flatten)]
    pub(crate) symbols: Symbols,
}

impl Inputs {
    /// Reads, chooses and names. What the user should know goes to stderr.
    pub(crate) fn open(&self) -> Result<Opened> {
        self.open_as(Metric::default(), false)
    }

    /// The same by another measure, or with threads as frames.
    pub(crate) fn open_as(&self, metric: Metric, by_thread: bool) -> Result<Opened> {
        let mut notes = Vec::new();
        let sources = source::all(&self.files, &mut notes)?;
        self.open_sources(&sources, notes, metric, by_thread)
    }

    /// The same of sources that are known already.
    pub(crate) fn open_sources(
        &self,
        sources: &[Source],
        notes: Vec<String>,
        metric: Metric,
        by_thread: bool,
    ) -> Result<Opened> {
        let filters = &self.filters;
        let by_thread = by_thread || filters.threads;
        let shape = Shape { metric, older_than: filters.older_than, by_thread, all_ages: false };
        let mut progress = Progress::new("reading dumps:");
        let found = files::read(sources, notes, shape, &mut |done, all| progress.at(done, all))?;
        drop(progress);
        found.notes.iter().for_each(|note| say(note));
        let name = |series| self.symbols.name(series, &found.recorded);
        let mut opened =
            if self.merge { Opened::sum(found.series.into_iter().map(name)) } else { name(self.choose(found.series)?) };
        self.look_at(&mut opened, metric, by_thread)?.iter().for_each(|note| say(note));
        Ok(opened)
    }

    /// Keeps what is asked for of a named series. Returns what the user should know.
    pub(super) fn look_at(&self, opened: &mut Opened, metric: Metric, by_thread: bool) -> Result<Vec<String>> {
        opened.series.profile.shows_glue = self.raw;
        if metric.is_mapped() {
            mapped::name(&mut opened.series.profile);
        }
        if by_thread {
            threads::name(&mut opened.series.profile);
        }
        self.filters.apply(&mut opened.series)
    }

    /// The one life that the user means.
    fn choose(&self, mut all: Vec<Series>) -> Result<Series> {
        let chosen = lives::choose(&all, self.pid, self.life.as_ref()).map_err(anyhow::Error::msg)?;
        if all.len() > 1 && self.pid.is_none() && self.life.is_none() {
            say(&lives::told(&all, chosen));
        }
        Ok(all.swap_remove(chosen))
    }
}
