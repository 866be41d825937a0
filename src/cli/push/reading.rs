//! A life or a dump as a named series, and that as what is sent.

use crate::cli::attach::discovery::Found;
use crate::cli::attach::files;
use crate::cli::attach::region::{self, Memory};
use crate::cli::attach::source::Source;
use crate::cli::attach::worth;
use crate::cli::attach::{discovery, openat};
use crate::cli::open::{self, Owners};
use crate::cli::profile::series::{Series, SeriesBuilder};
use crate::cli::profile::shape::Shape;
use crate::cli::profile::timestamp;
use crate::cli::render::Renderer;
use crate::cli::render::pprof::Pprof;
use crate::cli::symbolize::known::Known;
use crate::cli::symbolize::{self, Module, Options, perf_map};
use crate::wire::time;
use anyhow::{Context, Result};
use std::fs::File;
use std::path::Path;
use std::rc::Rc;
use std::time::SystemTime;

/// What was read.
#[derive(Debug)]
pub(super) struct Reading {
    /// It, with names.
    pub(super) series: Series,
    /// Whence the names are.
    pub(super) modules: Vec<Module>,
    /// Whether it is worth a dump: helpers of start scripts are nobody's profile.
    pub(super) is_worth: bool,
}

impl Reading {
    /// A life as it is now, or was at its end. `file`: its region, held open.
    pub(super) fn of_life(found: &Found, file: Option<&File>, memory: Memory, known: &Rc<Known>) -> Result<Reading> {
        let opened = match file {
            Some(_) => None,
            None => {
                Some(openat::open(&found.path, false).with_context(|| format!("reading {}", found.path.display()))?)
            }
        };
        let file = file.or(opened.as_ref()).context("no file")?;
        let snapshot = region::snapshot_of(file, found, memory)?;
        let is_worth =
            snapshot.is_significant || discovery::claim(found).is_ok_and(|claim| worth::is_worth(&claim, &snapshot));
        let mut builder = SeriesBuilder::default();
        builder.add(found.path.clone(), Some(SystemTime::now()), region::profile_of(&snapshot));
        drop(snapshot);
        let mut series = builder.finish();
        let options = options(&series, found.process, Owners::of(found.owner), known);
        let modules = symbolize::symbolize(&mut series.profile, &options, &mut |_, _| {});
        Ok(Reading { series, modules, is_worth })
    }

    /// A dump.
    pub(super) fn of_dump(path: &Path, known: &Rc<Known>) -> Result<Reading> {
        let source = Source::File { path: path.to_owned(), is_typed: false };
        let read = files::read(&[source], Vec::new(), Shape::default(), &mut |_, _| {})?;
        let mut series = read.series.into_iter().next().context("there is no profile in it")?;
        let options = options(&series, None, Owners::of(open::owner_of(path)), known);
        let modules = symbolize::symbolize(&mut series.profile, &options, &mut |_, _| {});
        Ok(Reading { series, modules, is_worth: true })
    }

    /// Its time, nanoseconds since 1970.
    pub(super) fn time_ns(&self) -> u64 {
        let seconds = self.series.last().and_then(|dump| dump.time()).unwrap_or_default();
        (seconds * 1e6).max(0.0) as u64 * 1000
    }

    /// Gives it a later time, if its own is not after this one: the last sign of life that a killed process left may be
    /// older than our last look at it.
    pub(super) fn not_before(&mut self, sent_ns: u64) {
        if self.time_ns() <= sent_ns
            && let Some(dump) = self.series.dumps.last_mut()
        {
            // Written in milliseconds.
            dump.metadata.time = Some(time::rfc3339((sent_ns / 1_000_000 + 1) * 1_000_000));
        }
    }

    /// The token of its life.
    pub(super) fn token(&self) -> Option<u64> {
        u64::from_str_radix(self.series.last()?.metadata.token.as_deref()?, 16).ok()
    }

    /// The program's name.
    pub(super) fn program(&self) -> Option<String> {
        self.series.profile.title().map(str::to_owned)
    }

    /// As engines take it, gzipped.
    pub(super) fn pprof(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Pprof { is_for_fleet: true }.render(&self.series, &mut bytes)?;
        Ok(bytes)
    }
}

fn options(series: &Series, running: Option<u32>, owners: Owners, known: &Rc<Known>) -> Options {
    let perf_maps = perf_map::usual_places(series, running);
    let written = series.last().and_then(|dump| dump.time()).and_then(timestamp::to_system);
    Options { owners, running, perf_maps, written, known: Some(Rc::clone(known)), ..Options::default() }
}
