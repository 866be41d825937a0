//! What a sampled block is: to the program, a block like any other, whatever options make of jemalloc; to the profile,
//! what was allocated and no more.

mod support;

use std::path::PathBuf;
use std::process::Command;
use support::{Folder, HOWEVER_SHORT, HeapV2, Outcome, Subject};

/// Compiles a program of `tests/host/`.
fn compile(folder: &Folder, name: &str) -> PathBuf {
    let program = folder.path().join(name);
    let source = format!("{}/tests/host/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let result = Command::new("gcc")
        .args(["-O1", "-g", "-pthread", "-fno-builtin", "-w", "-o"])
        .arg(&program)
        .arg(&source)
        .env_remove("LD_PRELOAD")
        .output()
        .expect("gcc starts");
    assert!(result.status.success(), "{name}: {}", String::from_utf8_lossy(&result.stderr));
    program
}

fn conf(lg_period: u32, option: &str) -> String {
    format!("prof:true,lg_prof_sample:{lg_period},prof_final:true,{HOWEVER_SHORT},{option}")
}

fn assert_good(outcome: &Outcome, how: &str) {
    assert!(outcome.status.success(), "{how}: {} {}{}", outcome.status, outcome.stdout, outcome.stderr);
}

/// All blocks sampled, some, and none.
const PERIODS: [u32; 3] = [0, 12, 40];

#[test]
fn options_that_change_size_classes_change_nothing_else() {
    let folder = Folder::new("heap-classes");
    let program = compile(&folder, "classes");
    for option in
        ["abort:false", "disable_large_size_classes:false", "cache_oblivious:false", "tcache_max:4096", "tcache:false"]
    {
        for lg_period in PERIODS {
            assert_good(&Subject::new(&program).run_tapped(&conf(lg_period, option)), option);
        }
    }
}

#[test]
fn fresh_memory_is_filled_as_options_say() {
    let folder = Folder::new("heap-fills");
    let program = compile(&folder, "fills");
    for (option, fill) in [("zero:true", "zero"), ("junk:alloc", "junk"), ("junk:true", "junk")] {
        for lg_period in PERIODS {
            let more = if option.starts_with("zero") { "" } else { ",disable_large_size_classes:false" };
            let outcome = Subject::new(&program).args([fill]).run_tapped(&conf(lg_period, &format!("{option}{more}")));
            assert_good(&outcome, option);
        }
    }
}

#[test]
fn realloc_to_nothing_is_what_the_option_says() {
    let folder = Folder::new("heap-nothing");
    let program = compile(&folder, "zero_realloc");
    let subject = Subject::new(&program);
    for (action, printed) in [("free", "null\n"), ("alloc", "a block\n"), ("abort", "")] {
        let option = format!("zero_realloc:{action}");
        let plain = subject.run_tapped(&format!("prof:false,{option}"));
        assert_eq!(plain.stdout, printed.repeat(5), "{action}, not profiled");
        for lg_period in PERIODS {
            let outcome = subject.run_tapped(&conf(lg_period, &option));
            assert_eq!((&outcome.stdout, outcome.status), (&plain.stdout, plain.status), "{action}, 2^{lg_period}");
            let last = |text: &str| text.lines().last().map(str::to_owned);
            assert!(action != "abort" || last(&outcome.stderr) == last(&plain.stderr), "{}", outcome.stderr);
        }
    }
}

#[test]
fn a_request_that_fails_is_no_allocation() {
    let folder = Folder::new("heap-failed");
    let program = compile(&folder, "failed_requests");
    for lg_period in [0, 12, 17] {
        let outcome = Subject::new(&program).run_tapped(&conf(lg_period, "lg_prof_interval:24"));
        assert_good(&outcome, "failed requests");
        let dump = outcome.final_dump().expect("a final dump");
        let heap = HeapV2::parse(&dump.text()).unwrap_or_else(|error| panic!("{}: {error}", dump.path.display()));
        let allocated: u64 = heap.metadata["allocated_bytes"].parse().unwrap();
        // The blocks of a round that are there to be resized, and the C library's own, are some MiB more.
        assert!((64 << 20..80 << 20).contains(&allocated), "{allocated} bytes at 2^{lg_period}");
    }
}
