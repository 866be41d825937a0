//! What dumps are, one paragraph each: process, times, sampling, losses, cost.

use super::Renderer;
use super::history::Told;
use super::layout::{Layout, clean, wrap};
use super::units::{bytes, count, duration, share};
use crate::cli::analyze::lost::Cause;
use crate::cli::profile::series::{Dump, Series};
use crate::cli::profile::timestamp;
use serde::Serialize;
use std::io::{self, Write};

/// The files; their JSON form is the same.
#[derive(Debug, Serialize)]
pub(crate) struct Facts {
    /// Version of this form: fields may be added, none changes its meaning.
    pub(crate) schema: u32,
    /// In order of process and time.
    pub(crate) files: Vec<File>,
}

/// One dump.
#[derive(Debug, Serialize)]
pub(crate) struct File {
    /// Where it was read.
    pub(crate) path: String,
    /// What wrote it.
    pub(crate) writer: String,
    /// Process id.
    pub(crate) pid: Option<u32>,
    /// Name of this life of the process.
    pub(crate) token: Option<String>,
    /// Path of the program.
    pub(crate) exe: Option<String>,
    /// Seconds since 1970.
    pub(crate) time: Option<f64>,
    /// Age of the process.
    pub(crate) uptime_seconds: Option<f64>,
    /// Why it was written.
    pub(crate) reason: Option<String>,
    /// Mean distance of samples in bytes.
    pub(crate) period_bytes: u64,
    /// Live bytes.
    pub(crate) bytes: f64,
    /// Live objects.
    pub(crate) objects: f64,
    /// Different stacks.
    pub(crate) stacks: usize,
    /// Threads that have samples.
    pub(crate) threads: usize,
    /// Sampled objects that are alive.
    pub(crate) live_samples: Option<u64>,
    /// Lost samples by reason.
    pub(crate) lost: Vec<(String, u64)>,
    /// Bytes that those stand for, where the tap tells it.
    pub(crate) unfollowed_bytes: Option<u64>,
    /// How the recorded stacks ended.
    pub(crate) stack_ends: Vec<(&'static str, u64)>,
    /// Nanoseconds that application threads spent in the profiler.
    pub(crate) profiler_ns: Option<u64>,
    /// Memory of the profiler's tables.
    pub(crate) tables_bytes: Option<u64>,
    /// Processor time of the keeper's looks at where the process's memory is.
    pub(crate) look_ns: Option<u64>,
    /// How many there were.
    pub(crate) looks: Option<u64>,
    /// Resident memory of the process.
    pub(crate) rss_bytes: Option<u64>,
    /// Executable mappings of files.
    pub(crate) mapped_files: usize,
    /// How many of them have a build id.
    pub(crate) build_ids: usize,
    /// Java methods whose names the dumps of this process tell.
    pub(crate) java_methods: usize,
    /// The time before it; of a process's last file only.
    pub(crate) history: Option<Told>,
    /// What else the tap told.
    pub(crate) other: Vec<(String, String)>,
    /// Variables of a running process.
    pub(crate) environment: Option<Vec<String>>,
}

impl Facts {
    /// All dumps of all series.
    pub(crate) fn of(all: &[Series]) -> Facts {
        let files = all.iter().flat_map(|series| {
            let last = series.dumps.len().saturating_sub(1);
            let told = move |at: usize| (at == last).then(|| Told::of(&series.profile)).flatten();
            series.dumps.iter().enumerate().map(move |(at, dump)| File { history: told(at), ..file(series, dump) })
        });
        Facts { schema: 1, files: files.collect() }
    }
}

/// What is known of one dump.
pub(super) fn file(series: &Series, dump: &Dump) -> File {
    let (metadata, profile) = (&dump.metadata, &series.profile);
    let version = metadata.unknown.iter().find(|(key, _)| key == "heaptap_version").map(|(_, value)| value.as_str());
    let writer = match (metadata.version, version) {
        (Some(_), Some(version)) => format!("heaptap {version}"),
        (Some(_), None) => "heaptap".to_owned(),
        (None, _) => "a stock jemalloc, or a tool that writes its form".to_owned(),
    };
    File {
        path: dump.path.display().to_string(),
        writer,
        pid: metadata.pid.or(dump.name.as_ref().map(|name| name.pid)),
        token: metadata.token.clone(),
        exe: metadata.exe.clone().or_else(|| profile.program().map(str::to_owned)),
        time: dump.time(),
        uptime_seconds: metadata.uptime_ns.map(|ns| ns as f64 / 1e9),
        reason: metadata.reason.clone().or_else(|| dump.name.as_ref().map(|name| name.kind.to_string())),
        period_bytes: dump.period_bytes,
        bytes: dump.total.bytes,
        objects: dump.total.objects,
        stacks: dump.stacks,
        threads: profile.threads.len(),
        live_samples: metadata.live_samples,
        lost: metadata.lost.clone(),
        unfollowed_bytes: metadata.unfollowed_bytes,
        stack_ends: metadata.stack_ends.iter().map(|(end, number)| (end.word(), *number)).collect(),
        profiler_ns: metadata.profiler_ns,
        tables_bytes: metadata.tables_bytes,
        look_ns: metadata.look_ns,
        looks: metadata.looks,
        rss_bytes: metadata.rss_bytes,
        mapped_files: profile.mappings.iter().filter(|mapping| mapping.is_file()).count(),
        build_ids: metadata.build_ids.len(),
        java_methods: profile.metadata.java.len(),
        history: None,
        other: metadata.unknown.clone(),
        environment: None,
    }
}

/// Writes the paragraphs.
#[derive(Clone, Debug)]
pub(crate) struct InfoText {
    /// The page.
    pub(crate) layout: Layout,
}

impl Renderer<Facts> for InfoText {
    fn render(&self, facts: &Facts, out: &mut dyn Write) -> io::Result<()> {
        for (index, file) in facts.files.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            writeln!(out, "{}", self.layout.bold(&self.layout.line(&clean(&file.path))))?;
            for (key, value) in lines(file) {
                for (number, line) in wrap(&clean(&value), self.layout.width.saturating_sub(14)).iter().enumerate() {
                    writeln!(out, "  {:<11} {line}", if number == 0 { key } else { "" })?;
                }
            }
        }
        Ok(())
    }
}

