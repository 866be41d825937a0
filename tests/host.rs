//! Host safety: no program notices the tap. One small program per hazard (`tests/host/`), each run without the
//! tap first (only what passes there counts), then under the tap as users run it, then so that it counts as long-lived
//! from its first sample (a keeper runs, and a final dump is written), then with everything on: every allocation
//! sampled, a dump every 64 KiB, dumps of the shortest process.
//!
//! The table of what ran goes to stderr past the test harness. `HOST_ONLY=a,b` runs only these hazards.

mod support;

use std::any::Any;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, panic, thread};

use support::{Folder, HeapV2, Outcome, Subject, needs};

/// The string of a usual configuration.
const DEFAULT: &str = "prof:true,lg_prof_interval:30,lg_prof_sample:17,prof_final:true";
/// The same for a process that counts as long-lived from its first sample: most of the programs are over before the
/// usual bounds are reached.
const LONG_LIVED: &str = "prof:true,lg_prof_interval:30,lg_prof_sample:17,prof_final:true,prof_min_seconds:0";
/// Everything on.
const EVERYTHING: &str =
    "prof:true,lg_prof_sample:0,prof_final:true,lg_prof_interval:16,prof_min_seconds:0,prof_min_bytes:0";
/// The program's own allocator serves what is not sampled.
const KEEP: &str = "prof_allocator:keep";
/// A program that says "not possible here" ends so.
const NOT_POSSIBLE: i32 = 77;
/// What is said of a program that fails without the tap, too.
const FAILS_ALONE: &str = "it fails without the tap";
/// None of the programs takes 2 s on an idle machine; this is a bound for hangs.
const DEADLINE: Duration = Duration::from_secs(300);

/// A program of `tests/host/`.
struct Hazard {
    /// Its file, without the ending `.c` or `.cpp`.
    name: &'static str,
    /// More arguments for the compiler; `{}` is the folder of what was built.
    build: &'static [&'static str],
    /// Whether a final dump of the process must be there with everything on.
    leaves_a_dump: bool,
}

const fn hazard(name: &'static str) -> Hazard {
    Hazard { name, build: &[], leaves_a_dump: true }
}

/// Linked to Debian's libjemalloc.
const JEMALLOC: &[&str] = &["-l:libjemalloc.so.2"];

