//! What dumps say is true: exact per stack where every allocation is sampled, and unbiased where few are.
//!
//! The statistical tests cannot flake: the number of allocations is fixed, and the bound is six standard deviations of
//! the estimate (once in 500 million comparisons, of which there are 54). A sample of n requested bytes at period R is
//! taken with probability `p = 1-exp(-n/R)` and counts 1/p, so N allocations are estimated with the relative deviation
//! `sqrt((1-p)/(p*N))`: with R*B in bytes, sqrt(R/B).

mod support;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Dump, Folder, HOWEVER_SHORT, HeapV2, Stack, Subject, have_jeprof, jeprof_text};

/// Compiles a program of `tests/host/` at fixed addresses.
fn compile(folder: &Folder, name: &str) -> PathBuf {
    let program = folder.path().join(name);
    let source = format!("{}/tests/host/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let result = Command::new("gcc")
        .args(["-O1", "-g", "-no-pie", "-pthread", "-fno-builtin", "-w", "-o"])
        .arg(&program)
        .args([source.as_str()])
        .env_remove("LD_PRELOAD")
        .output()
        .expect("gcc starts");
    assert!(result.status.success(), "{name}: {}", String::from_utf8_lossy(&result.stderr));
    program
}

/// Functions of a program at fixed addresses: start, size and name.
fn functions(program: &Path) -> Vec<(u64, u64, String)> {
    let output = Command::new("nm").arg("-S").arg(program).output().expect("nm starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let function = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [start, size, "t" | "T", name] = words[..] else { return None };
        Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(size, 16).ok()?, name.to_owned()))
    };
    text.lines().filter_map(function).collect()
}

/// The innermost function of the program itself on a stack.
fn innermost<'a>(stack: &Stack, functions: &'a [(u64, u64, String)]) -> Option<&'a str> {
    let at = |pc: u64| functions.iter().find(|(start, size, _)| (*start..start + size).contains(&(pc - 1)));
    stack.pcs.iter().find_map(|&pc| at(pc)).map(|(.., name)| name.as_str())
}

fn parse(dump: &Dump) -> HeapV2 {
    HeapV2::parse(&dump.text()).unwrap_or_else(|error| panic!("{}: {error}", dump.path.display()))
}

#[test]
fn with_every_allocation_sampled_each_stack_has_its_objects_and_bytes_exactly() {
    let folder = Folder::new("attribution");
    let program = compile(&folder, "exact");
    let outcome =
        Subject::new(&program).run_tapped(&format!("prof:true,lg_prof_sample:0,prof_final:true,{HOWEVER_SHORT}"));
    assert!(outcome.status.success(), "{}", outcome.stderr);
    let dump = outcome.final_dump().expect("a final dump");
    let functions = functions(&program);
    let mut found: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let heap = parse(dump);
    for stack in &heap.stacks {
        if let Some(name) = innermost(stack, &functions) {
            let sum = found.entry(name).or_default();
            *sum = (sum.0 + stack.stored.0, sum.1 + stack.stored.1);
        }
    }
    let mut truth = 0;
    for line in outcome.stdout.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, objects, bytes] = words[..] else { panic!("{line:?}") };
        let expected = (objects.parse().unwrap(), bytes.parse().unwrap());
        assert_eq!(found.get(name), Some(&expected), "{name}");
        truth += 1;
    }
    assert_eq!(truth, 14);
    if have_jeprof() {
        let rows = jeprof_text(&program, dump);
        for (name, (_, bytes)) in &found {
            // strdup is a function of libc: it stands between.
            let row =
                rows.iter().find(|row| row.name == *name).unwrap_or_else(|| panic!("jeprof does not show {name}"));
            assert_eq!(row.cumulative, *bytes, "{name} in jeprof");
            assert!(row.flat == *bytes || *name == "by_strdup" || *name == "main", "{name} in jeprof");
        }
    }
}

/// One statistical experiment.
struct Trial {
    lg_period: u32,
    size: u64,
    usable: u64,
    allocations: u64,
}

