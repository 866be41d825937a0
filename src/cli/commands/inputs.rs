//! The arguments that say which profile to look at, shared by all reports, and the way from them to
//! a named series.

pub(super) use super::filters::Filters;
pub(super) use super::naming::Symbols;
use super::terminal::Progress;
use crate::cli::attach::files;
use crate::cli::profile::series::Series;
use crate::cli::profile::shape::{Metric, Shape};
use crate::cli::profile::threads;
use crate::cli::render::layout::clean;
use crate::cli::render::units;
use crate::cli::symbolize::Module;
use anyhow::{Result, bail};
use std::path::PathBuf;

/// Which dumps, and whose.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct Inputs {
    /// Dumps (*.heap), directories that hold them, or the pid of a running or killed process; `-` reads stdin
    #[arg(required = true, value_name = "FILES")]
    pub(crate) files: Vec<PathBuf>,

    /// Look at this process, when the files are of several (default: the one with most live bytes)
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,

    /// Add the last dumps of all processes up
    #[arg(long, conflicts_with = "pid")]
    pub(crate) merge: bool,

    /// Also show the frames that only pass an allocation on: allocators, their wrappers, the JVM's own
    #[arg(long)]
    pub(crate) raw: bool,

    #[command(flatten)]
    pub(crate) filters: Filters,

    #[command(flatten)]
    pub(crate) symbols: Symbols,
}

/// A series that can be analysed.
pub(crate) struct Opened {
    /// Named.
    pub(crate) series: Series,
    /// Where the names came from.
    pub(crate) modules: Vec<Module>,
}

impl Inputs {
    /// Reads, chooses and names. What the user should know goes to stderr.
    pub(crate) fn open(&self) -> Result<Opened> {
        self.open_as(Metric::default(), false)
    }

    /// The same by another measure, or with threads as frames.
    pub(crate) fn open_as(&self, metric: Metric, by_thread: bool) -> Result<Opened> {
        let filters = &self.filters;
        let by_thread = by_thread || filters.threads;
        let shape = Shape { metric, older_than: filters.older_than, by_thread };
        let mut progress = Progress::new("reading dumps:");
        let found = files::read(&self.files, shape, &mut |done, all| progress.at(done, all))?;
        drop(progress);
        found.notes.iter().for_each(|note| eprintln!("heaptap: {}", clean(note)));
        let name = |series| self.symbols.name(series, &found.recorded);
        let mut opened =
            if self.merge { sum(found.series.into_iter().map(name)) } else { name(self.choose(found.series)?) };
        opened.series.profile.shows_glue = self.raw;
        if by_thread {
            threads::name(&mut opened.series.profile);
        }
        filters.apply(&mut opened.series)?;
        Ok(opened)
    }

    /// The one series that the user means.
    fn choose(&self, mut all: Vec<Series>) -> Result<Series> {
        let wanted = match self.pid {
            None => 0,
            Some(pid) => match all.iter().position(|series| series.pid() == Some(pid)) {
                Some(index) => index,
                None => bail!("none of the dumps is of process {pid}; there are:\n{}", list(&all)),
            },
        };
        if all.len() > 1 && self.pid.is_none() {
            eprintln!(
                "heaptap: dumps of {} processes; the biggest is shown (--pid chooses, --merge adds up):",
                all.len()
            );
            eprint!("{}", list(&all));
        }
        if wanted >= all.len() {
            bail!("no profile was read");
        }
        Ok(all.swap_remove(wanted))
    }
}

/// All processes as one.
fn sum(named: impl Iterator<Item = Opened>) -> Opened {
    let (series, modules): (Vec<Series>, Vec<Vec<Module>>) =
        named.map(|opened| (opened.series, opened.modules)).unzip();
    Opened { series: Series::sum_of(&series), modules: modules.into_iter().flatten().collect() }
}

/// One line a process, at most ten.
fn list(all: &[Series]) -> String {
    const SHOWN: usize = 10;
    let mut text = String::new();
    for series in all.iter().take(SHOWN) {
        let pid = series.pid().map_or("?".to_owned(), |pid| pid.to_string());
        let name = series.profile.program().and_then(|path| path.rsplit('/').next()).unwrap_or("unknown");
        let bytes = units::bytes(series.last().map_or(0.0, |dump| dump.total.bytes));
        text += &format!("  {pid:>8}  {bytes:>9}  {:>3} dumps  {}\n", series.dumps.len(), name.escape_debug());
    }
    if all.len() > SHOWN {
        text += &format!("  and {} more\n", all.len() - SHOWN);
    }
    text
}