const HAZARDS: &[Hazard] = &[
    hazard("api"),
    hazard("contracts"),
    Hazard { build: JEMALLOC, ..hazard("jecontracts") },
    hazard("errno_free"),
    hazard("aliases"),
    hazard("info"),
    hazard("libc_results"),
    hazard("cpp"),
    hazard("fork_stdio"),
    hazard("fork_mt"),
    hazard("atfork_alloc"),
    hazard("cancel"),
    // No dump is as small as the limit on files.
    Hazard { leaves_a_dump: false, ..hazard("fsize") },
    hazard("throw_race"),
    hazard("deepbind"),
    Hazard { build: &["-Wl,--enable-new-dtags,-rpath,$ORIGIN/below"], ..hazard("origin_rpath") },
    hazard("sigwait"),
    hazard("main_pthread_exit"),
    hazard("unshare_user"),
    // The user that it becomes may not write into the folder of dumps.
    Hazard { leaves_a_dump: false, ..hazard("setuid_all_threads") },
    Hazard { leaves_a_dump: false, ..hazard("keepcaps") },
    hazard("low_fds"),
    hazard("closed_stdio"),
    hazard("close_all"),
    hazard("exec_fds"),
    // Under a filter nothing can be written.
    Hazard { leaves_a_dump: false, ..hazard("seccomp_thread") },
    Hazard { leaves_a_dump: false, ..hazard("seccomp_tsync") },
    Hazard { leaves_a_dump: false, ..hazard("denied_syscalls") },
    hazard("sandboxed_from_birth"),
    hazard("sandboxes"),
    hazard("bad_cfi"),
    hazard("bad_frame_pointer"),
    hazard("foreign_frame_pointer"),
    hazard("jit_frame"),
    hazard("daemonize"),
    hazard("cwd_gone"),
    hazard("exit_in_handler"),
    hazard("exit_race"),
    hazard("small_stack"),
    hazard("altstack"),
    hazard("deep_stack"),
    hazard("ucontext"),
    hazard("signal_storm"),
    hazard("sigprof_backtrace"),
    hazard("tls_dtors"),
    hazard("thread_churn"),
    hazard("thread_place"),
    Hazard { build: &["-rdynamic"], ..hazard("c11_threads") },
    hazard("static_tls"),
    hazard("vfork_spawn"),
    hazard("raw_clone"),
    hazard("fork_chain"),
    hazard("mapping_storm"),
    hazard("mapping_places"),
    hazard("rlimit_as"),
    hazard("rlimit_as_later"),
    // No descriptor is left for a dump.
    Hazard { leaves_a_dump: false, ..hazard("nofile") },
    hazard("dlmopen"),
    hazard("stacked_preload"),
    Hazard { build: JEMALLOC, ..hazard("jelinked") },
    // It gives its dumps another prefix.
    Hazard { leaves_a_dump: false, ..hazard("mallctl") },
    Hazard { leaves_a_dump: false, ..hazard("own_malloc") },
    hazard("preinit"),
    hazard("siglongjmp"),
    hazard("mlockall"),
    hazard("mlockall_limits"),
    hazard("unloads"),
    hazard("audited"),
    hazard("setns"),
    hazard("broken_pipe"),
    hazard("sigev_thread"),
    hazard("thread_ends"),
    hazard("fork_in_thread"),
    hazard("raw_thread_exit"),
    hazard("gives_way"),
    hazard("real_time_starter"),
    hazard("hooked"),
    hazard("jemallocs_own_conf"),
    hazard("exit_in_loader"),
    hazard("exit_twice"),
    hazard("stderr_full"),
    Hazard { build: &["-Wl,-z,now"], ..hazard("stack_use") },
    hazard("cancel_inside"),
    hazard("cancelled_anywhere"),
    hazard("wild_pointers"),
    hazard("seccomp_refused"),
    hazard("unloaded_guess"),
    hazard("neighbour_stacks"),
    hazard("copies_are_deadly"),
    // What the address space costs.
    hazard("limit_pointers"),
    hazard("lock_resident"),
    hazard("resets"),
    hazard("regrow"),
    hazard("resizes"),
    hazard("classes"),
    hazard("failed_requests"),
    hazard("zero_realloc"),
    hazard("detached_workers"),
    hazard("late_free"),
    Hazard { build: JEMALLOC, ..hazard("all_arenas") },
    // It gives up the user that could write into the folder of dumps.
    Hazard { leaves_a_dump: false, ..hazard("other_users") },
];

/// Hazards that say nothing about programs of musl, and why.
const NOT_OF_MUSL: &[(&str, &str)] = &[
    ("fork_stdio", "it hangs under jemalloc alone, too (six of six runs): see src/tap/lifecycle/fork.rs"),
    ("real_time_starter", "musl has no sched_getscheduler"),
    ("lock_resident", "the bound is for glibc"),
];

/// Hazards that wait for ever in musl 1.2.3 without the tap, which mends it (`os/exit_word.rs`).
const MENDED: &[&str] = &["thread_ends"];

/// What came of one hazard.
enum Verdict {
    Passed,
    NotPossible(String),
    Failed(String),
}

#[test]
fn no_program_notices_the_tap() {
    let build = Folder::new("host-build");
    libraries(build.path());
    let only = std::env::var("HOST_ONLY").unwrap_or_default();
    let wanted = |hazard: &&Hazard| only.is_empty() || only.split(',').any(|name| name == hazard.name);
    let hazards: Vec<&Hazard> = HAZARDS.iter().filter(wanted).collect();
    let results: Mutex<Vec<(&str, Verdict, Duration)>> = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(hazard) = hazards.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = Instant::now();
                    let verdict = try_out(hazard, build.path());
                    results.lock().unwrap().push((hazard.name, verdict, start.elapsed()));
                }
            });
        }
    });
    report(results.into_inner().unwrap());
}

