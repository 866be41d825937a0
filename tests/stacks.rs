//! The stacks in a dump are the ones that the program has: frame by frame what glibc's `backtrace()`, called
//! at the same place by the program itself, says; and a stack that nobody can unwind kills nobody.

mod support;

use std::collections::HashSet;
use std::process::Command;

use support::{Dump, EVERY_ALLOCATION, Folder, HOWEVER_SHORT, Subject, needs};

/// Compiles a C++ file of `tests/programs/` with these options.
fn compile(folder: &Folder, source: &str, options: &[&str]) -> Subject {
    let program = folder.path().join("program");
    let source = format!("{}/tests/programs/{source}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("g++");
    command.args(["-std=c++17", "-w", "-pthread", "-rdynamic"]).args(options).arg("-o").arg(&program).arg(&source);
    let status = command.env_remove("LD_PRELOAD").status().expect("g++ starts");
    assert!(status.success(), "{source} does not compile");
    Subject::new(program)
}

/// Addresses, leaf first.
type Stack = Vec<u64>;

fn addresses(words: &str) -> Stack {
    let digits = words.split_ascii_whitespace().map(|word| word.trim_start_matches("0x"));
    digits.map(|digits| u64::from_str_radix(digits, 16).expect("an address")).collect()
}

/// The stacks of a dump.
fn stacks(dump: &Dump) -> HashSet<Stack> {
    dump.text().lines().filter_map(|line| line.strip_prefix("@ ")).map(addresses).collect()
}

/// Whether a stack of the dump is the one that the program saw, from the caller of `record` on.
///
/// The leaves differ: the dump begins inside malloc, and both were called from different places of
/// `record`. A pc where a signal interrupted stands in the dump as the byte behind it, since readers take
/// one from every pc but the first to find the call.
fn is_same(dumped: &[u64], seen: &[u64]) -> bool {
    let (Some(dumped), Some(seen)) = (dumped.get(2..), seen.get(1..)) else { return false };
    let interrupted = dumped.iter().zip(seen).filter(|(ours, theirs)| **ours == **theirs + 1).count();
    dumped.len() == seen.len()
        && interrupted <= 1
        && dumped.iter().zip(seen).all(|(ours, theirs)| ours == theirs || *ours == theirs + 1)
}

/// Runs the program with every allocation sampled; returns what it saw and did not find in its dump.
fn missing(options: &[&str]) -> (usize, Vec<String>) {
    let folder = Folder::new("stacks");
    let subject = compile(&folder, "stacks.cpp", options);
    let outcome = subject.run_tapped(&format!("{EVERY_ALLOCATION},{HOWEVER_SHORT}"));
    assert!(outcome.status.success(), "{}: {}", outcome.status, outcome.stderr);
    let dumped = stacks(outcome.final_dump().expect("left a final dump"));
    let seen: Vec<&str> = outcome.stdout.lines().collect();
    let is_missing = |line: &&&str| {
        let (_, words) = line.split_once(' ').expect("name and frames");
        let stack = addresses(words);
        !dumped.iter().any(|dumped| is_same(dumped, &stack))
    };
    let missing = seen.iter().filter(is_missing).map(|line| (*line).to_owned()).collect();
    (seen.len(), missing)
}

fn assert_all_found(options: &[&str]) {
    if !needs("g++") {
        return;
    }
    let (seen, missing) = missing(options);
    assert!(seen >= 30, "the program saw only {seen} stacks");
    assert!(missing.is_empty(), "{} of {seen} stacks are not in the dump: {missing:#?}", missing.len());
}

#[test]
fn optimised_programs_have_the_stacks_that_backtrace_sees() {
    assert_all_found(&["-O2"]);
}

#[test]
fn programs_with_frame_pointers_have_the_stacks_that_backtrace_sees() {
    assert_all_found(&["-O0", "-fno-omit-frame-pointer"]);
}

#[test]
fn heavily_optimised_programs_have_the_stacks_that_backtrace_sees() {
    assert_all_found(&["-O3", "-fno-plt", "-fcf-protection=full", "-static-libstdc++"]);
}

#[test]
fn programs_with_gaps_between_their_segments_have_the_stacks_that_backtrace_sees() {
    let large_pages = "-Wl,-z,max-page-size=0x200000,-z,common-page-size=0x200000,-z,separate-code";
    assert_all_found(&["-O2", large_pages]);
    assert_all_found(&["-O2", "-no-pie", large_pages]);
}

#[test]
fn stacks_that_nobody_can_unwind_kill_nobody() {
    if !needs("g++") {
        return;
    }
    let folder = Folder::new("wild");
    let subject = compile(&folder, "wild_stacks.cpp", &["-O2"]);
    let plain = subject.run_plain();
    assert!(plain.status.success() && plain.stdout.ends_with("signal stack\n"), "{}", plain.status);
    let tapped = subject.run_tapped(&format!("{EVERY_ALLOCATION},{HOWEVER_SHORT}"));
    assert_eq!(tapped.status, plain.status, "{}", tapped.stderr);
    assert_eq!(tapped.stdout, plain.stdout);
    assert!(tapped.final_dump().is_some());
}