const THREADS: u64 = 2;
/// Without the governor, which would raise the period where programs do nothing but allocate, and so the error.
const UNGOVERNED: &str = "prof:true,prof_accum:true,prof_final:true,prof_max_overhead:0";
/// Standard deviations that an estimate may be off.
const SIGMAS: f64 = 6.0;

impl Trial {
    /// Relative standard deviation of the estimate.
    fn deviation(&self) -> f64 {
        let sampled = -(-(self.size as f64) / f64::from(self.lg_period).exp2()).exp_m1();
        ((1.0 - sampled) / sampled / self.allocations as f64).sqrt()
    }

    /// Relative errors of the estimated objects and bytes.
    fn errors(&self, program: &Path) -> (f64, f64) {
        let each = (self.allocations / THREADS).to_string();
        let subject = Subject::new(program).args([self.size.to_string(), each, THREADS.to_string()]);
        let conf = format!("{UNGOVERNED},lg_prof_sample:{},{HOWEVER_SHORT}", self.lg_period);
        let outcome = subject.run_tapped(&conf);
        assert!(outcome.status.success(), "{}", outcome.stderr);
        let heap = parse(outcome.final_dump().expect("a final dump"));
        let functions = functions(program);
        let own = heap.stacks.iter().filter(|stack| innermost(stack, &functions) == Some("pairs"));
        let (mut objects, mut bytes) = (0.0, 0.0);
        for stack in own {
            let (stored_objects, stored_bytes) = (stack.ever.0 as f64, stack.ever.1 as f64);
            let factor = 1.0 / -(-(stored_bytes / stored_objects) / heap.period as f64).exp_m1();
            objects += stored_objects * factor;
            bytes += stored_bytes * factor;
        }
        let truth = self.allocations as f64;
        (objects / truth - 1.0, bytes / (truth * self.usable as f64) - 1.0)
    }
}

