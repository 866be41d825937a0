//! The USDT probes `otel_memory`: where the file says that they are, what a tracer hears there, and when nothing is
//! heard. The tracers are a program that sets breakpoints in itself (`tests/host/probes.c`), and gdb.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Folder, Subject, library, needs, skip};

/// A program that says "not possible here" ends so.
const NOT_POSSIBLE: i32 = 77;

/// Compiles a program of `tests/host/`.
fn compile(folder: &Folder, name: &str) -> PathBuf {
    let program = folder.path().join(name);
    let source = format!("{}/tests/host/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let arguments = ["-O1", "-g", "-pthread", "-fno-builtin", "-w", "-o"];
    let built = Command::new("gcc").args(arguments).arg(&program).arg(&source).status().expect("gcc starts");
    assert!(built.success(), "{name}");
    program
}

/// What `readelf` says of the probes of a file: name and arguments of each.
fn probes(file: &Path) -> BTreeSet<(String, String)> {
    let told = Command::new("readelf").args(["-nW"]).arg(file).env("LC_ALL", "C").output().expect("readelf starts");
    let told = String::from_utf8(told.stdout).unwrap();
    let mut found = BTreeSet::new();
    let (mut name, mut addresses) = ("", "");
    for line in told.lines().skip_while(|line| !line.contains(".note.stapsdt")).map(str::trim) {
        match line.split_once(": ") {
            Some(("Provider", provider)) => assert_eq!(provider, "otel_memory"),
            Some(("Name", of)) => name = of,
            Some(("Location", rest)) => addresses = rest,
            Some(("Arguments", arguments)) => {
                // Location, base and semaphore.
                let numbers: Vec<&str> = addresses.split([' ', ',']).filter(|word| word.starts_with("0x")).collect();
                let is_zero = |number: &&str| number.trim_start_matches("0x").bytes().all(|digit| digit == b'0');
                assert!(numbers.len() == 3 && !numbers.iter().any(is_zero), "{name}: {addresses}");
                assert!(found.insert((name.to_owned(), arguments.to_owned())), "{name} is there twice");
            }
            _ => (),
        }
    }
    found
}

/// What they must be: where OpenTelemetry's profiler reads them without a look at the note.
fn expected() -> BTreeSet<(String, String)> {
    let [alloc, free] =
        if cfg!(target_arch = "x86_64") { ["8@%rdi 8@%rsi 8@%rdx", "8@%rdi"] } else { ["8@x0 8@x1 8@x2", "8@x0"] };
    [("alloc", alloc), ("free", free)].map(|(name, arguments)| (name.to_owned(), arguments.to_owned())).into()
}

#[test]
fn the_file_tells_of_its_probes_also_when_it_is_stripped() {
    assert_eq!(probes(&library()), expected());
    let folder = Folder::new("probes-stripped");
    let stripped = folder.path().join("stripped.so");
    for how in ["--strip-all", "--strip-debug", "--strip-unneeded"] {
        let done = Command::new("strip").arg(how).arg("-o").arg(&stripped).arg(library()).status().unwrap();
        assert!(done.success());
        assert_eq!(probes(&stripped), expected(), "{how}");
    }
}

/// Runs the program that listens to itself; what it printed, or nothing where that cannot be done.
fn listen(how: &str, conf: &str) -> Option<String> {
    let folder = Folder::new("probes");
    let outcome = Subject::new(compile(&folder, "probes")).args([how]).run_tapped(conf);
    if outcome.status.code() == Some(NOT_POSSIBLE) {
        skip(&outcome.stdout);
        return None;
    }
    assert!(outcome.status.success(), "{how} {conf}: {} {}{}", outcome.status, outcome.stdout, outcome.stderr);
    Some(outcome.stdout)
}

#[test]
fn each_sampled_block_is_told_of_and_its_end_once() {
    for more in ["", ",prof_allocator:keep", ",prof_keeper:false"] {
        let Some(printed) = listen("heard", &format!("prof:true,lg_prof_sample:0,prof_usdt:true{more}")) else {
            return;
        };
        assert!(printed.starts_with("alloc 8@"), "{printed}");
    }
}

/// Without the option, and where nothing is sampled.
#[test]
fn whoever_listens_unasked_hears_nothing() {
    for conf in [
        "prof:true,lg_prof_sample:0",
        "prof:true,lg_prof_sample:0,prof_usdt:false",
        "prof:true,lg_prof_sample:0,prof_active:false,prof_usdt:true",
        "prof:false,prof_usdt:true",
    ] {
        listen("silent", conf);
    }
}

/// 40 MB are allocated in 200,000 blocks; one in 4 KiB is sampled, so the sum errs by 1.1 % on average.
#[test]
fn samples_stand_for_the_bytes_that_were_asked_for() {
    let Some(printed) = listen("weights", "prof:true,lg_prof_sample:12,prof_usdt:true") else { return };
    let numbers: Vec<f64> = printed.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [wanted, sum, births, deaths] = numbers[..] else { panic!("{printed}") };
    assert!((sum / wanted - 1.0).abs() < 0.06, "{printed}");
    assert!(births > 8000.0 && births < 11_500.0 && (births - deaths).abs() < 1.0, "{printed}");
}

/// gdb finds the probes, counts the semaphore up, reads the arguments by the note, and unwinds from there.
#[test]
fn a_debugger_reads_the_arguments() {
    if !needs("gdb") {
        return;
    }
    let folder = Folder::new("probes-gdb");
    let program = compile(&folder, "probed");
    let script = format!(
        "set confirm off\nset startup-with-shell off\nset debuginfod enabled off\nset environment LD_PRELOAD {}\n\
         set environment MALLOC_CONF prof:true,lg_prof_sample:0,prof_usdt:true\nbreak begin\nrun\ninfo probes stap otel_memory\n\
         break -probe-stap otel_memory:alloc\ncommands\nsilent\nprintf \"alloc %#lx %lu %lu\\n\", $_probe_arg0, $_probe_arg1, \
         $_probe_arg2\nbacktrace\ncontinue\nend\n\
         break -probe-stap otel_memory:free\ncommands\nsilent\nprintf \"free %#lx\\n\", $_probe_arg0\ncontinue\nend\n\
         continue\n",
        library().display()
    );
    let script = folder.write("script", &script);
    let told = Command::new("gdb")
        .args(["-nx", "-batch", "-x"])
        .arg(&script)
        .arg(&program)
        .env_remove("LD_PRELOAD")
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let (out, trouble) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    if trouble.contains("ptrace") && !out.contains("Breakpoint 1,") {
        return skip(&format!("gdb may not trace here: {trouble}"));
    }
    // The program prints the address of its block of 12,345 bytes.
    let block = out.lines().find_map(|line| line.strip_prefix("block ")).unwrap_or_else(|| panic!("{out}{trouble}"));
    let all: Vec<&str> = out.lines().collect();
    let born = all.iter().position(|line| line.starts_with(&format!("alloc {block} 12345 "))).expect(&out);
    assert_eq!(all[born].rsplit(' ').next(), Some("12345"), "at lg 0 a block stands for itself: {}", all[born]);
    assert!(all[born..].iter().take(12).any(|line| line.contains("gives_block")), "no way from the probe: {out}");
    let ends = all.iter().filter(|line| **line == format!("free {block}")).count();
    assert_eq!(ends, 1, "{out}");
    for name in ["alloc", "free"] {
        let row = all.iter().find(|line| line.starts_with("stap") && line.contains(&format!(" {name} "))).expect(&out);
        assert!(row.contains("otel_memory") && row.contains("libheaptap.so") && !row.contains("n/a"), "{row}");
    }
}
