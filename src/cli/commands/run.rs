//! `heaptap run -- CMD…`: starts a program under the tap and says at its end which dumps there are. What was killed
//! before it could write its own is recovered.
//!
//! Where the service manager waits for the program's own word (`NOTIFY_SOCKET`), or with `--exec`, we become the
//! program instead: what a child says is not believed, and a dump is what `heaptap report` finds.
//!
//! The tap learns two things from us: `HEAPTAP_RUN_PID`, so that this very process counts as
//! significant however short it lives, and `HEAPTAP_RUN_REPORT`, a file to which every tapped
//! process appends the absolute path of each dump it wrote.

use super::recover;
use super::shell::patterns;
use super::termination::TerminationLog;
use crate::cli::attach::child::{self, End};
use crate::cli::attach::discovery::{self, Found};
use crate::cli::attach::worth::is_worth;
use crate::cli::attach::{memory, program, region};
use crate::cli::inert::{clean, say};
use crate::cli::open;
use crate::wire::dump_name::DumpName;
use crate::wire::whole_file;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{DirBuilder, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

/// What is profiled when nobody says otherwise: a sample per 128 KiB, a dump at the end.
pub(super) const DEFAULT_CONF: &str = "prof:true,lg_prof_sample:17,prof_final:true";
/// The clock may be set a little back while the program starts.
const START_NS: u128 = 1_000_000_000;
/// Longest report: thousands of paths.
const MOST_REPORT: u64 = 16 << 20;
/// Dump paths listed at the end.
const LISTED: usize = 8;

/// Start a program under the tap
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// MALLOC_CONF for the program [default: prof:true,lg_prof_sample:17,prof_final:true]
    #[arg(long, value_name = "CONF")]
    conf: Option<String>,

    /// The library to preload [default: $HEAPTAP_LIB, else libheaptap.so beside this program]
    #[arg(long, value_name = "PATH")]
    lib: Option<PathBuf>,

    /// Become the program instead of waiting for it: it keeps this pid, and nothing is said at its end. So it is
    /// wherever NOTIFY_SOCKET is set: a service of systemd's Type=notify must be ready by itself
    #[arg(long)]
    exec: bool,

    /// At the program's end, add one line with the verdict to this file [default: /dev/termination-log, where there is
    /// one, if the program was killed or leaks]
    #[arg(long, value_name = "FILE", conflicts_with = "exec")]
    verdict: Option<PathBuf>,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the command; its exit status becomes ours.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let tap = program::find_tap(arguments.lib.as_deref())?;
    let name = arguments.command.first().context("no program given")?;
    let path = program::resolve(name)?;
    program::check(&tap, &path)?;
    program::lacks(&path).into_iter().for_each(|lacks| say(&lacks));
    let conf = conf(arguments.conf.as_deref());
    if arguments.exec || std::env::var_os("NOTIFY_SOCKET").is_some() {
        let environment = environment(&tap, &conf, None);
        let never = child::become_program(&path, &arguments.command, &environment, "HEAPTAP_RUN_PID")?;
        match never {}
    }
    let report = ReportFile::new()?;
    let environment = environment(&tap, &conf, Some(&report.path));
    let log = TerminationLog::new(arguments.verdict.as_deref());
    let (began, kills) = (SystemTime::now(), memory::kills(std::process::id()));
    let (pid, end) = child::run(&path, &arguments.command, &environment, "HEAPTAP_RUN_PID")?;
    let mut dumps = report.read();
    dumps.extend(recovered(pid, &report.path, began));
    if dumps.is_empty() {
        dumps = dumps_since(&conf, began);
    }
    tell(&path, pid, end, &dumps);
    if let Some(log) = log.filter(|log| log.is_asked_for() || !dumps.is_empty()) {
        let is_for_memory = kills.zip(memory::kills(std::process::id())).is_some_and(|(before, now)| now > before);
        log.write(&dumps, &how(end, is_for_memory), end == End::Exited(0));
    }
    Ok(ExitCode::from(end.status()))
}

