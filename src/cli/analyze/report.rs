//! The one-screen answer as data: what the text report shows, and what `--json` writes.
//!
//! The JSON form is a promise: fields may be added under the same `schema`, and never change their
//! meaning. Bytes and objects are unbiased estimates; `counts` are the dump's own numbers.

use super::ages::AgeFacts;
use super::chance::BOUND_95;
use super::groups::{By, Rows, What, groups};
use super::kept::Kept;
use super::lost::Lost;
use super::mapped::{Mapped, mapped};
use super::outlook::{Known, Outlook};
use super::place::Place;
use super::places::places;
use super::refusals::{Failed, refusals};
use super::resident::{Change, Past};
use super::rows::{Hint, Judge, Row, period_of};
use super::rss::Account;
use super::sampling::Sampling;
use super::sites::Site;
use super::trend::Trend;
use super::verdict::Judgement;
use crate::cli::profile::Profile;
use crate::cli::profile::location::{Line, Origin};
use crate::cli::profile::metadata::Metadata;
use crate::cli::profile::metric::Metric;
use crate::cli::profile::sample::{Estimate, standard_error};
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
    /// Bound of the error of `bytes` that holds in 95 of 100 cases.
    pub(crate) error_bytes: f64,
    /// Resident memory, when the dump tells it.
    pub(crate) rss_bytes: Option<u64>,
    /// Classes of that, where somebody looked.
    pub(crate) rss: Option<Account>,
    /// What of it has changed since when.
    pub(crate) rss_change: Option<Change>,
    /// What is mapped beside malloc, and by whom.
    pub(crate) mapped: Option<Mapped>,
    /// What the program asked for first and did not get.
    pub(crate) failures: Vec<Failed>,
    /// What the program's own allocator holds, where that serves.
    pub(crate) allocator: Option<Kept>,
    /// Samples that the tap lost.
    pub(crate) lost_samples: u64,
    /// Bytes that those stand for: allocated, and not followed to their free.
    pub(crate) unfollowed_bytes: f64,
    /// In words: how many were lost, and why.
    #[serde(skip)]
    pub(crate) lost: Lost,
    /// How the recorded stacks ended: (reason, number of walks).
    pub(crate) stack_ends: Vec<(&'static str, u64)>,
    /// Nanoseconds that the tap spent.
    pub(crate) profiler_ns: Option<u64>,
    /// Memory of the tap's tables.
    pub(crate) tables_bytes: Option<u64>,
    /// Whether slopes are per second (else per dump).
    pub(crate) has_times: bool,
    /// The moments that verdicts rest on: the dumps, and those that the last one's history tells of; seconds from the
    /// first (or numbers).
    pub(crate) moments: Vec<f64>,
    /// What was done to the sampling.
    pub(crate) sampling: Sampling,
    /// All live bytes over the series.
    pub(crate) trend: Trend,
    /// The verdict on the whole.
    pub(crate) outlook: Outlook,
    /// What stands in the place of bytes: with a count, all `bytes` but those of `rss` and `outlook` are objects, and
    /// `objects` bytes.
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
    /// The program's name, with its main class, jar or script.
    pub(crate) title: Option<String>,
    /// Age at the last dump.
    pub(crate) uptime_seconds: Option<f64>,
    /// Written by heaptap rather than by a stock jemalloc.
    pub(crate) is_ours: bool,
    /// Whether it is a Java VM.
    pub(crate) is_jvm: bool,
    /// Whether its own allocator serves.
    #[serde(skip)]
    pub(crate) keeps_allocator: bool,
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
    /// Live bytes at each moment.
    pub(crate) course: Vec<f64>,
    /// What such a row usually is.
    pub(crate) hint: Option<Hint>,
    /// Whether that is worth saying: it grows, or it is much.
    #[serde(skip)]
    pub(crate) is_worth_a_hint: bool,
    /// Leaf first.
    pub(crate) frames: Vec<Frame>,
    /// What it is, in words: who allocated, and the first own frame.
    pub(crate) label: String,
    /// The same, part by part.
    pub(crate) place: Place,
    /// Index of the first frame that is neither runtime nor system library.
    pub(crate) own_frame: Option<usize>,
    /// Samples of the profile that it is made of.
    #[serde(skip)]
    pub(crate) members: Vec<u32>,
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
        let total = series.last().map(|dump| dump.total).unwrap_or_default();
        let metadata = &series.profile.metadata;
        let trend = judge.total();
        let (places, other_places) = places(series, &judge);
        let rss = account(&series.profile, metadata, series.profile.metric, total);
        let known = Known { series, moments: &judge.moments, total: &trend, places: &places, account: rss.as_ref() };
        let outlook = known.outlook();
        let (mut rows, other_sites) = match kind.by {
            By::Site => (places, other_places),
            _ => rows(series, kind, &judge),
        };
        rows.truncate(SITES);
        let sites = rows.into_iter().map(|row| site_facts(series, &judge, row)).collect();
        let lost = Lost::of(metadata, period);
        let change = Past::of(series).change;
        Report {
            schema: 1,
            process: process(series),
            dumps: series.dumps.iter().map(dump_facts).collect(),
            period_bytes: period,
            bytes: total.bytes,
            objects: total.objects,
            stacks: series.last().map_or(0, |dump| dump.stacks),
            error_bytes: BOUND_95 * standard_error(total.bytes, period_of(series, total)),
            rss_bytes: metadata.rss_bytes,
            lost_samples: lost.samples,
            unfollowed_bytes: lost.bytes,
            lost,
            stack_ends: metadata.stack_ends.iter().map(|(end, number)| (end.word(), *number)).collect(),
            profiler_ns: metadata.profiler_ns,
            tables_bytes: metadata.tables_bytes,
            has_times: judge.moments.has_times,
            moments: judge.moments.times.clone(),
            sampling: judge.moments.sampling.clone(),
            outlook,
            trend,
            metric: series.profile.metric,
            by: kind.by,
            depth: kind.depth,
            other_sites,
            sites,
            rss,
            failures: refusals(&series.profile),
            allocator: Kept::of(&series.profile),
            mapped: mapped(&series.profile, change.as_ref().map(|change| change.since)),
            rss_change: change.filter(|_| series.profile.metric == Metric::InuseBytes),
            modules: modules.iter().map(module_facts).collect(),
        }
    }

    /// Seconds from the first moment to the last.
    pub(crate) fn span_seconds(&self) -> Option<f64> {
        self.moments.last().copied().filter(|_| self.has_times && self.moments.len() > 1)
    }
}

