//! The fast paths are counted, not timed: callgrind says how many instructions `malloc` and `free`, `mmap` and `munmap`
//! run of our own, for each call, while nothing is sampled. One more is a decision, not an accident.

mod support;

use std::path::Path;
use std::process::Command;
use support::{Folder, library, needs};

/// Instructions of ours in a call that no sample falls on; and what the calls that end a wait add on average.
const MALLOC: f64 = 3.0;
/// Valgrind has no room for the reserved range, so that `free` compares with its border, and goes on to look.
const FREE: f64 = 4.0;
/// Of 50,000 pairs some end a wait, and the first call is another one.
const OTHERS: f64 = 0.4;
const PAIRS: u32 = 50_000;
/// Instructions that a kept allocator's pair costs more.
const KEPT: f64 = 5.0;
/// The same of `mmap` and `munmap` of which nothing is recorded.
const DOORS: f64 = 60.0;

/// Instructions of a function itself, of a line of callgrind_annotate: `150,016 ( 2.5%)  ???:malloc [/libheaptap.so]`.
fn own_instructions(annotated: &str, function: &str) -> f64 {
    // Behind the file's name, which has no colon.
    let named = format!("{function} [");
    let is_it = |line: &&str| line.split_once(':').is_some_and(|(_, name)| name.starts_with(&named));
    let is_ours = |line: &&str| is_it(line) && line.contains("libheaptap.so");
    let count = |line: &str| line.split_whitespace().next()?.replace(',', "").parse::<f64>().ok();
    annotated.lines().filter(is_ours).filter_map(count).sum()
}

/// A program of the bench under callgrind.
struct Counting {
    folder: Folder,
    program: &'static str,
}

impl Counting {
    /// `None`: it cannot be counted here.
    fn of(program: &'static str) -> Option<Counting> {
        if !needs("gcc") || !needs("valgrind") || !cfg!(target_arch = "x86_64") {
            return None;
        }
        let folder = Folder::new("fast-path");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/bench/{program}.c"));
        let built = Command::new("gcc").args(["-O2", "-g", "-o"]).arg(folder.path().join(program)).arg(source).status();
        assert!(built.unwrap().success());
        Some(Counting { folder, program })
    }

    /// Instructions of so many operations, under the tap where there is a `conf`: all, and as callgrind_annotate tells.
    fn count(&self, operations: u32, conf: Option<&str>) -> (f64, String) {
        let counted = self.folder.path().join("counted");
        let mut counting = Command::new("valgrind");
        counting
            .args(["--tool=callgrind", &format!("--callgrind-out-file={}", counted.display())])
            .arg(self.folder.path().join(self.program))
            .arg(operations.to_string());
        if let Some(conf) = conf {
            counting.env("LD_PRELOAD", library()).env("MALLOC_CONF", conf);
        }
        let counting = counting.output().unwrap();
        assert!(counting.status.success(), "{}", String::from_utf8_lossy(&counting.stderr));
        let annotated =
            Command::new("callgrind_annotate").args(["--threshold=100", "--auto=no"]).arg(&counted).output().unwrap();
        let annotated = String::from_utf8_lossy(&annotated.stdout).into_owned();
        let total = annotated.lines().find(|line| line.contains("PROGRAM TOTALS")).expect("a sum");
        let total = total.split_whitespace().next().unwrap().replace(',', "").parse().unwrap();
        (total, annotated)
    }

    /// Instructions of an operation: what starting and ending cost is in two runs, and goes out.
    fn each(&self, conf: Option<&str>) -> f64 {
        (self.count(3 * PAIRS, conf).0 - self.count(PAIRS, conf).0) / f64::from(2 * PAIRS)
    }
}

#[test]
fn malloc_and_free_run_as_few_instructions_as_ever() {
    let Some(counting) = Counting::of("pair") else { return };
    let (_, annotated) = counting.count(PAIRS, Some("prof:true,prof_active:false,prof_final:false"));
    for (function, instructions) in [("malloc", MALLOC), ("free", FREE)] {
        let each = own_instructions(&annotated, function) / f64::from(PAIRS);
        // None at all would mean that another malloc was counted.
        assert!(each > 1.0 && each <= instructions + OTHERS, "{function}: {each} instructions a call");
    }
}

/// A process that keeps its allocator runs that one's instructions and five of ours a pair: counted without profiling,
/// where no range has to be looked at.
#[test]
fn keeping_the_allocator_costs_five_instructions_a_pair() {
    let Some(counting) = Counting::of("pair") else { return };
    let (plain, kept) = (counting.each(None), counting.each(Some("prof:false,prof_allocator:keep")));
    let more = kept - plain;
    assert!((4.5..=KEPT + OTHERS).contains(&more), "glibc {plain}, kept {kept}: {more} more a pair");
}

/// Mappings that are too small to be recorded, and all where nothing is profiled, pay for two doors.
#[test]
fn mappings_that_are_not_recorded_pay_for_the_doors_only() {
    let Some(counting) = Counting::of("map_pair") else { return };
    let (plain, off) = (counting.each(None), counting.each(Some("prof:false")));
    let more = off - plain;
    assert!((1.0..=DOORS).contains(&more), "libc {plain}, without profiling {off}: {more} more a pair");
}
