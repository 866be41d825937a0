//! The one-screen answer as data: what the text report shows, and what `--json` writes.
//!
//! The JSON form is a promise: fields may be added under the same `schema`, and never change their
//! meaning. Bytes and objects are unbiased estimates; `counts` are the dump's own numbers.

use super::culprits::Culprits;
use super::sites::{Site, sites};
use super::trend::Trend;
use crate::cli::profile::location::Origin;
use crate::cli::profile::sample::standard_error;
use crate::cli::profile::series::{Dump, Series};
use crate::cli::symbolize::Module;
use serde::Serialize;

/// Sites kept of a profile of any size.
const SITES: usize = 1000;

/// Everything known about one series.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Version of this form.
    pub(crate) schema: u32,
    /// Whose memory it is.
    pub(crate) process: Process,
    /// The dumps, in order.
    pub(crate) dumps: Vec<DumpFacts>,
    /// Mean distance of samples in bytes.
    pub(crate) period_bytes: u64,
    /// Live bytes in the last dump.
    pub(crate) bytes: f64,
    /// Live objects in the last dump.
    pub(crate) objects: f64,
    /// Number of different stacks in the last dump.
    pub(crate) stacks: usize,
    /// One standard error of `bytes`.
    pub(crate) error_bytes: f64,
    /// Resident memory, when the dump tells it.
    pub(crate) rss_bytes: Option<u64>,
    /// Samples that the tap lost.
    pub(crate) lost_samples: u64,
    /// How the recorded stacks ended: (reason, number of walks).
    pub(crate) stack_ends: Vec<(&'static str, u64)>,
    /// Nanoseconds that the tap spent.
    pub(crate) profiler_ns: Option<u64>,
    /// Memory of the tap's tables.
    pub(crate) tables_bytes: Option<u64>,
    /// Whether slopes are per second (else per dump).
    pub(crate) has_times: bool,
    /// All live bytes over the series.
    pub(crate) trend: Trend,
    /// Where it was allocated, biggest first.
    pub(crate) sites: Vec<SiteFacts>,
    /// How many smaller sites are not among them.
    pub(crate) other_sites: usize,
    /// Where the names came from.
    pub(crate) modules: Vec<ModuleFacts>,
}

/// A process, as far as its dumps tell.
#[derive(Debug, Serialize)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) pid: Option<u32>,
    /// Name of this life of it.
    pub(crate) token: Option<String>,
    /// Path of its program.
    pub(crate) exe: Option<String>,
    /// Age at the last dump.
    pub(crate) uptime_seconds: Option<f64>,
    /// Written by heaptap rather than by a stock jemalloc.
    pub(crate) is_ours: bool,
}

/// One dump of the series.
#[derive(Debug, Serialize)]
pub(crate) struct DumpFacts {
    /// Its file.
    pub(crate) path: String,
    /// Seconds since 1970.
    pub(crate) time: Option<f64>,
    /// Why it was written.
    pub(crate) reason: Option<String>,
    /// Live bytes in it.
    pub(crate) bytes: f64,
    /// Live objects in it.
    pub(crate) objects: f64,
}

/// One allocation site.
#[derive(Debug, Serialize)]
pub(crate) struct SiteFacts {
    /// Live bytes in the last dump.
    pub(crate) bytes: f64,
    /// Live objects in the last dump.
    pub(crate) objects: f64,
    /// Share of all live bytes, 0 to 1.
    pub(crate) share: f64,
    /// Number of different stacks that it stands for.
    pub(crate) stacks: usize,
    /// Live bytes over the series.
    pub(crate) trend: Trend,
    /// Live bytes in each dump.
    pub(crate) history: Vec<f64>,
    /// Leaf first.
    pub(crate) frames: Vec<Frame>,
    /// What it is, in words: who allocated, and the first own frame.
    pub(crate) label: String,
    /// Index of the first frame that is neither runtime nor system library.
    pub(crate) own_frame: Option<usize>,
    /// What such a site usually is.
    pub(crate) hint: Option<Hint>,
}

/// One frame of a site.
#[derive(Debug, Serialize)]
pub(crate) struct Frame {
    /// Its function.
    pub(crate) name: String,
    /// File name of its library.
    pub(crate) library: String,
    /// Source file.
    pub(crate) file: String,
    /// Source line, 0 if unknown.
    pub(crate) line: u32,
    /// Whether it is a Java method.
    pub(crate) is_java: bool,
}

