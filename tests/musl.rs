//! Programs of musl under the same library: its loader starts them, also as children of a tapped glibc shell; samples,
//! dumps, the live region and stacks are as for glibc. A JVM and a Python for musl are run where `HEAPTAP_TEST_MUSL`
//! names the folder that has them (`python3 -m trial.musl` in `scripts/lib`; `scripts/test` fetches them).

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use support::java::{Jvm, UNTABLED, built, compile_classes};
use support::java_dump::run_java_under;
use support::{
    EVERY_ALLOCATION, Folder, HOWEVER_SHORT, HeapV2, Outcome, Subject, cli, library, needs, skip, under_tap,
    wait_or_kill,
};

/// What `tests/programs/musl_leak.c` leaves: four threads' blocks in the first process.
const LEAKED: f64 = 4.0 * 1000.0 * 4096.0;
const CONF: &str = "prof:true,lg_prof_sample:12,prof_final:true";

/// The compiled program; `None`: no compiler for musl here.
fn program(folder: &Folder) -> Option<PathBuf> {
    if !needs("musl-gcc") {
        return None;
    }
    let program = folder.path().join("musl_leak");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/musl_leak.c");
    // Debian's wrapper forgets the table of unwind tables, which compilers for musl make by default.
    let arguments = ["-O2", "-g", "-pthread", "-fno-builtin", "-w", "-Wl,--eh-frame-hdr", "-o"];
    let mut compiler = Command::new("musl-gcc");
    compiler.args(arguments).arg(&program).arg(source).env_remove("LD_PRELOAD");
    assert!(compiler.status().unwrap().success());
    Some(program)
}

fn heaptap(arguments: &[&str], more: impl AsRef<std::ffi::OsStr>) -> Output {
    let mut command = Command::new(cli());
    command.args(arguments).arg(more).env("COLUMNS", "100").env_remove("LD_PRELOAD").output().unwrap()
}

/// Bytes below each function, and the share of stacks that lead to the root.
fn judge(outcome: &Outcome, pid: u32, expected: f64) {
    let dump = outcome.dumps.iter().rfind(|dump| dump.pid == pid).expect("a dump");
    let text = dump.text();
    HeapV2::parse(&text).unwrap();
    let number = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("# stack_end_{key}: ")));
        line.map_or(0.0, |number| number.parse::<f64>().unwrap())
    };
    let (whole, cut) = (number("root"), number("no-rule") + number("no-object"));
    assert!(whole > 300.0 && cut < whole / 20.0, "{whole} stacks are whole, {cut} are not");
    let folded = String::from_utf8(heaptap(&["convert", "--to", "folded"], &dump.path).stdout).unwrap();
    let leaked: f64 = folded
        .lines()
        .filter(|line| line.contains("leak;keep "))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    // A sample a block on average: the error of 1,000 blocks is some percent.
    assert!((leaked / expected - 1.0).abs() < 0.15, "{leaked} of {expected} bytes\n{folded}");
}

#[test]
fn a_program_of_musl_is_profiled_as_any_other() {
    let folder = Folder::new("musl");
    let Some(program) = program(&folder) else { return };
    let subject = Subject::new(&program).env("NAME", "of the environment");
    let plain = subject.run_plain();
    assert_eq!(plain.stdout, "0 of the environment\n");
    for conf in [CONF, &format!("{CONF},prof_allocator:keep")] {
        let outcome = subject.run_tapped(&format!("{conf},{HOWEVER_SHORT}"));
        assert_eq!((outcome.status, &outcome.stdout), (plain.status, &plain.stdout), "{}", outcome.stderr);
        judge(&outcome, outcome.pid, LEAKED);
        let child = outcome.dumps.iter().find(|dump| dump.pid != outcome.pid).expect("its child's");
        judge(&outcome, child.pid, LEAKED / 4.0);
    }
}

#[test]
fn a_tapped_shell_of_glibc_starts_programs_of_musl() {
    let folder = Folder::new("musl-child");
    let Some(program) = program(&folder) else { return };
    let shell = format!("{0} && sh -c {0}; echo $?", program.display());
    let subject = Subject::new("bash").args(["-c", &shell]);
    let plain = subject.run_plain();
    assert_eq!(plain.stdout, "0 -\n0 -\n0\n");
    let outcome = subject.run_tapped(&format!("{CONF},{HOWEVER_SHORT}"));
    assert_eq!((outcome.status, &outcome.stdout), (plain.status, &plain.stdout), "{}", outcome.stderr);
    let of_musl = |text: &str| text.contains("musl_leak\n");
    let profiled = outcome.dumps.iter().filter(|dump| of_musl(&dump.text())).count();
    assert!(profiled >= 4, "{profiled} dumps of the program and its children");
}

/// The program, when it has allocated and waits.
fn waiting(program: &Path, folder: &Folder) -> Child {
    let mut command = Command::new(program);
    under_tap(&mut command, CONF, folder.path());
    let mut child = command.arg("wait").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "0 -\n");
    child
}