/// The final dumps of those of its processes that could not write them, written now.
fn recovered(pid: u32, report: &Path, began: SystemTime) -> Vec<PathBuf> {
    let is_ours = |found: &Found| {
        let Ok(snapshot) = region::snapshot(found) else { return false };
        let since = began.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let is_child = found.pid == pid && u128::from(snapshot.start_wall_ns) + START_NS >= since;
        let Ok(claim) = discovery::claim(found) else { return false };
        is_child || (claim.terms().run.as_deref() == Some(report) && is_worth(&claim, &snapshot))
    };
    let left = discovery::all(&[]).into_iter().filter(|found| found.is_dead() && is_ours(found));
    left.filter_map(|found| {
        let dump = recover::recover(&found, None, false);
        dump.inspect_err(|error| say(&format!("{error:#}"))).ok()
    })
    .collect()
}

/// `--conf`, or the default with what the environment already asks for behind it (later wins).
fn conf(given: Option<&str>) -> String {
    match (given, std::env::var("MALLOC_CONF")) {
        (Some(given), _) => given.to_owned(),
        (None, Ok(present)) if !present.trim().is_empty() => format!("{DEFAULT_CONF},{present}"),
        (None, _) => DEFAULT_CONF.to_owned(),
    }
}

/// Our environment with the tap in front of all other preloads.
fn environment(tap: &Path, conf: &str, report: Option<&Path>) -> Vec<(OsString, OsString)> {
    let ours = ["LD_PRELOAD", "MALLOC_CONF", "HEAPTAP_RUN_REPORT", "HEAPTAP_RUN_PID"];
    let mut environment: Vec<(OsString, OsString)> =
        std::env::vars_os().filter(|(key, _)| !ours.iter().any(|name| key == name)).collect();
    let mut preload = tap.as_os_str().to_owned();
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        preload.push(":");
        preload.push(others);
    }
    environment.push(("LD_PRELOAD".into(), preload));
    if std::env::var_os("LD_AUDIT").is_some() && std::env::var_os("GLIBC_TUNABLES").is_none() {
        // Under an auditing library the loader has no room for a preload's static TLS unless told before.
        environment.push(("GLIBC_TUNABLES".into(), "glibc.rtld.optional_static_tls=4096".into()));
    }
    environment.push(("MALLOC_CONF".into(), conf.into()));
    environment.extend(report.map(|report| ("HEAPTAP_RUN_REPORT".into(), report.into())));
    environment
}

/// The file that tapped processes append to, in a folder of its own; both are removed when dropped.
///
/// A program that root starts usually goes on as somebody else, who must be able to append: then the file is open to
/// all who know its name, which only the run's own processes do. Nobody but root can list the folder.
struct ReportFile {
    folder: PathBuf,
    path: PathBuf,
}