/// A known cause.
#[derive(Debug, Serialize)]
pub(crate) struct Hint {
    /// What it is.
    pub(crate) title: &'static str,
    /// What to do.
    pub(crate) advice: &'static str,
}

/// Where the names of a file came from.
#[derive(Debug, Serialize)]
pub(crate) struct ModuleFacts {
    /// The file.
    pub(crate) path: String,
    /// Places of the profile in it.
    pub(crate) places: usize,
    /// How many got a name.
    pub(crate) named: usize,
    /// In words.
    pub(crate) source: String,
}

impl Report {
    /// Works out the answer for a symbolised series.
    pub(crate) fn of(series: &Series, modules: &[Module]) -> Report {
        let seconds = series.seconds();
        let times = seconds.clone().unwrap_or_else(|| (0..series.dumps.len()).map(|n| n as f64).collect());
        let period = series.profile.period_bytes;
        let totals: Vec<f64> = series.dumps.iter().map(|dump| dump.total.bytes).collect();
        let total = series.last().map(|dump| dump.total).unwrap_or_default();
        let metadata = &series.profile.metadata;
        let all = sites(series);
        let shown = all.len().min(SITES);
        let culprits = Culprits::of(&series.profile);
        Report {
            schema: 1,
            process: process(series),
            dumps: series.dumps.iter().map(dump_facts).collect(),
            period_bytes: period,
            bytes: total.bytes,
            objects: total.objects,
            stacks: series.last().map_or(0, |dump| dump.stacks),
            error_bytes: standard_error(total.bytes, period),
            rss_bytes: metadata.rss_bytes,
            lost_samples: metadata.lost_total(),
            stack_ends: metadata.stack_ends.iter().map(|(end, number)| (end.word(), *number)).collect(),
            profiler_ns: metadata.profiler_ns,
            tables_bytes: metadata.tables_bytes,
            has_times: seconds.is_some(),
            trend: Trend::of(&times, &totals, period),
            other_sites: all.get(shown..).map_or(0, |rest| rest.iter().filter(|site| site.value.bytes >= 0.5).count()),
            sites: all.iter().take(shown).map(|site| site_facts(series, &culprits, site, &times)).collect(),
            modules: modules.iter().map(module_facts).collect(),
        }
    }

    /// Seconds from the first dump to the last.
    pub(crate) fn span_seconds(&self) -> Option<f64> {
        let (first, last) = (self.dumps.first()?.time?, self.dumps.last()?.time?);
        self.has_times.then_some(last - first)
    }
}

pub(super) fn process(series: &Series) -> Process {
    let metadata = &series.profile.metadata;
    Process {
        pid: series.pid(),
        token: metadata.token.clone(),
        exe: series.profile.program().map(str::to_owned),
        uptime_seconds: metadata.uptime_ns.map(|ns| ns as f64 / 1e9),
        is_ours: metadata.version.is_some(),
    }
}

pub(super) fn dump_facts(dump: &Dump) -> DumpFacts {
    DumpFacts {
        path: dump.path.display().to_string(),
        time: dump.time(),
        reason: dump.metadata.reason.clone().or_else(|| dump.name.as_ref().map(|name| name.kind.to_string())),
        bytes: dump.total.bytes,
        objects: dump.total.objects,
    }
}

fn site_facts(series: &Series, culprits: &Culprits, site: &Site, times: &[f64]) -> SiteFacts {
    let frames: Vec<Frame> = site
        .frames
        .iter()
        .filter_map(|line| {
            let function = series.profile.function(line.function)?;
            Some(Frame {
                name: function.name.clone(),
                library: function.library.clone(),
                file: function.file.clone(),
                line: line.line,
                is_java: function.origin == Origin::Java,
            })
        })
        .collect();
    let hint = culprits.recognise(site.frames.iter().map(|line| line.function));
    let total = series.last().map_or(0.0, |dump| dump.total.bytes);
    SiteFacts {
        bytes: site.value.bytes,
        objects: site.value.objects,
        share: if total > 0.0 { site.value.bytes / total } else { 0.0 },
        stacks: site.stacks,
        trend: Trend::of(times, &site.bytes, series.profile.period_bytes),
        history: site.bytes.clone(),
        frames,
        label: site.label(&series.profile),
        own_frame: site.own,
        hint: hint.map(|culprit| Hint { title: culprit.title, advice: culprit.advice }),
    }
}

fn module_facts(module: &Module) -> ModuleFacts {
    let source = module.source.to_string();
    ModuleFacts { path: module.path.clone(), places: module.places, named: module.named, source }
}