/// The same programs, as far as musl has what they use.
#[test]
fn no_program_of_musl_notices_the_tap() {
    if !needs("musl-gcc") {
        return;
    }
    let build = Folder::new("host-musl");
    libraries_by(MUSL, build.path());
    let only = std::env::var("HOST_ONLY").unwrap_or_default();
    let mut passed = 0;
    let mut failures = String::new();
    for hazard in HAZARDS {
        let is_wanted = only.is_empty() || only.split(',').any(|name| name == hazard.name);
        if !is_wanted || NOT_OF_MUSL.iter().any(|(name, _)| *name == hazard.name) {
            continue;
        }
        // What does not compile, or fails without the tap, wants another libc.
        let Ok(program) = compile_by(MUSL, hazard, build.path()) else { continue };
        let verdict = if MENDED.contains(&hazard.name) {
            let right = Subject::new(compile(hazard, build.path())).deadline(DEADLINE).run_plain();
            // The compilers' outputs have one name.
            compile_by(MUSL, hazard, build.path()).unwrap();
            compared(hazard, &Subject::new(&program).deadline(DEADLINE), &right)
        } else {
            try_program(hazard, &program)
        };
        match verdict {
            Verdict::Passed => passed += 1,
            Verdict::Failed(why) if why.starts_with(FAILS_ALONE) => {}
            Verdict::Failed(why) => failures += &format!("{}: {why}\n", hazard.name),
            Verdict::NotPossible(_) => {}
        }
    }
    let _ = writeln!(io::stderr(), "{passed} programs of musl notice nothing");
    assert!(failures.is_empty(), "\n{failures}");
    assert!(passed >= 60 || !only.is_empty(), "{passed} of {} hazards ran", HAZARDS.len());
}

/// jemalloc's boot starts a thread, whose making allocates, from the first call that ever comes: a constructor's, a
/// constructor's of the program, or none but the thread's own.
#[test]
fn jemallocs_background_threads_start_and_end() {
    let build = Folder::new("host-background");
    libraries(build.path());
    for name in ["aliases", "preinit", "fork_chain", "hooked"] {
        let hazard = HAZARDS.iter().find(|hazard| hazard.name == name).expect("in the table");
        let subject = Subject::new(compile(hazard, build.path())).deadline(DEADLINE);
        let plain = subject.run_plain();
        for conf in [DEFAULT, EVERYTHING, "prof:false"] {
            check(&subject.run_tapped(&format!("{conf},background_thread:true")), &plain, name);
        }
    }
    let quiet = Subject::new("true").deadline(DEADLINE);
    check(&quiet.run_tapped(&format!("{DEFAULT},background_thread:true")), &quiet.run_plain(), "true");
}

/// Other people's preloads that stand in front of libc, before and behind the tap.
#[test]
fn nothing_changes_beside_other_preloads() {
    let build = Folder::new("host-beside");
    libraries(build.path());
    let program = compile(&hazard("hooked"), build.path());
    let triplet = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    for library in ["faketime/libfaketime.so.1", "fakechroot/libfakechroot.so", "libeatmydata.so"] {
        let path = Path::new(&triplet).join(library);
        if !path.is_file() {
            let _ = writeln!(io::stderr(), "skipped: {} is not installed", path.display());
            continue;
        }
        let subject = Subject::new(&program).env("OTHER_PRELOAD", path).env("FAKETIME", "-15d").deadline(DEADLINE);
        let plain = subject.run_plain();
        for conf in [DEFAULT, EVERYTHING] {
            check(&subject.run_tapped(conf), &plain, library);
        }
    }
}

/// RTLD_DEEPBIND is taken off, and with it the libc's malloc that nobody asked for; but not where it is asked for.
#[test]
fn deepbind_is_taken_off_unless_it_shall_stay() {
    let build = Folder::new("host-deepbind");
    libraries(build.path());
    let subject = Subject::new(compile(&hazard("deepbound"), build.path()));
    for conf in ["prof:false", DEFAULT] {
        assert_eq!(subject.run_tapped(conf).stdout, "the process's\n");
        assert_eq!(subject.run_tapped(&format!("{conf},prof_deepbind:true")).stdout, "libc's\n");
    }
    assert_eq!(subject.run_plain().stdout, "the process's\n");
}

/// The bound on dumps, and the line that says what is profiled, are the process's: a keeper that gave way hands them
/// on.
#[test]
fn what_a_keeper_knows_outlives_it() {
    let build = Folder::new("host-keepers");
    let subject = Subject::new(compile(&hazard("gives_way"), build.path())).deadline(DEADLINE);
    let conf = "prof:true,lg_prof_sample:17,prof_final:false,lg_prof_interval:22,prof_max_dumps:3";
    let outcome = subject.run_tapped(conf);
    assert_eq!(outcome.stdout, "ok\n", "{}", outcome.stderr);
    let own: Vec<u64> = outcome.dumps.iter().filter(|dump| dump.pid == outcome.pid).map(|dump| dump.seq).collect();
    assert!((1..=3).contains(&own.len()) && own.iter().any(|&seq| seq >= 5), "dumps {own:?}");
    let told = format!("heaptap: profiling pid {} ", outcome.pid);
    assert_eq!(outcome.stderr.matches(&told).count(), 1, "{}", outcome.stderr);
}

