//! The one-screen answer as data: what the text report shows, and what `--json` writes.
//!
//! The JSON form is a promise: fields may be added under the same `schema`, and never change their
//! meaning. Bytes and objects are unbiased estimates; `counts` are the dump's own numbers.

use super::ages::AgeFacts;
use super::groups::{By, Group, Rows, What, groups};
use super::outlook::{Known, Outlook, Place};
use super::rows::{Hint, Judge, Row};
use super::rss::Account;
use super::sites::Site;
use super::trend::Trend;
use super::verdict::Judgement;
use crate::cli::profile::location::{Line, Origin};
use crate::cli::profile::metadata::Metadata;
use crate::cli::profile::sample::{Estimate, standard_error};
use crate::cli::profile::series::{Dump, Series};
use crate::cli::profile::shape::Metric;
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
    /// Classes of that, where somebody looked.
    pub(crate) rss: Option<Account>,
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
    /// The verdict on the whole.
    pub(crate) outlook: Outlook,
    /// What stands in the place of bytes: with a count, all `bytes` but those of `rss` and `outlook` are objects, and `objects` bytes.
    pub(crate) metric: Metric,
    /// What a site is.
    pub(crate) by: By,
    /// Of stacks: how many frames tell rows apart.
    pub(crate) depth: Option<usize>,
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
    /// What it is.
    pub(crate) judgement: Judgement,
    /// How old its objects are, where the last dump tells it.
    pub(crate) ages: Option<AgeFacts>,
    /// Live bytes in each dump.
    pub(crate) history: Vec<f64>,
    /// What such a row usually is.
    pub(crate) hint: Option<Hint>,
    /// Leaf first.
    pub(crate) frames: Vec<Frame>,
    /// What it is, in words: who allocated, and the first own frame.
    pub(crate) label: String,
    /// Index of the first frame that is neither runtime nor system library.
    pub(crate) own_frame: Option<usize>,
}

/// One frame of a site.
#[derive(Debug, Default, Serialize)]
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
    /// Works out the answer for a symbolised series, in places.
    #[cfg(test)]
    pub(crate) fn of(series: &Series, modules: &[Module]) -> Report {
        Report::by(series, modules, Rows::default())
    }

    /// Works out the answer for a symbolised series, in rows of this kind.
    pub(crate) fn by(series: &Series, modules: &[Module], kind: Rows) -> Report {
        let judge = Judge::of(series);
        let period = series.profile.period_bytes;
        let totals: Vec<f64> = series.dumps.iter().map(|dump| dump.total.bytes).collect();
        let total = series.last().map(|dump| dump.total).unwrap_or_default();
        let metadata = &series.profile.metadata;
        let trend = judge.trend(&totals, total);
        let (sites, other_sites) = sites(series, kind, &judge);
        let rss = account(metadata, series.profile.metric, total);
        let places =
            sites.iter().map(|site| Place { trend: &site.trend, judgement: &site.judgement, ages: site.ages.as_ref() });
        let known = Known {
            series,
            has_times: judge.has_times,
            total: &trend,
            places: places.collect(),
            account: rss.as_ref(),
        };
        let outlook = known.outlook();
        Report {
            schema: 1,
            process: process(series),
            dumps: series.dumps.iter().map(dump_facts).collect(),
            period_bytes: period,
            bytes: total.bytes,
            objects: total.objects,
            stacks: series.last().map_or(0, |dump| dump.stacks),
            error_bytes: standard_error(total.bytes, judge.period(total)),
            rss_bytes: metadata.rss_bytes,
            lost_samples: metadata.lost_total(),
            stack_ends: metadata.stack_ends.iter().map(|(end, number)| (end.word(), *number)).collect(),
            profiler_ns: metadata.profiler_ns,
            tables_bytes: metadata.tables_bytes,
            has_times: judge.has_times,
            outlook,
            trend,
            metric: series.profile.metric,
            by: kind.by,
            depth: kind.depth,
            other_sites,
            sites,
            rss,
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

/// Classes of the resident memory; what of malloc is live is known if that is what was measured.
pub(super) fn account(metadata: &Metadata, metric: Metric, total: Estimate) -> Option<Account> {
    let account = Account::of_metadata(&metadata.rss_classes)?;
    match metric {
        Metric::InuseBytes => Some(account.with_live(total.bytes)),
        Metric::InuseCount => Some(account.with_live(total.objects)),
        Metric::AllocBytes | Metric::AllocCount => Some(account),
    }
}

/// The biggest sites, and how many smaller ones there are.
fn sites(series: &Series, kind: Rows, judge: &Judge<'_>) -> (Vec<SiteFacts>, usize) {
    let mut all = groups(series, kind);
    if !matches!(kind.by, By::Site | By::Stack) {
        all.sort_by(|a, b| {
            let by_size = b.value.bytes.total_cmp(&a.value.bytes);
            by_size.then_with(|| a.label(&series.profile).cmp(&b.label(&series.profile)))
        });
    }
    let shown = all.len().min(SITES);
    let rest = all.get(shown..).unwrap_or(&[]).iter().filter(|group| group.value.bytes >= 0.5).count();
    (all.iter().take(shown).map(|group| site_facts(series, judge, group)).collect(), rest)
}

fn site_facts(series: &Series, judge: &Judge<'_>, group: &Group) -> SiteFacts {
    let (frames, stacks, own_frame) = match &group.what {
        What::Site(site) => (frames(series, site), site.stacks, site.own),
        What::Name(name) => (vec![Frame { name: name.clone(), ..Frame::default() }], 0, None),
    };
    let total = series.last().map_or(0.0, |dump| dump.total.bytes);
    let trend = judge.trend(&group.bytes, group.value);
    let Row { judgement, ages, hint } = judge.row(group, &trend);
    SiteFacts {
        bytes: group.value.bytes,
        objects: group.value.objects,
        share: if total > 0.0 { group.value.bytes / total } else { 0.0 },
        stacks,
        trend,
        judgement,
        ages,
        history: group.bytes.clone(),
        hint,
        frames,
        label: group.label(&series.profile),
        own_frame,
    }
}

fn frames(series: &Series, site: &Site) -> Vec<Frame> {
    let frame = |line: &Line| {
        let function = series.profile.function(line.function)?;
        Some(Frame {
            name: function.name.clone(),
            library: function.library.clone(),
            file: function.file.clone(),
            line: line.line,
            is_java: function.origin == Origin::Java,
        })
    };
    site.frames.iter().filter_map(frame).collect()
}

fn module_facts(module: &Module) -> ModuleFacts {
    let source = module.source.to_string();
    ModuleFacts { path: module.path.clone(), places: module.places, named: module.named, source }
}