#[test]
fn a_living_program_of_musl_is_read_and_a_killed_one_recovered() {
    let folder = Folder::new("musl-live");
    let Some(program) = program(&folder) else { return };
    let mut child = waiting(&program, &folder);
    let pid = child.id().to_string();
    let report = heaptap(&["report", "--json"], &pid);
    let answer: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    let live = answer["bytes"].as_f64().unwrap_or_else(|| panic!("{answer:#}"));
    assert!((live / LEAKED - 1.0).abs() < 0.15, "{live}");
    assert_eq!(heaptap(&["status"], &pid).status.code(), Some(0));
    child.kill().unwrap();
    child.wait().unwrap();
    let recovered = heaptap(&["recover"], &pid);
    assert!(recovered.status.success(), "{}", String::from_utf8_lossy(&recovered.stderr));
    let dumps = support::collect_dumps(folder.path());
    let text = dumps.iter().find(|dump| dump.pid == child.id()).expect("its last dump").text();
    let (_, bytes) = HeapV2::parse(&text).unwrap().total;
    assert!(bytes > 0, "{text}");
}

#[test]
fn run_says_what_a_profile_of_musl_lacks_and_refuses_a_library_that_it_would_not_load() {
    let folder = Folder::new("musl-run");
    let Some(program) = program(&folder) else { return };
    let run = |library: &Path| {
        let mut command = Command::new(cli());
        command.args(["run", "--lib"]).arg(library).arg("--").arg(&program);
        command.current_dir(folder.path()).env_remove("LD_PRELOAD").env_remove("MALLOC_CONF").output().unwrap()
    };
    let output = run(&library());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("uses musl, which has no unwind tables"), "{said}");
    assert!(said.contains("read them with"), "{said}");
    // A library of C++ needs more than libc.
    let found = Command::new("gcc").arg("-print-file-name=libstdc++.so.6").output().unwrap().stdout;
    let other = PathBuf::from(String::from_utf8(found).unwrap().trim());
    if other.is_absolute() {
        let output = run(&other);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains("is for glibc alone (it needs "), "{said}");
    }
    let mut waits = waiting(&program, &folder);
    drop(waits.stdin.take());
    assert!(wait_or_kill(&mut waits, Duration::from_secs(60)).is_some_and(|status| status.success()));
}

/// A program of others that is built for musl.
fn of_others(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("HEAPTAP_TEST_MUSL").filter(|folder| !folder.is_empty());
    let program = folder.map(|folder| Path::new(&folder).join(path)).filter(|program| program.is_file());
    if program.is_none() {
        skip("HEAPTAP_TEST_MUSL names no folder of programs for musl (python3 -m trial.musl in scripts/lib)");
    }
    program
}

/// At once, without a keeper, while the unwinder does not know the libraries that were opened; and after a while with
/// one, which tells it (musl's loader is not asked): then nearly all stacks are whole.
#[test]
fn a_jvm_of_musl_names_the_leaking_methods_with_their_bytes() {
    let Some(java) = of_others("jvm/bin/java") else { return };
    let Some(build) = built("Leaks", "untabled", UNTABLED) else { return };
    assert!(compile_classes(&["Later", "Leaks"], &build));
    let jvm = Jvm::at(java.parent().and_then(Path::parent).expect("a home")).expect("it starts");
    let home = build.path().display().to_string();
    let library = format!("-Djava.library.path={home}");
    for (class, keeper, least_share) in [("Leaks", false, 0.0), ("Later", true, 0.5)] {
        let conf = format!("{EVERY_ALLOCATION},{HOWEVER_SHORT},prof_bt_max:512,prof_keeper:{keeper}");
        let (_outcome, dump) = run_java_under(&jvm, &["-cp", &home, &library, class], &conf, 3);
        dump.assert_leaks_are_named(class);
        dump.assert_complete(least_share);
    }
}

/// As users run it, with a keeper from the first sample, and with everything on; with both allocators.
#[test]
fn a_python_of_musl_is_unchanged() {
    let Some(python) = of_others("python/bin/python3") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/everyday.py");
    let subject = Subject::new(&python).args([script]);
    let plain = subject.run_plain();
    assert!(plain.status.success(), "{}", plain.stderr);
    let usual = "prof:true,lg_prof_interval:30,lg_prof_sample:17,prof_final:true";
    let everything = format!("{EVERY_ALLOCATION},{HOWEVER_SHORT},prof_final:true,lg_prof_interval:22");
    for conf in [usual.to_owned(), format!("{usual},{HOWEVER_SHORT}"), everything] {
        for allocator in ["own", "keep"] {
            let outcome = subject.run_tapped(&format!("{conf},prof_allocator:{allocator}"));
            assert_eq!((outcome.status, &outcome.stdout), (plain.status, &plain.stdout), "{}", outcome.stderr);
            let last = outcome.dumps.iter().rfind(|dump| dump.pid == outcome.pid);
            assert!(last.is_some() || conf == usual, "no dump; stderr: {}", outcome.stderr);
            let (objects, _) = last.map_or((1, 1), |dump| HeapV2::parse(&dump.text()).unwrap().total);
            assert!(objects > 0);
        }
    }
}
