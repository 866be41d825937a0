//! The arguments that say which profile to look at, shared by all reports, and the way from them to
//! a named series.

pub(super) use super::filters::Filters;
use super::terminal::Progress;
use crate::cli::attach::files;
use crate::cli::profile::series::Series;
use crate::cli::profile::shape::{Metric, Shape};
use crate::cli::profile::threads;
use crate::cli::profile::timestamp;
use crate::cli::render::units;
use crate::cli::symbolize::{self, Module};
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

    #[command(flatten)]
    pub(crate) filters: Filters,

    #[command(flatten)]
    pub(crate) symbols: Symbols,
}

/// Where and how to look for names.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Symbols {
    /// Source lines and inlined functions (needs debug information; slow and big for a libjvm)
    #[arg(long)]
    pub(crate) lines: bool,

    /// Directory that stands for `/` of the machine the dumps came from
    #[arg(long, value_name = "DIR")]
    pub(crate) sysroot: Option<PathBuf>,

    /// One more place to look for separate debug files
    #[arg(long, value_name = "DIR")]
    pub(crate) debug_dir: Vec<PathBuf>,
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
        found.notes.iter().for_each(|note| eprintln!("heaptap: {note}"));
        let mut opened = if self.merge { self.sum(found.series) } else { self.name(self.choose(found.series)?) };
        if by_thread {
            threads::name(&mut opened.series.profile);
        }
        filters.apply(&mut opened.series)?;
        Ok(opened)
    }

    /// All processes as one.
    fn sum(&self, all: Vec<Series>) -> Opened {
        let named: Vec<Opened> = all.into_iter().map(|series| self.name(series)).collect();
        let (series, modules): (Vec<Series>, Vec<Vec<Module>>) =
            named.into_iter().map(|opened| (opened.series, opened.modules)).unzip();
        Opened { series: Series::sum_of(&series), modules: modules.into_iter().flatten().collect() }
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

    fn name(&self, mut series: Series) -> Opened {
        let options = symbolize::Options {
            sysroot: self.symbols.sysroot.clone(),
            debug_dirs: self.symbols.debug_dir.clone(),
            with_lines: self.symbols.lines,
            written: series.last().and_then(|dump| dump.time()).and_then(timestamp::to_system),
        };
        let modules = symbolize::symbolize(&mut series.profile, &options);
        for warning in modules.iter().filter_map(|module| module.warning.as_ref()) {
            eprintln!("heaptap: {warning}");
        }
        Opened { series, modules }
    }
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
