//! Programs under a tap whose readers of foreign memory lie (`scripts/build --faults`): stacks, unwind tables, a Java
//! virtual machine's tables and objects, and what the kernel copies hold bad values at several rates. Profiles are
//! wrong then; no program may crash, hang, or print anything else, and the command line reads what came out.

mod support;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::java::{UNTABLED, built, jvms};
use support::{Folder, Outcome, Subject, cli, skip};

/// Every allocation's stack is walked; each process leaves a dump.
const EVERYTHING: &str =
    "prof:true,lg_prof_sample:0,prof_final:true,prof_min_seconds:0,prof_min_bytes:0,prof_bt_max:512";
/// Percent of what is read that is bad.
const RATES: [&str; 4] = ["0.01", "0.1", "1", "10"];
/// None of the programs takes 3 s without faults on an idle machine; this is a bound for hangs.
const DEADLINE: Duration = Duration::from_secs(600);
/// Native programs with stacks of all kinds: threads, foreign stacks, signals, unloaded libraries, exceptions.
const NATIVE: &[&str] = &[
    "ucontext.c",
    "altstack.c",
    "signal_storm.c",
    "deep_stack.c",
    "bad_frame_pointer.c",
    "neighbour_stacks.c",
    "unloads.c",
    "jit_frame.c",
    "thread_churn.c",
    "throw_race.cpp",
    "fork_mt.c",
];

/// The library with faults, where it was built.
fn library() -> Option<PathBuf> {
    let named = env::var_os("HEAPTAP_FAULTS_LIB").map(PathBuf::from).filter(|library| library.is_file());
    if named.is_none() {
        skip("HEAPTAP_FAULTS_LIB names no library (scripts/build --faults)");
    }
    named
}

/// Runs it at these rates, as it runs without the tap.
fn check(subject: &Subject, library: &Path, plain: &Outcome, seed: usize, rates: &[&str]) {
    for &rate in rates {
        let faults = format!("{rate}:{seed}");
        let outcome = subject.clone().env("HEAPTAP_FAULTS", &faults).deadline(DEADLINE).run_under(library, EVERYTHING);
        let how = format!("{subject:?} with HEAPTAP_FAULTS={faults}");
        assert_eq!(outcome.status, plain.status, "{how}: {}{}", outcome.stdout, outcome.stderr);
        assert_eq!(outcome.stdout, plain.stdout, "{how}: {}", outcome.stderr);
        let ours = |line: &&str| line.starts_with("heaptap: ");
        let said: Vec<&str> = outcome.stderr.lines().filter(|line| !ours(line)).collect();
        assert_eq!(said.join("\n"), plain.stderr.trim_end(), "{how}");
        let dump = outcome.dumps.last().unwrap_or_else(|| panic!("{how} leaves no dump: {}", outcome.stderr));
        let text = std::fs::read(&dump.path).expect("a dump can be read");
        let text = String::from_utf8_lossy(&text);
        let injected = text.lines().find_map(|line| line.strip_prefix("# faults: ").map(str::to_owned));
        let injected: u64 = injected.and_then(|count| count.parse().ok()).expect("this is not the library with faults");
        assert!(injected > 0 || rate != "10", "{how}: nothing was bad");
        let report = Command::new(cli()).arg("report").arg(&dump.path).output().expect("the command line starts");
        assert!(report.status.success(), "{how}: {}", String::from_utf8_lossy(&report.stderr));
    }
}

#[test]
fn native_programs_run_the_same_while_the_readers_lie() {
    native(|seed| vec![RATES[seed % 2], RATES[2 + seed % 2]]);
}

#[test]
#[ignore = "each program at each rate: scripts/test --full"]
fn native_programs_run_the_same_at_every_rate() {
    native(|_| RATES.to_vec());
}

#[test]
fn java_runs_the_same_while_the_readers_lie() {
    java(|number| vec![RATES[number % 4]]);
}

#[test]
#[ignore = "each program at each rate: scripts/test --full"]
fn java_runs_the_same_at_every_rate() {
    java(|_| RATES.to_vec());
}

/// Runs each native program at the rates that its number has.
fn native(rates: impl Fn(usize) -> Vec<&'static str>) {
    let Some(library) = library() else { return };
    let build = Folder::new("faults");
    let plugin = build.path().join("plugin.so");
    compile("plugin.c", &plugin, &["-shared", "-fPIC"]);
    for (seed, source) in NATIVE.iter().enumerate() {
        let program = build.path().join(source.replace('.', "-"));
        compile(source, &program, &[&format!("-DPLUGIN=\"{}\"", plugin.display())]);
        let subject = Subject::new(&program);
        let plain = subject.run_plain();
        if plain.status.code() == Some(77) {
            continue;
        }
        check(&subject, &library, &plain, seed, &rates(seed));
    }
}

/// Runs each Java program on each machine, at the rates that this pair's number has: no machine has one rate only, and
/// no program.
fn java(rates: impl Fn(usize) -> Vec<&'static str>) {
    let Some(library) = library() else { return };
    let Some(build) = built("Leaks", "untabled", UNTABLED) else { return };
    let home = build.path().display();
    for class in ["ClassChurn", "Barriers"] {
        support::java::compile_class(class, &build);
    }
    let (class_path, path) = (home.to_string(), format!("-Djava.library.path={home}"));
    let programs: [&[&str]; 3] = [&["ClassChurn", "3", "100", "50"], &["Barriers"], &["Leaks"]];
    for (seed, jvm) in jvms().into_iter().enumerate() {
        for (number, program) in programs.iter().enumerate() {
            let subject = jvm.run(["-cp", &class_path, &path]).args(*program);
            let plain = subject.run_plain();
            check(&subject, &library, &plain, seed, &rates(seed + number));
        }
    }
}

/// Builds a program of `tests/host/`.
fn compile(source: &str, output: &Path, arguments: &[&str]) {
    let compiler = if source.ends_with(".c") { "gcc" } else { "g++" };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host").join(source);
    let mut command = Command::new(compiler);
    command.args(["-O1", "-g", "-pthread", "-fno-builtin", "-w", "-o"]).arg(output).arg(file).args(arguments);
    let result = command.args(["-ldl", "-lm"]).env_remove("LD_PRELOAD").output().expect("the compiler starts");
    assert!(result.status.success(), "{source}: {}", String::from_utf8_lossy(&result.stderr));
}