#[test]
fn estimates_are_unbiased() {
    let trial = |lg_period, size, usable, allocations| Trial { lg_period, size, usable, allocations };
    let trials = [
        // At the period that is used in practice; sizes far below it would need minutes for half a percent.
        trial(17, 17, 32, 200_000_000),
        trial(17, 33, 48, 150_000_000),
        trial(17, 1025, 1280, 50_000_000),
        trial(17, 100_000, 102_400, 1_300_000),
        // The same arithmetic with a shorter period: half a percent at six deviations.
        trial(10, 17, 32, 87_000_000),
        trial(10, 33, 48, 45_000_000),
        trial(10, 1025, 1280, 2_000_000),
    ];
    let folder = Folder::new("unbiased");
    let program = compile(&folder, "unbiased");
    let mut table = String::from("\nestimates against the truth (relative errors, six deviations):\n");
    let mut wrong = Vec::new();
    for trial in &trials {
        let (objects, bytes) = trial.errors(&program);
        let bound = SIGMAS * trial.deviation();
        let line = format!(
            "  2^{} {:7} B x {:11}: objects {:+.3} %, bytes {:+.3} %, bound {:.3} %\n",
            trial.lg_period,
            trial.size,
            trial.allocations,
            objects * 100.0,
            bytes * 100.0,
            bound * 100.0
        );
        table += &line;
        if objects.abs() > bound || bytes.abs() > bound {
            wrong.push(line);
        }
        assert!(trial.lg_period != 10 && trial.size < 2000 || bound < 0.0051, "the trial is too small: {bound}");
    }
    let _ = io::stderr().write_all(table.as_bytes());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// One experiment with `realloc`: a block is resized to two sizes in turn, and many blocks that were resized often
/// stay.
struct Resizes {
    lg_period: u32,
    /// Requested and usable bytes.
    sizes: [(u64, u64); 2],
    count: u64,
}

/// Blocks that `unbiased_realloc.c` keeps.
const KEPT: u64 = 2000;

impl Resizes {
    /// Lines of the table, and whether each is within its bound: per function, what it allocated, and what is live of
    /// it.
    fn errors(&self, program: &Path) -> Vec<(String, bool)> {
        let [(first, first_usable), (second, second_usable)] = self.sizes;
        let arguments = [first, second, self.count / THREADS, THREADS].map(|number| number.to_string());
        let conf = format!("{UNGOVERNED},lg_prof_sample:{},{HOWEVER_SHORT}", self.lg_period);
        let outcome = Subject::new(program).args(arguments).run_tapped(&conf);
        assert!(outcome.status.success(), "{}", outcome.stderr);
        let heap = parse(outcome.final_dump().expect("a final dump"));
        let functions = functions(program);
        let estimate = |name: &str, of: fn(&Stack) -> (u64, u64)| {
            let own = heap.stacks.iter().filter(|stack| innermost(stack, &functions) == Some(name)).map(of);
            own.filter(|stored| stored.0 > 0).fold((0.0, 0.0), |(objects, bytes), (stored_objects, stored_bytes)| {
                let (each, all) = (stored_objects as f64, stored_bytes as f64);
                let factor = 1.0 / -(-(all / each) / heap.period as f64).exp_m1();
                (objects + each * factor, bytes + all * factor)
            })
        };
        let rows = [
            ("to_first", first, first_usable, self.count, estimate("to_first", |stack| stack.ever)),
            ("to_second", second, second_usable, self.count, estimate("to_second", |stack| stack.ever)),
            ("to_last", second, second_usable, KEPT, estimate("to_last", |stack| stack.ever)),
            ("to_last, live", second, second_usable, KEPT, estimate("to_last", |stack| stack.stored)),
        ];
        let row = |(name, size, usable, truth, (objects, bytes)): (&str, u64, u64, u64, (f64, f64))| {
            let bound = SIGMAS * Trial { lg_period: self.lg_period, size, usable, allocations: truth }.deviation();
            let (objects, bytes) = (objects / truth as f64 - 1.0, bytes / (truth * usable) as f64 - 1.0);
            // Where all are sampled no error is left but that of rounding in the file.
            let is_good = objects.abs() <= bound + 1e-4 && bytes.abs() <= bound + 1e-4;
            let line = format!(
                "  2^{} {name:14} {size:8} B x {truth:9}: objects {:+.3} %, bytes {:+.3} %, bound {:.3} %\n",
                self.lg_period,
                objects * 100.0,
                bytes * 100.0,
                bound * 100.0
            );
            (line, is_good)
        };
        rows.into_iter().map(row).collect()
    }
}

/// A resize is a free and an allocation. Whether a block is sampled already, and so lies in the reserved range, must
/// not make it likelier or less likely to be sampled again, nor count for more.
#[test]
fn estimates_are_unbiased_by_resizes() {
    let resizes = |lg_period, sizes, count| Resizes { lg_period, sizes, count };
    let trials = [
        // Within jemalloc's small classes, from one to the next and within one.
        resizes(10, [(33, 48), (1025, 1280)], 2_000_000),
        resizes(12, [(1000, 1024), (1001, 1024)], 2_000_000),
        // Between small and large ones.
        resizes(14, [(3000, 3072), (20_000, 20_480)], 200_000),
        // Large ones, in place.
        resizes(17, [(100_000, 102_400), (120_000, 122_880)], 300_000),
        resizes(19, [(100_000, 102_400), (300_000, 303_104)], 100_000),
    ];
    let folder = Folder::new("unbiased-realloc");
    let program = compile(&folder, "unbiased_realloc");
    let rows: Vec<(String, bool)> = trials.iter().flat_map(|trial| trial.errors(&program)).collect();
    let table: String = rows.iter().map(|(line, _)| line.as_str()).collect();
    let _ = io::stderr().write_all(format!("\nestimates of resizes against the truth:\n{table}").as_bytes());
    let wrong: Vec<&str> = rows.iter().filter(|(_, is_good)| !is_good).map(|(line, _)| line.as_str()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