impl ReportFile {
    fn new() -> Result<ReportFile> {
        let (folder_mode, mode) = if open::reader() == 0 { (0o711, 0o622) } else { (0o700, 0o600) };
        let folder = std::env::temp_dir().join(format!("heaptap-run-{}-{}", std::process::id(), secret(1)));
        let path = folder.join(format!("{}{}", secret(2), secret(3)));
        DirBuilder::new().mode(0o700).create(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let report = ReportFile { folder, path };
        let file = whole_file::replace(&report.path, &mut |_| Ok(()));
        let file = file.with_context(|| format!("cannot create {}", report.path.display()))?;
        file.set_permissions(Permissions::from_mode(mode))?;
        std::fs::set_permissions(&report.folder, Permissions::from_mode(folder_mode))?;
        Ok(report)
    }

    /// The dumps named in it that exist, each once.
    fn read(&self) -> Vec<PathBuf> {
        let text = open::named(&self.path).and_then(|file| open::bytes(&file, MOST_REPORT)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let paths: BTreeSet<PathBuf> = text.lines().map(PathBuf::from).filter(|path| path.is_absolute()).collect();
        let is_file = |path: &PathBuf| path.symlink_metadata().is_ok_and(|meta| meta.is_file());
        in_order(paths.into_iter().filter(is_file).collect())
    }
}

impl Drop for ReportFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// 64 bits that nobody can guess: std keys its hash maps from the kernel's random numbers.
fn secret(number: u64) -> String {
    format!("{:016x}", RandomState::new().hash_one(number))
}

/// What a stock allocator (`--lib libjemalloc.so`) left: dumps younger than our start.
fn dumps_since(conf: &str, began: SystemTime) -> Vec<PathBuf> {
    let prefix =
        conf.split(',').filter_map(|pair| pair.trim().strip_prefix("prof_prefix:")).next_back().unwrap_or("jeprof");
    let here = std::env::current_dir().unwrap_or_default();
    let directory = here.join(prefix).parent().map_or_else(|| here.clone(), Path::to_owned);
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let is_ours = |path: &PathBuf| {
        let is_new = path.metadata().and_then(|meta| meta.modified()).is_ok_and(|time| time >= began);
        is_new && DumpName::parse(path).is_some_and(|name| name.prefix == here.join(prefix))
    };
    in_order(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_ours).collect())
}

/// By process and number.
fn in_order(mut dumps: Vec<PathBuf>) -> Vec<PathBuf> {
    dumps.sort_by_cached_key(|path| {
        let name = DumpName::parse(path);
        (name.as_ref().map(|name| (name.prefix.clone(), name.pid, name.seq)), path.clone())
    });
    dumps
}

/// The last words, on stderr.
fn tell(program: &Path, pid: u32, end: End, dumps: &[PathBuf]) {
    let name = program.file_name().map_or(String::new(), |name| clean(&name.to_string_lossy()));
    let how = how(end, false);
    if dumps.is_empty() {
        say(&format!("{name} (pid {pid}) {how} and left no dump."));
        say(why_none(end));
        return;
    }
    let count = if dumps.len() == 1 { "One dump".to_owned() } else { format!("{} dumps", dumps.len()) };
    let mut list: String =
        dumps.iter().take(LISTED).map(|path| format!("\n  {}", clean(&path.to_string_lossy()))).collect();
    if dumps.len() > LISTED {
        list += &format!("\n  and {} more", dumps.len() - LISTED);
    }
    say(&format!("{name} (pid {pid}) {how}. {count}:{list}"));
    say(&format!("read them with\n  heaptap report {}", patterns(dumps).join(" ")));
}

/// How it ended, in words.
fn how(end: End, is_for_memory: bool) -> String {
    match end {
        End::Exited(0) => "ended".to_owned(),
        End::Exited(status) => format!("ended with status {status}"),
        End::Killed(9) if is_for_memory => "was killed for want of memory (oom_kill of its control group)".to_owned(),
        End::Killed(signal) => format!("was killed by signal {signal}"),
    }
}

fn why_none(end: End) -> &'static str {
    match end {
        End::Killed(9) => {
            "It was killed before it sampled anything, or there is no tmpfs at /dev/shm that keeps what it had: have dumps \
             written meanwhile, --conf …,prof_dump_seconds:60"
        }
        _ => {
            "A dump at the end needs prof:true and prof_final:true in --conf, and a directory that the program may write to"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_preload_stands_first_and_our_keys_once() {
        let environment = environment(Path::new("/t.so"), "prof:true", Some(Path::new("/r")));
        let preload: Vec<_> = environment.iter().filter(|(key, _)| key == "LD_PRELOAD").collect();
        assert_eq!(preload.len(), 1);
        assert!(preload[0].1.to_str().unwrap().starts_with("/t.so"));
    }

    #[test]
    fn dumps_are_listed_by_number_not_by_text() {
        let paths = ["/x.7.10.f.heap", "/x.7.9.i9.heap", "/x.7.0.i0.heap"].map(PathBuf::from).to_vec();
        assert_eq!(in_order(paths), ["/x.7.0.i0.heap", "/x.7.9.i9.heap", "/x.7.10.f.heap"].map(PathBuf::from));
    }
}