/// The same in words: what it is about, and what there is to say.
pub(super) fn lines(file: &File) -> Vec<(&'static str, String)> {
    let mut lines = vec![("written by", file.writer.clone()), ("process", process(file))];
    let time = file.time.map_or_else(|| "unknown".to_owned(), timestamp::display);
    let reason = file.reason.as_deref().map_or(String::new(), |reason| format!(" ({reason})"));
    lines.push(("time", time + &reason));
    let (objects, stacks) = (count(file.objects), count(file.stacks as f64));
    lines.push((
        "live",
        format!("{} in {objects} objects, {stacks} stacks, {} threads", bytes(file.bytes), file.threads),
    ));
    lines.push(("sampling", sampling(file)));
    if file.exe.is_some() || file.mapped_files > 0 {
        lines.push(("files", format!("{} mapped pieces of code, {} build ids", file.mapped_files, file.build_ids)));
    }
    if file.java_methods > 0 {
        lines.push(("java", format!("{} method names", count(file.java_methods as f64))));
    }
    lines.push(("lost", lost(file)));
    if !file.stack_ends.is_empty() {
        lines.push(("stacks end", stack_ends(file)));
    }
    lines.extend(cost(file).map(|cost| ("cost", cost)));
    if let Some(history) = &file.history {
        lines.push(("history", history.line()));
        lines.extend(history.event_lines().map(|line| ("event", line)));
    }
    lines.extend(file.environment.iter().flatten().map(|variable| ("environment", variable.clone())));
    let other: Vec<String> = file.other.iter().map(|(key, value)| format!("{key} {value}")).collect();
    if !other.is_empty() {
        lines.push(("also told", other.join(", ")));
    }
    lines
}

fn process(file: &File) -> String {
    let pid = file.pid.map_or_else(|| "pid unknown".to_owned(), |pid| pid.to_string());
    let token = file.token.as_deref().map_or(String::new(), |token| format!(", token {token}"));
    let exe = file.exe.as_deref().map_or(String::new(), |exe| format!(", {exe}"));
    let age = file.uptime_seconds.map_or(String::new(), |age| format!(", up {}", duration(age)));
    let resident = file.rss_bytes.map_or(String::new(), |rss| format!(", {} resident", bytes(rss as f64)));
    format!("{pid}{token}{exe}{age}{resident}")
}

fn sampling(file: &File) -> String {
    let period = match file.period_bytes {
        0 | 1 => "every allocation".to_owned(),
        period => format!("one sample per {} on average", bytes(period as f64)),
    };
    let alive =
        file.live_samples.map_or(String::new(), |alive| format!(", {} sampled objects alive", count(alive as f64)));
    period + &alive
}

fn lost(file: &File) -> String {
    let reasons: Vec<String> = file
        .lost
        .iter()
        .filter(|(_, number)| *number > 0)
        .map(|(reason, number)| format!("{reason} {number}"))
        .collect();
    match (file.lost.is_empty(), reasons.is_empty()) {
        (true, _) => "not told".to_owned(),
        (false, true) => "no sample".to_owned(),
        (false, false) => {
            let bytes = file.unfollowed_bytes.map_or(String::new(), |lost| format!(", for {}", bytes(lost as f64)));
            let why = Cause::of_most(&file.lost).map_or(String::new(), |cause| format!(": {}", cause.why));
            format!("samples: {}{bytes}{why}", reasons.join(", "))
        }
    }
}

fn stack_ends(file: &File) -> String {
    let all = file.stack_ends.iter().map(|(_, number)| *number as f64).sum::<f64>().max(1.0);
    let ends: Vec<String> =
        file.stack_ends.iter().map(|(end, number)| format!("{end} {}", share(*number as f64 / all))).collect();
    ends.join(", ")
}

fn cost(file: &File) -> Option<String> {
    let spent = file.profiler_ns? as f64 / 1e9;
    let of_core = file.uptime_seconds.filter(|age| *age > 0.0);
    let of_core = of_core.map_or(String::new(), |age| format!(" ({:.2} % of one core)", spent / age * 100.0));
    let tables = file.tables_bytes.map_or(String::new(), |tables| format!(", tables of {}", bytes(tables as f64)));
    let looks = file.looks.zip(file.look_ns).filter(|(looks, _)| *looks > 0);
    let looks = looks.map_or(String::new(), |(looks, ns)| {
        format!("; {looks} looks at its memory by the keeper: {}", duration(ns as f64 / 1e9))
    });
    Some(format!("{}{of_core}{tables}{looks}", duration(spent)))
}