impl Process {
    /// What to call it.
    pub(crate) fn name(&self) -> &str {
        self.title.as_deref().unwrap_or("unknown program")
    }
}

pub(super) fn process(series: &Series) -> Process {
    let metadata = &series.profile.metadata;
    Process {
        pid: series.pid(),
        token: metadata.token.clone(),
        exe: series.profile.program().map(str::to_owned),
        title: series.profile.title().map(str::to_owned),
        uptime_seconds: metadata.uptime_ns.map(|ns| ns as f64 / 1e9),
        is_ours: metadata.version.is_some(),
        is_jvm: series.profile.is_jvm(),
        keeps_allocator: metadata.allocator.is_some(),
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
///
/// Of a living process somebody has just looked (`rss_…` in the metadata); else its keeper's last look counts.
pub(crate) fn account(profile: &Profile, metadata: &Metadata, metric: Metric, total: Estimate) -> Option<Account> {
    let timeline = profile.history.timeline.iter().rev();
    let looked = || timeline.clone().find_map(|checkpoint| Account::of_checkpoint(&checkpoint.classes));
    let account = Account::of_metadata(&metadata.rss_classes).or_else(looked)?;
    match metric {
        Metric::InuseBytes => Some(account.with_live(total.bytes)),
        Metric::InuseCount => Some(account.with_live(total.objects)),
        Metric::AllocBytes | Metric::AllocCount | Metric::Mapped | Metric::Resident => Some(account),
    }
}

/// The biggest rows of a kind, and how many smaller ones there are.
fn rows(series: &Series, kind: Rows, judge: &Judge<'_>) -> (Vec<Row>, usize) {
    let mut all = groups(series, kind, &judge.moments, (&judge.kinds, &judge.owners));
    let tested = all.len();
    all.sort_by(|a, b| {
        let by_size = b.track.value.bytes.total_cmp(&a.track.value.bytes);
        by_size.then_with(|| a.label(&series.profile).cmp(&b.label(&series.profile)))
    });
    let small = all.split_off(tested.min(SITES));
    let rest = small.iter().filter(|group| group.track.value.bytes >= 0.5).count();
    (all.into_iter().map(|group| judge.row(group, tested)).collect(), rest)
}

fn site_facts(series: &Series, judge: &Judge<'_>, row: Row) -> SiteFacts {
    let Row { group, trend, judgement, ages, hint } = row;
    let (frames, stacks, own_frame) = match &group.what {
        What::Site(site) => (frames(series, site), group.track.holding, site.own),
        What::Name(name) => (vec![Frame { name: name.clone(), ..Frame::default() }], 0, None),
    };
    let place = group.place(&series.profile);
    let total = series.last().map_or(0.0, |dump| dump.total.bytes);
    let bytes = group.track.value.bytes;
    let is_worth_a_hint = judgement.verdict.is_worth_a_hint(bytes, total);
    SiteFacts {
        bytes,
        objects: group.track.value.objects,
        share: if total > 0.0 { bytes / total } else { 0.0 },
        stacks,
        trend,
        judgement,
        ages,
        label: place.label(),
        place,
        history: judge.moments.of_dumps(&group.track.bytes),
        members: group.track.members,
        course: group.track.bytes,
        hint,
        is_worth_a_hint,
        frames,
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
