//! `heaptap status PID…`: is it on? And where nothing appears: why not.

use crate::cli::analyze::lost::Cause;
use crate::cli::attach::discovery::{self, Found};
use crate::cli::attach::process::{self, Process};
use crate::cli::attach::room::{self, Room};
use crate::cli::attach::{glibc, musl, program, region};
use crate::cli::inert::{Inert, clean};
use crate::cli::render::json::Json;
use crate::cli::render::{Renderer, units};
use crate::wire::live::counters::{self, Counter};
use crate::wire::live::snapshot::Snapshot;
use crate::wire::liveness;
use crate::wire::options::{self, Options};
use crate::wire::title;
use anyhow::Result;
use serde::Serialize;
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

    /// Write it as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command: exit status 1 if one of the processes is not profiled.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let statuses = Statuses { schema: 1, processes: arguments.pids.iter().map(|pid| answer(*pid)).collect() };
    let mut out = std::io::stdout().lock();
    if arguments.json {
        Json.render(&statuses, &mut out)?;
    } else {
        let mut out = Inert::text(&mut out, false);
        for answer in &statuses.processes {
            writeln!(out, "{} {}: {}", answer.pid, answer.program, answer.verdict)?;
            answer.details.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
        }
    }
    let is_on = statuses.processes.iter().all(|answer| answer.is_profiled);
    Ok(if is_on { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The answer.
#[derive(Serialize)]
struct Statuses {
    schema: u32,
    processes: Vec<Answer>,
}

/// Free bytes of /dev/shm from which on there can be a region: it takes a quarter, and wants 2 MiB.
const LEAST_ROOM_BYTES: u64 = 8 << 20;
/// Children that are named.
const MOST_CHILDREN: usize = 8;

/// What is said about a process.
#[derive(Serialize)]
struct Answer {
    pid: u32,
    program: String,
    /// It samples, or will.
    is_profiled: bool,
    /// In a sentence: whether, and if not, why.
    verdict: String,
    details: Vec<String>,
}

fn answer(pid: u32) -> Answer {
    let process = Process { pid };
    let program = process.program().map_or_else(|| "?".into(), |path| path.display().to_string());
    let found = discovery::of_process(pid, &discovery::usual_folders());
    // A dead process's pid may be another's by now.
    let is_of_another = |found: &Found| !found.is_alive() && process.exists();
    if let Ok(found) = &found
        && !is_of_another(found)
        && let Ok(snapshot) = region::snapshot(found)
    {
        let is_on = found.is_alive() && !snapshot.is_paused;
        let verdict = match (found.is_alive(), snapshot.is_paused) {
            (true, false) => "profiled".into(),
            (true, true) => format!("tapped, sampling is switched off (`heaptap start {pid}` switches it on)"),
            (false, _) => format!("dead; `heaptap recover {pid}` writes its final dump"),
        };
        let mut details = details(&snapshot, process);
        details.extend(region::provenance(found, &snapshot));
        if found.is_alive() && snapshot.is_mirror {
            details.extend(shm_trouble(process));
        }
        return Answer { pid, program, is_profiled: is_on, verdict, details };
    }
    if let Some(details) = marked(process) {
        return Answer {
            pid,
            program,
            is_profiled: true,
            verdict: "profiled; nothing of it can be read yet".into(),
            details,
        };
    }
    let reasons = if process.exists() { reasons(process) } else { vec!["there is no such process".into()] };
    let mut reasons = reasons.into_iter().chain(tapped_children(process));
    let verdict = format!("not profiled: {}", reasons.next().unwrap_or_default());
    Answer { pid, program, is_profiled: false, verdict, details: reasons.collect() }
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
    lines.extend(
        snapshot
            .metadata("allocator")
            .map(|name| format!("its own allocator serves what is not sampled: {}", clean(name))),
    );
    lines.extend(snapshot.metadata("java_vm").and_then(java));
    if process::is_stopped(process.pid) {
        lines.push("it is stopped (SIGSTOP or a debugger): `heaptap report` works, `heaptap dump` has to wait".into());
    }
    if count(Counter::Samples) == 0 {
        lines.push("it has not allocated enough for a sample yet".into());
    }
    let lost =
        counters::NAMED.iter().filter_map(|(counter, name)| Some((name.strip_prefix("lost_")?, count(*counter))));
    let lost: Vec<(String, u64)> = lost.map(|(word, number)| (word.to_owned(), number)).collect();
    for one in lost.chunks(1) {
        if let Some(cause) = Cause::of_most(one) {
            let number = one.iter().map(|(_, number)| number).sum::<u64>();
            lines.push(format!("{number} samples were lost: {}. What helps: {}", cause.why, cause.advice));
        }
    }
    if count(Counter::UnfollowedBytes) > 0 {
        let unfollowed = units::bytes(count(Counter::UnfollowedBytes) as f64);
        lines.push(format!("lost samples stand for {unfollowed} allocated, and not followed to their free"));
    }
    let others = process.allocators();
    if !others.is_empty() {
        lines.push(format!("another malloc is loaded, too: {}", others.join(", ")));
    }
    lines
}

/// Where the names of Java frames come from, by the metadata `java_vm`; `None`: no Java VM has been met.
fn java(machine: &str) -> Option<String> {
    if machine == "unsupported" {
        return Some(
            "Java frames: cannot tell. This libjvm.so does not export its layout, and its build is not one that is known. \
             What helps: the JVM option -XX:+PreserveFramePointer, and `jcmd PID Compiler.perfmap` before the process ends"
                .into(),
        );
    }
    let (name, _) = machine.strip_prefix("hotspot ")?.split_once(" (")?;
    Some(match name.strip_suffix(" by build id") {
        Some(release) => {
            format!("Java frames: HotSpot {release}, by the table of its build: it does not export its layout")
        }
        None => format!("Java frames: HotSpot {name}, by the layout that it exports"),
    })
}

/// Whether the process cannot write where its dumps shall go, as far as the folder's mode tells.
fn unwritable(process: Process, prefix: &Path) -> Option<String> {
    let folder = prefix.parent()?;
    if let Some(cell) = process.cell() {
        return Some(format!(
            "its root directory is {} (chroot): it cannot write there itself; `heaptap dump` and, after its end, \
             `heaptap recover` write its dumps",
            cell.display()
        ));
    }
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

/// What is to be said of a process that samples although there is no region of it to be read; `None`: it does not
/// sample, as far as its mappings tell.
fn marked(process: Process) -> Option<Vec<String>> {
    let maps = discovery::maps(process.pid).ok()?;
    if !liveness::is_marked(&maps) {
        return None;
    }
    if let Some(region) = liveness::region_in(&maps) {
        return Some(vec![format!("its profile is in {region}, which cannot be read from here")]);
    }
    Some(match shm_trouble(process) {
        Some(trouble) => vec![
            trouble,
            "its profile is in its own memory until then: it writes its dumps, and nothing else can be asked of it"
                .into(),
        ],
        None => vec![
            "it is young, or a child of fork that has not sampled anything yet (lg_prof_sample): what a parent held \
             is the parent's"
                .into(),
        ],
    })
}

/// Why there can be no region in its /dev/shm; `None`: there can be one.
fn shm_trouble(process: Process) -> Option<String> {
    let place = process.inside(Path::new("/dev/shm"));
    if !place.is_dir() {
        return Some("it has no /dev/shm: mount a tmpfs of 64 MiB there".into());
    }
    let free = match room::of(&place)? {
        Room::Tmpfs(free) => free,
        Room::Other => return Some("its /dev/shm is no tmpfs: mount one there".into()),
    };
    (free < LEAST_ROOM_BYTES).then(|| {
        format!(
            "its /dev/shm has {} free, and {} are needed: make it larger (docker run --shm-size=64m; in Kubernetes an \
             emptyDir of medium Memory at /dev/shm)",
            units::bytes(free as f64),
            units::bytes(LEAST_ROOM_BYTES as f64)
        )
    })
}

/// The processes below it that are profiled: of a launcher they are what is meant.
fn tapped_children(process: Process) -> Vec<String> {
    let is_on = |child: &Process| discovery::maps(child.pid).is_ok_and(|maps| liveness::is_marked(&maps));
    let tell = |child: Process| {
        let exe = child.program().map_or_else(String::new, |path| path.display().to_string());
        format!("its child {} ({}) is profiled", child.pid, title::of(&exe, &child.command()))
    };
    process::descendants(process.pid).into_iter().filter(is_on).map(tell).take(MOST_CHILDREN).collect()
}

/// Why a process is not profiled, the most certain reason first.
fn reasons(process: Process) -> Vec<String> {
    let Some(mapped) = process.mapped() else { return vec![discovery::refused(process.pid)] };
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
    if process.variable("LD_PRELOAD").is_none() {
        return vec![format!(
            "{library} is loaded and samples nothing: prof:true was not in its MALLOC_CONF or HEAPTAP_CONF, prof_exe or \
             prof_arg do not choose it, or it has a malloc of its own linked in. Its environment cannot tell: it has \
             been overwritten since"
        )];
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
    if reasons.is_empty() {
        reasons.push("no address space could be reserved for its samples (RLIMIT_AS; it said so on stderr)".into());
    }
    reasons
}

fn not_loaded(process: Process, preload: &str) -> Vec<String> {
    let ours = preload.split([':', ' ']).find(|path| path.contains("heaptap"));
    let Some(ours) = ours else {
        let others = process.allocators();
        let beside = if others.is_empty() { String::new() } else { format!(" (its malloc: {})", others.join(", ")) };
        let mut reasons = vec![format!(
            "LD_PRELOAD was not set when it was started{beside}: start it by `heaptap run`, or export the variables before it"
        )];
        reasons.extend(program::find_tap(None).ok().and_then(|tap| misfit(process, &tap)));
        return reasons;
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
    let mounts = std::fs::read_to_string(process.path("mountinfo")).unwrap_or_default();
    if let Some(mount) = program::noexec_mount(&mounts, Path::new(ours)) {
        return vec![format!("LD_PRELOAD names {ours}, and {mount} is mounted noexec: the loader cannot map it there")];
    }
    if let Some(misfit) = misfit(process, &process.inside(Path::new(ours))) {
        return vec![format!("LD_PRELOAD names {ours}, but the loader did not load it: {misfit}")];
    }
    vec![format!("LD_PRELOAD names {ours}, but the loader did not load it: not readable, or damaged")]
}

/// Why this library cannot be loaded with the libc that the process runs with.
fn misfit(process: Process, tap: &Path) -> Option<String> {
    if program::uses_musl(&process.path("exe")) {
        return musl::check(tap, "this process").err().map(|error| format!("{error:#}"));
    }
    let is_libc = |file: &String| {
        file.rsplit('/').next().is_some_and(|name| name.starts_with("libc.so.6") || name.starts_with("libc-2."))
    };
    let libc = process.mapped()?.into_iter().find(is_libc)?;
    let error = glibc::check(tap, &process.inside(Path::new(&libc)), "this process").err()?;
    Some(format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_of_java_frames_is_told() {
        assert_eq!(java("none"), None);
        assert!(java("unsupported").unwrap().contains("cannot tell"));
        assert!(
            java("hotspot 17 (3 walks, 1 points named)")
                .unwrap()
                .ends_with("HotSpot 17, by the layout that it exports")
        );
        assert!(java("hotspot 25 by build id (3 walks)").unwrap().contains("HotSpot 25, by the table of its build"));
    }

    #[test]
    fn an_untapped_process_gets_a_reason() {
        let own = answer(std::process::id());
        assert!(!own.is_profiled && own.verdict.starts_with("not profiled: LD_PRELOAD was not set"), "{}", own.verdict);
        let none = answer(u32::MAX);
        assert_eq!(none.verdict, "not profiled: there is no such process");
    }
}
