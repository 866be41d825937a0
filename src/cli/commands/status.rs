//! `heaptap status PID…`: is it on? And where nothing appears: why not.

use crate::cli::attach::process::Process;
use crate::cli::attach::{lives, process, program, region};
use crate::cli::render::units;
use crate::wire::live::counters::Counter;
use crate::wire::live::snapshot::Snapshot;
use crate::wire::options::{self, Options};
use anyhow::Result;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

/// Tell whether processes are profiled, and if not, why
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Pids of any processes
    #[arg(required = true, value_name = "PID")]
    pids: Vec<u32>,
}

/// Runs the command: exit status 1 if one of the processes is not profiled.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut status = ExitCode::SUCCESS;
    let mut out = std::io::stdout().lock();
    for &pid in &arguments.pids {
        let answer = answer(pid);
        if !answer.is_on {
            status = ExitCode::from(1);
        }
        writeln!(out, "{pid} {}: {}", answer.program, answer.verdict)?;
        for line in answer.details {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(status)
}

/// What is said about a process.
struct Answer {
    program: String,
    is_on: bool,
    verdict: String,
    details: Vec<String>,
}

fn answer(pid: u32) -> Answer {
    let process = Process { pid };
    let program = process.program().map_or_else(|| "?".into(), |path| path.display().to_string());
    let program = program.escape_debug().to_string();
    let found = lives::of_process(pid, &lives::usual_folders());
    if let Ok(found) = &found
        && let Ok(snapshot) = region::snapshot(found)
    {
        let is_on = found.is_alive && !snapshot.is_paused;
        let verdict = match (found.is_alive, snapshot.is_paused) {
            (true, false) => "profiled".into(),
            (true, true) => format!("tapped, sampling is switched off (`heaptap start {pid}` switches it on)"),
            (false, _) => format!("dead; `heaptap recover {pid}` writes its final dump"),
        };
        let mut details = details(&snapshot, process);
        details.extend(region::provenance(found, &snapshot));
        return Answer { program, is_on, verdict, details };
    }
    let reasons = if process.exists() { reasons(process) } else { vec!["there is no such process".into()] };
    let mut reasons = reasons.into_iter();
    let verdict = format!("not profiled: {}", reasons.next().unwrap_or_default());
    Answer { program, is_on: false, verdict, details: reasons.collect() }
}

fn details(snapshot: &Snapshot, process: Process) -> Vec<String> {
    let count = |counter: Counter| snapshot.counter(counter);
    let live = units::bytes(count(Counter::LiveBytes) as f64);
    let mut lines = vec![format!(
        "{live} live in {} samples, one sample per {} bytes; {} samples so far",
        snapshot.samples.len(),
        snapshot.period,
        count(Counter::Samples)
    )];
    if let Some(prefix) = snapshot.prefix() {
        let failed = match count(Counter::DumpsFailed) {
            0 => String::new(),
            failed => format!(", {failed} could not be written"),
        };
        lines.push(format!("dumps: {} written{failed}; {}.*.heap", count(Counter::Dumps), prefix.display()));
        lines.extend(unwritable(process, prefix));
    }
    if !snapshot.is_significant {
        lines.push(
            "it is young and small: unless it lives on or grows it leaves no dump (prof_min_seconds, prof_min_bytes)"
                .into(),
        );
    }
    if process::is_stopped(process.pid) {
        lines.push("it is stopped (SIGSTOP or a debugger): `heaptap report` works, `heaptap dump` has to wait".into());
    }
    let lost: u64 = [Counter::LostRange, Counter::LostSamples, Counter::LostStacks].map(count).iter().sum();
    if lost > 0 {
        lines.push(format!("{lost} samples were lost, its tables are full: prof_region_bytes makes them larger"));
    }
    let others = process.allocators();
    if !others.is_empty() {
        lines.push(format!("another malloc is loaded, too: {}", others.join(", ")));
    }
    lines
}

/// Whether the process cannot write where its dumps shall go, as far as the folder's mode tells.
fn unwritable(process: Process, prefix: &Path) -> Option<String> {
    let folder = prefix.parent()?;
    let Ok(metadata) = process.inside(folder).metadata() else {
        return Some(format!("the folder {} does not exist", folder.display()));
    };
    let ids = |key: &str| -> Option<Vec<u32>> {
        Some(process.status(key)?.split_whitespace().filter_map(|id| id.parse().ok()).collect())
    };
    let (user, group) = (*ids("Uid")?.get(1)?, *ids("Gid")?.get(1)?);
    let mut groups = ids("Groups").unwrap_or_default();
    groups.push(group);
    let bit = match () {
        () if user == 0 => return None,
        () if metadata.uid() == user => 0o200,
        () if groups.contains(&metadata.gid()) => 0o020,
        () => 0o002,
    };
    (metadata.mode() & bit == 0).then(|| {
        format!(
            "user {user} cannot write to {}: set prof_prefix or HEAPTAP_DIR to a folder of its own",
            folder.display()
        )
    })
}

/// Why a process is not profiled, the most certain reason first.
fn reasons(process: Process) -> Vec<String> {
    let Some(mapped) = process.mapped() else {
        return vec!["it belongs to another user; only that user and root can tell".into()];
    };
    let preload = process.variable("LD_PRELOAD").map(|value| value.to_string_lossy().into_owned()).unwrap_or_default();
    match mapped.iter().find(|file| file.rsplit('/').next().is_some_and(|name| name.starts_with("libheaptap"))) {
        Some(library) => loaded_but_silent(process, library),
        None => not_loaded(process, &preload),
    }
}

fn loaded_but_silent(process: Process, library: &str) -> Vec<String> {
    if library.ends_with(" (deleted)") {
        return vec![format!("its library was replaced while it ran ({library}): restart it")];
    }
    let mut conf = Vec::new();
    for name in ["MALLOC_CONF", "HEAPTAP_CONF"] {
        conf.push(process.variable(name).map(|value| value.to_string_lossy().into_owned()).unwrap_or_default());
    }
    let mut read = Options::DEFAULT;
    for text in &conf {
        options::parse(text.as_bytes(), &mut read, &mut |_, _| (), &mut |_| ());
    }
    if !read.prof {
        return vec![format!(
            "{library} is loaded, but prof:true is not in MALLOC_CONF ({:?}) or HEAPTAP_CONF ({:?})",
            conf[0], conf[1]
        )];
    }
    let mut reasons = Vec::new();
    if !read.prof_exe.is_empty() || !read.prof_arg.is_empty() {
        reasons.push("prof_exe or prof_arg do not choose it, as far as can be told from outside".into());
    }
    if process.status("Seccomp").as_deref() == Some("2") {
        reasons.push("a seccomp filter may keep the tap from its files".into());
    }
    let others = process.allocators();
    if !others.is_empty() {
        reasons.push(format!("another malloc may be in front of the tap's: {}", others.join(", ")));
    }
    reasons.push("it may not have sampled anything yet (lg_prof_sample), or has a malloc of its own linked in (it said so on stderr)".into());
    reasons.push(
        "/dev/shm may be full, missing or of an old kernel (before 5.14): then the profile is in its dumps only".into(),
    );
    reasons
}

fn not_loaded(process: Process, preload: &str) -> Vec<String> {
    let ours = preload.split([':', ' ']).find(|path| path.contains("heaptap"));
    let Some(ours) = ours else {
        let others = process.allocators();
        let beside = if others.is_empty() { String::new() } else { format!(" (its malloc: {})", others.join(", ")) };
        return vec![format!(
            "LD_PRELOAD was not set when it was started{beside}: start it by `heaptap run`, or export the variables before it"
        )];
    };
    if process.is_secure() {
        return vec![
            "it is set-user-id, has file capabilities or another security domain: the loader ignores LD_PRELOAD in it"
                .into(),
        ];
    }
    if let Err(error) = program::check_binary(&process.path("exe")) {
        return vec![format!("{error:#}")];
    }
    if !process.inside(Path::new(ours)).is_file() {
        return vec![format!(
            "LD_PRELOAD names {ours}, which is not there in its file system: in a container it must be mounted"
        )];
    }
    vec![format!(
        "LD_PRELOAD names {ours}, but the loader did not load it: not readable, on a noexec mount, or built for a newer glibc"
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untapped_process_gets_a_reason() {
        let own = answer(std::process::id());
        assert!(!own.is_on && own.verdict.starts_with("not profiled: LD_PRELOAD was not set"), "{}", own.verdict);
        let none = answer(u32::MAX);
        assert_eq!(none.verdict, "not profiled: there is no such process");
    }
}
