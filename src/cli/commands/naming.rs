//! The arguments that say where names are looked for, and the way from a series to a named one.

use super::opened::Opened;
use super::terminal::Progress;
use crate::cli::inert::say;
use crate::cli::open::{self, Owners};
use crate::cli::profile::series::Series;
use crate::cli::profile::timestamp;
use crate::cli::symbolize::known::Known;
use crate::cli::symbolize::recorded::Recorded;
use crate::cli::symbolize::{self, Options, perf_map, process};
use std::path::PathBuf;
use std::rc::Rc;

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

    /// Names of compiled code, as `jcmd PID Compiler.perfmap` writes them [default: /tmp/perf-PID.map]
    #[arg(long, value_name = "FILE")]
    pub(crate) perf_map: Option<PathBuf>,
}

impl Symbols {
    /// Names all places of a series. What the user should know goes to stderr.
    pub(super) fn name(&self, series: Series, recorded: &Rc<Recorded>) -> Opened {
        let mut progress = Progress::new("looking for names: file");
        let named = self.name_silently(series, recorded, &mut |done, all| progress.at(done, all));
        drop(progress);
        for warning in named.modules.iter().filter_map(|module| module.warning.as_ref()) {
            say(warning);
        }
        named
    }

    /// The same where stderr is a screen of ours.
    pub(super) fn name_silently(
        &self,
        mut series: Series,
        recorded: &Rc<Recorded>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Opened {
        let options = self.options(&series, recorded);
        let modules = symbolize::symbolize(&mut series.profile, &options, progress);
        Opened { series, modules }
    }

    /// Where names of a living process are looked for.
    pub(super) fn of_process(&self, pid: u32) -> Options {
        let owners = process::user(pid).map_or_else(Owners::default, |user| Owners::default().and(user));
        Options { debug_dirs: self.debug_dir.clone(), owners, running: Some(pid), ..Options::default() }
    }

    /// The same for one of many processes: what of their files is known need not be looked for.
    pub(super) fn name_among(&self, mut series: Series, recorded: &Rc<Recorded>, known: &Rc<Known>) -> Opened {
        let options = Options { known: Some(Rc::clone(known)), ..self.options(&series, recorded) };
        let modules = symbolize::symbolize(&mut series.profile, &options, &mut |_, _| {});
        Opened { series, modules }
    }

    fn options(&self, series: &Series, recorded: &Rc<Recorded>) -> Options {
        // A pack comes from elsewhere: no process of this machine has anything to do with it.
        let running = series.pid().filter(|_| recorded.is_empty() && self.sysroot.is_none());
        let owner = series.last().map_or_else(open::reader, |dump| open::owner_of(&dump.path));
        // Somebody's dump says nothing about somebody else's process.
        let is_its = |pid: &u32| Owners::of(open::reader()).has(owner) || process::user(*pid) == Some(owner);
        let running = running.filter(is_its);
        Options {
            sysroot: self.sysroot.clone(),
            debug_dirs: self.debug_dir.clone(),
            perf_map: self.perf_map.clone(),
            perf_maps: perf_map::usual_places(series, running),
            owners: Owners::of(owner),
            with_lines: self.lines,
            written: series.last().and_then(|dump| dump.time()).and_then(timestamp::to_system),
            running,
            recorded: Rc::clone(recorded),
            known: None,
        }
    }
}