/// A filter that the kernel refuses: what the program allocates afterwards is seen, and nobody says that profiling
/// stops.
#[test]
fn a_refused_filter_leaves_profiling_as_it_was() {
    let build = Folder::new("host-refused");
    let subject = Subject::new(compile(&hazard("seccomp_refused"), build.path())).deadline(DEADLINE);
    let outcome = subject.run_tapped(EVERYTHING);
    assert!(outcome.status.success() && !outcome.stderr.contains("profiling stops"), "{}", outcome.stderr);
    let dump = outcome.final_dump().expect("a dump at the end").text();
    let (_, bytes) = HeapV2::parse(&dump).expect("a whole dump").total;
    assert!(bytes >= 300 * 4000, "{bytes} bytes are live in the last dump");
}

/// Prints the table and fails if a hazard did.
fn report(mut results: Vec<(&str, Verdict, Duration)>) {
    results.sort_by_key(|(name, ..)| HAZARDS.iter().position(|hazard| hazard.name == *name));
    let mut table = String::new();
    let mut failures = String::new();
    for (name, verdict, time) in &results {
        let word = match verdict {
            Verdict::Passed => "plain, default, long-lived, everything, keep: ok".to_owned(),
            Verdict::NotPossible(why) => format!("skipped: {why}"),
            Verdict::Failed(why) => {
                failures += &format!("{name}: {why}\n");
                "FAILED".to_owned()
            }
        };
        table += &format!("  {name:22} {:6.1} s  {word}\n", time.as_secs_f64());
    }
    let _ = io::stderr().write_all(format!("\nhazards, each as five runs:\n{table}").as_bytes());
    assert!(failures.is_empty(), "\n{failures}");
}

/// Compiles a hazard and runs it five times.
fn try_out(hazard: &Hazard, build: &Path) -> Verdict {
    match panic::catch_unwind(|| compile(hazard, build)) {
        Ok(program) => try_program(hazard, &program),
        Err(payload) => failed(payload),
    }
}

/// Runs a compiled hazard five times.
fn try_program(hazard: &Hazard, program: &Path) -> Verdict {
    let checked = panic::catch_unwind(|| {
        let subject = Subject::new(program).deadline(DEADLINE);
        let plain = subject.run_plain();
        if plain.status.code() == Some(NOT_POSSIBLE) {
            return Verdict::NotPossible(plain.stdout.trim().to_owned());
        }
        assert!(plain.status.success(), "{FAILS_ALONE}: {} {}{}", plain.status, plain.stdout, plain.stderr);
        compared(hazard, &subject, &plain)
    });
    checked.unwrap_or_else(failed)
}

/// Runs a hazard four times under the tap, and compares with what is right.
fn compared(hazard: &Hazard, subject: &Subject, right: &Outcome) -> Verdict {
    let checked = panic::catch_unwind(|| {
        check(&subject.run_tapped(DEFAULT), right, "as users run it");
        check(&subject.run_tapped(LONG_LIVED), right, "as users run it, long-lived");
        check_everything(hazard, &subject.run_tapped(EVERYTHING), right);
        check_everything(hazard, &subject.run_tapped(&format!("{EVERYTHING},{KEEP}")), right);
        Verdict::Passed
    });
    checked.unwrap_or_else(failed)
}

fn failed(payload: Box<dyn Any + Send>) -> Verdict {
    let text = payload.downcast_ref::<String>().cloned();
    Verdict::Failed(text.unwrap_or_else(|| "panicked".to_owned()))
}

/// With everything on the program is the same, and its dumps are sound.
fn check_everything(hazard: &Hazard, outcome: &Outcome, plain: &Outcome) {
    check(outcome, plain, "with everything on");
    // A libjemalloc that the program is linked to reads the same options, and would write under the same names.
    let foreign = outcome.dumps.iter().find(|dump| !dump.text().contains("\n# heaptap 1\n"));
    assert!(foreign.is_none(), "not ours: {foreign:?}");
    assert!(!hazard.leaves_a_dump || outcome.final_dump().is_some(), "no final dump; stderr: {}", outcome.stderr);
    let last = outcome.dumps.len().saturating_sub(3);
    for (_, dump) in outcome.dumps.iter().enumerate().filter(|(number, _)| *number < 2 || *number >= last) {
        let text = dump.text();
        HeapV2::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", dump.path.display()));
    }
}

