//! The whole profile as JSON, for programs of one's own: every stack of the last dump, with its past.
//!
//! `schema` 1: fields may be added, none changes its meaning. `bytes` and `objects` are unbiased
//! estimates; `raw_bytes` and `raw_objects` are the dump's own numbers. Stacks refer to `locations`
//! and locations to `functions` by position, leaf and innermost first.

use super::Renderer;
use crate::cli::inert::Inert;
use crate::cli::profile::Profile;
use crate::cli::profile::location::{Function, Location, Origin};
use crate::cli::profile::mapping::Mapping;
use crate::cli::profile::metric::Metric;
use crate::cli::profile::sample::{Sample, ThreadCounts};
use crate::cli::profile::series::{Dump, Series};
use serde::Serialize;
use std::io::{self, Write};

/// Writes the last dump of a series.
pub(crate) struct ProfileJson;

#[derive(Serialize)]
struct File<'a> {
    schema: u32,
    kind: &'static str,
    pid: Option<u32>,
    token: Option<&'a str>,
    exe: Option<&'a str>,
    period_bytes: u64,
    /// What stands in the place of bytes.
    metric: Metric,
    bytes: u64,
    objects: u64,
    dumps: Vec<DumpRow>,
    mappings: Vec<MappingRow<'a>>,
    functions: Vec<FunctionRow<'a>>,
    locations: Vec<LocationRow>,
    stacks: Vec<StackRow<'a>>,
}

#[derive(Serialize)]
struct DumpRow {
    path: String,
    time: Option<f64>,
    bytes: u64,
    objects: u64,
}

#[derive(Serialize)]
struct MappingRow<'a> {
    start: String,
    end: String,
    offset: u64,
    path: &'a str,
    build_id: Option<&'a str>,
}

#[derive(Serialize)]
struct FunctionRow<'a> {
    name: &'a str,
    full_name: &'a str,
    file: &'a str,
    library: &'a str,
    is_java: bool,
    is_named: bool,
}

#[derive(Serialize)]
struct LocationRow {
    address: String,
    mapping: Option<u32>,
    /// (function, source line or 0).
    lines: Vec<(u32, u32)>,
}

#[derive(Serialize)]
struct StackRow<'a> {
    bytes: u64,
    objects: u64,
    accumulated_bytes: u64,
    accumulated_objects: u64,
    raw_bytes: u64,
    raw_objects: u64,
    locations: Vec<u32>,
    threads: Vec<ThreadRow<'a>>,
    /// (position in `dumps`, live bytes there), where there were any.
    history: Vec<(usize, u64)>,
}

#[derive(Serialize)]
struct ThreadRow<'a> {
    number: u64,
    name: Option<&'a str>,
    bytes: u64,
}

impl Renderer<Series> for ProfileJson {
    fn render(&self, series: &Series, out: &mut dyn Write) -> io::Result<()> {
        let profile = &series.profile;
        let total = profile.total();
        let file = File {
            schema: 1,
            kind: "heaptap profile",
            pid: series.pid(),
            token: profile.metadata.token.as_deref(),
            exe: profile.program(),
            period_bytes: profile.period_bytes,
            metric: profile.metric,
            bytes: whole(total.bytes),
            objects: whole(total.objects),
            dumps: dumps(series),
            mappings: mappings(profile),
            functions: profile.functions.iter().map(function).collect(),
            locations: locations(profile),
            stacks: stacks(series),
        };
        serde_json::to_writer(Inert::json(&mut *out), &file)?;
        out.write_all(b"\n")
    }
}

fn whole(value: f64) -> u64 {
    value.round().max(0.0) as u64
}

fn dumps(series: &Series) -> Vec<DumpRow> {
    let row = |dump: &Dump| DumpRow {
        path: dump.path.display().to_string(),
        time: dump.time(),
        bytes: whole(dump.total.bytes),
        objects: whole(dump.total.objects),
    };
    series.dumps.iter().map(row).collect()
}

fn mappings(profile: &Profile) -> Vec<MappingRow<'_>> {
    profile.mappings.iter().map(mapping).collect()
}

fn mapping(mapping: &Mapping) -> MappingRow<'_> {
    MappingRow {
        start: format!("{:#x}", mapping.start),
        end: format!("{:#x}", mapping.end),
        offset: mapping.offset,
        path: &mapping.path,
        build_id: mapping.build_id.as_deref(),
    }
}

fn function(function: &Function) -> FunctionRow<'_> {
    FunctionRow {
        name: &function.name,
        full_name: &function.full_name,
        file: &function.file,
        library: &function.library,
        is_java: function.origin == Origin::Java,
        is_named: function.origin != Origin::Unknown,
    }
}

fn locations(profile: &Profile) -> Vec<LocationRow> {
    let row = |location: &Location| LocationRow {
        address: format!("{:#x}", location.address),
        mapping: location.mapping.map(|id| id.0),
        lines: location.lines.iter().map(|line| (line.function.0, line.line)).collect(),
    };
    profile.locations.iter().map(row).collect()
}

fn stacks(series: &Series) -> Vec<StackRow<'_>> {
    let profile = &series.profile;
    let all = profile.samples.iter().zip(&series.history);
    all.map(|(sample, history)| StackRow {
        bytes: whole(sample.value.bytes),
        objects: whole(sample.value.objects),
        accumulated_bytes: whole(sample.value.accum_bytes),
        accumulated_objects: whole(sample.value.accum_objects),
        raw_bytes: sample.counts.bytes,
        raw_objects: sample.counts.objects,
        locations: sample.stack.iter().map(|id| id.0).collect(),
        threads: threads(profile, sample),
        history: history.iter().map(|(at, value)| (*at, whole(value.bytes))).collect(),
    })
    .collect()
}

fn threads<'a>(profile: &'a Profile, sample: &Sample) -> Vec<ThreadRow<'a>> {
    let name = |uid| profile.threads.iter().find(|thread| thread.uid == uid).and_then(|thread| thread.name.as_deref());
    let row = |thread: &ThreadCounts| ThreadRow {
        number: thread.uid,
        name: name(thread.uid),
        bytes: whole(thread.value.bytes),
    };
    sample.threads.iter().map(row).collect()
}