/// Status and streams are those of the plain run, but for lines of ours, and of a libjemalloc that the program
/// brings along and that does not know our options.
fn check(outcome: &Outcome, plain: &Outcome, how: &str) {
    assert_eq!(outcome.status, plain.status, "{how}: {}{}", outcome.stdout, outcome.stderr);
    assert_eq!(outcome.stdout, plain.stdout, "stdout {how}; stderr was: {}", outcome.stderr);
    let ours = |line: &&str| line.starts_with("heaptap: ") || line.starts_with("<jemalloc>: Invalid conf pair: ");
    let strange: Vec<&str> = outcome.stderr.lines().filter(|line| !ours(line)).collect();
    assert_eq!(strange.join("\n"), plain.stderr.trim_end(), "stderr {how}");
}

/// The libraries that some programs open.
fn libraries(build: &Path) {
    libraries_by(GLIBC, build);
    gcc("gcc", &[&source("audit.c")], &build.join("plugin.so.audit.so"), &["-shared", "-fPIC"]).unwrap();
}

/// Those that every libc has what is needed for.
fn libraries_by(compiler: Compiler, build: &Path) {
    let below = build.join("below");
    let library = |file: &str, output: PathBuf| {
        let mut arguments = vec!["-shared", "-fPIC"];
        arguments.extend(compiler.more);
        gcc(compiler.c, &[&source(file)], &output, &arguments).unwrap();
    };
    fs::create_dir_all(&below).expect("the folder of builds is writable");
    library("plugin.c", build.join("plugin.so"));
    library("tls_library.c", build.join("plugin.so.tls.so"));
    library("stacked.c", build.join("plugin.so.stacked.so"));
    library("waits.c", build.join("plugin.so.waits.so"));
    library("hooks.c", build.join("plugin.so.hooks.so"));
    library("plugin.c", below.join("libhidden.so"));
}

fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host").join(file)
}

/// A compiler of C, one of C++ where there is one, and what the linker is told.
#[derive(Clone, Copy)]
struct Compiler {
    c: &'static str,
    cpp: Option<&'static str>,
    more: &'static [&'static str],
}

const GLIBC: Compiler = Compiler { c: "gcc", cpp: Some("g++"), more: &[] };
/// Debian's wrapper forgets the table of unwind tables, which compilers for musl make by default.
const MUSL: Compiler = Compiler { c: "musl-gcc", cpp: None, more: &["-Wl,--eh-frame-hdr"] };

/// Compiles a hazard's program.
fn compile(hazard: &Hazard, build: &Path) -> PathBuf {
    compile_by(GLIBC, hazard, build).unwrap_or_else(|error| panic!("{error}"))
}

/// The same by a compiler; what it says if it does not.
fn compile_by(compiler: Compiler, hazard: &Hazard, build: &Path) -> Result<PathBuf, String> {
    let program = build.join(hazard.name);
    let c = source(&format!("{}.c", hazard.name));
    let cpp = source(&format!("{}.cpp", hazard.name));
    let plugin = format!("-DPLUGIN=\"{}\"", build.join("plugin.so").display());
    let mut arguments = vec![plugin.as_str()];
    arguments.extend(hazard.build);
    arguments.extend(compiler.more);
    if c.is_file() {
        gcc(compiler.c, &[&c], &program, &arguments)?;
    } else {
        arguments.push("-std=c++17");
        gcc(compiler.cpp.ok_or("no compiler of C++")?, &[&cpp], &program, &arguments)?;
    }
    Ok(program)
}

/// Runs a compiler, untapped, without builtins: each call in the source is one in the program.
fn gcc(compiler: &str, sources: &[&Path], output: &Path, arguments: &[&str]) -> Result<(), String> {
    let result = Command::new(compiler)
        .args(["-O1", "-g", "-pthread", "-fno-builtin", "-w", "-o"])
        .arg(output)
        .args(sources)
        .args(arguments)
        .args(["-ldl", "-lm"])
        .env_remove("LD_PRELOAD")
        .output()
        .unwrap_or_else(|error| panic!("starting {compiler}: {error}"));
    if result.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", output.display(), String::from_utf8_lossy(&result.stderr)))
}
