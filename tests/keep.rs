//! `prof_allocator:keep`: the program's own allocator serves what is not sampled, and what it keeps is told.
//!
//! The host suite runs every hazard under it, too.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::churn::wait_for;
use support::{Dump, Folder, HOWEVER_SHORT, HeapV2, Schema, Subject, cli, library, skip, under_tap};

const KEEP: &str = "prof:true,lg_prof_sample:16,prof_final:true,prof_allocator:keep";
/// A status of the launcher: the kernel does not know how.
const NOT_POSSIBLE: i32 = 77;

fn compile(name: &str, folder: &Folder) -> PathBuf {
    let program = folder.path().join(name);
    let source = format!("{}/tests/programs/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let built =
        Command::new("gcc").args(["-O1", "-g", "-fno-builtin", "-pthread", "-o"]).arg(&program).arg(source).status();
    assert!(built.unwrap().success());
    program
}

fn ask(arguments: &[&str]) -> String {
    let output = Command::new(cli()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn metadata(dump: &Dump) -> impl Fn(&str) -> Option<String> + use<> {
    let metadata = HeapV2::parse(&dump.text()).unwrap().metadata;
    move |key| metadata.get(key).cloned()
}

/// glibc's arenas hold on to fifteen sixteenths of what sixty threads had: the profile says so, and a trim gives it
/// back.
#[test]
fn what_glibc_keeps_in_its_arenas_is_told_and_given_back() {
    let folder = Folder::new("keep-arenas");
    let mut command = Command::new(compile("arenas", &folder));
    under_tap(&mut command, &format!("{KEEP},{HOWEVER_SHORT}"), folder.path());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id().to_string();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let told: Vec<f64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [in_use, kept] = told[..] else { panic!("{line:?}") };
    assert!(kept > 5.0 * in_use, "nothing is fragmented: {line}");

    let number = |of: &dyn Fn(&str) -> Option<String>, key: &str| of(key).map_or(0.0, |text| text.parse().unwrap());
    let near = |told: f64, truth: f64| (told - truth).abs() < 0.05 * (in_use + kept);
    let dump = || Dump::from_path(Path::new(ask(&["dump", &pid]).trim())).unwrap();
    wait_for("the keeper's asking", || number(&metadata(&dump()), "allocator_kept_bytes") > 0.9 * kept);
    let of = metadata(&dump());
    assert_eq!(of("allocator").as_deref(), Some("libc.so.6"));
    // The program's own number has the pages of sampled blocks in it.
    let (told_in_use, told_kept) = (number(&of, "allocator_in_use_bytes"), number(&of, "allocator_kept_bytes"));
    assert!(near(told_in_use, in_use) && near(told_kept, kept), "{told_in_use} {told_kept}, not {line}");
    let most = std::thread::available_parallelism().unwrap().get() as f64 * 8.0;
    let arenas = number(&of, "allocator_arenas");
    assert!((2.0..=most + 1.0).contains(&arenas), "{arenas} arenas of at most {most}");
    assert!(ask(&["status", &pid]).contains("its own allocator serves what is not sampled: libc.so.6"));

    let json: serde_json::Value = serde_json::from_str(&ask(&["report", "--json", &pid])).unwrap();
    Schema::read().check("Report", &json);
    assert_eq!(json["allocator"]["allocator"], "libc.so.6");
    let report = ask(&["report", &pid]).replace('\n', " ");
    assert!(report.contains("glibc keeps ") && report.contains(&format!("`heaptap trim {pid}`")), "{report}");
    let rss = ask(&["rss", &pid]).replace('\n', " ");
    assert!(rss.contains("glibc keeps ") && rss.contains(&format!("`heaptap trim {pid}`")), "{rss}");
    let json: serde_json::Value = serde_json::from_str(&ask(&["rss", "--json", &pid])).unwrap();
    Schema::read().check("Resident", &json);
    assert_eq!(json["allocator"]["allocator"], "libc.so.6");

    let trimmed = ask(&["trim", &pid]);
    let given: Vec<&str> = trimmed.trim().rsplitn(5, ' ').collect();
    let (unit, amount) = (given[2], given[3].parse::<f64>().unwrap_or(0.0));
    // Of 16 blocks one is held, so that of five half pages three or four can go.
    assert!(unit == "MiB" && amount * f64::from(1 << 20) > 0.4 * kept, "{kept} bytes were kept: {trimmed}");
    writeln!(child.stdin.take().unwrap()).unwrap();
    line.clear();
    output.read_line(&mut line).unwrap();
    assert!(child.wait().unwrap().success() && line == "ok\n");
}

/// The next allocator is the one that is preloaded behind the tap.
#[test]
fn other_allocators_are_kept_by_name() {
    let folder = Folder::new("keep-others");
    let program = compile("arenas", &folder);
    let plain = Subject::new(&program).stdin("\n").run_plain();
    assert!(plain.status.success());
    for name in ["libtcmalloc.so.4", "libmimalloc.so.2", "libjemalloc.so.2"] {
        let path = format!("/usr/lib/{}-linux-gnu/{name}", std::env::consts::ARCH);
        if !Path::new(&path).exists() {
            skip(&format!("no {name}"));
            continue;
        }
        let both = format!("{}:{path}", library().display());
        let subject = Subject::new(&program).stdin("\n");
        let outcome = subject.run_under(Path::new(&both), &format!("{KEEP},{HOWEVER_SHORT}"));
        assert!(outcome.status.success() && outcome.stdout.ends_with("\nok\n"), "{name}: {}", outcome.stderr);
        let dump = outcome.final_dump().unwrap_or_else(|| panic!("{name}: no final dump: {}", outcome.stderr));
        let of = metadata(dump);
        assert!(of("allocator").is_some_and(|found| name.starts_with(&found) || found.starts_with(name)), "{name}");
        let heap = HeapV2::parse(&dump.text()).unwrap();
        let truth = 60.0 * 250.0 * 640.0;
        let (_, bytes) = heap.scaled();
        // Six standard deviations.
        let bound = 6.0 * (truth * 65536.0_f64).sqrt();
        assert!(bytes > truth - bound, "{name}: {bytes} of {truth}");
    }
}

/// What other allocators keep is told by their own words, and given back; where there are none, nothing is guessed, and
/// no advice about heaptap's own allocator is given.
#[test]
fn what_other_allocators_keep_is_told_and_given_back() {
    let folder = Folder::new("keep-told");
    let program = compile("arenas", &folder);
    for (name, tells) in [("libtcmalloc.so.4", true), ("libjemalloc.so.2", true), ("libmimalloc.so.2", false)] {
        let path = format!("/usr/lib/{}-linux-gnu/{name}", std::env::consts::ARCH);
        if !Path::new(&path).exists() {
            skip(&format!("no {name}"));
            continue;
        }
        let mut command = Command::new(&program);
        under_tap(&mut command, &format!("{KEEP},{HOWEVER_SHORT}"), folder.path());
        command.env("LD_PRELOAD", format!("{}:{path}", library().display()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let pid = child.id().to_string();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let told = || -> serde_json::Value { serde_json::from_str(&ask(&["rss", "--json", &pid])).unwrap() };
        let number = |key: &str| told()["allocator"][key].as_f64();
        let report = || ask(&["report", &pid]).replace('\n', " ");
        if tells {
            wait_for("the keeper's asking", || number("kept_bytes").is_some_and(|kept| kept > 60e6));
            // 60 threads hold 250 blocks of 640 bytes; the rest is the C library's and the allocator's classes.
            let in_use = number("in_use_bytes").unwrap();
            assert!((8e6..16e6).contains(&in_use), "{name}: {in_use}");
            assert!(report().contains(&format!("{name} keeps ")), "{name}: {}", report());
        } else {
            assert_eq!((number("kept_bytes"), number("in_use_bytes")), (None, None));
        }
        assert!(!report().contains("dirty_decay_ms"), "{name}: {}", report());
        let trimmed = ask(&["trim", &pid]);
        assert!(trimmed.contains("MiB"), "{name}: {trimmed}");
        writeln!(child.stdin.take().unwrap()).unwrap();
        line.clear();
        output.read_line(&mut line).unwrap();
        assert!(child.wait().unwrap().success() && line == "ok\n", "{name}");
    }
}

/// Where a process may not change its own code the embedded allocator serves, and that is said.
#[test]
fn a_process_that_may_not_change_code_is_told() {
    let folder = Folder::new("keep-fixed");
    let launcher = compile("fixed_code", &folder);
    let program = compile("arenas", &folder);
    let outcome = Subject::new(launcher).args([&program]).stdin("\n").run_tapped(&format!("{KEEP},{HOWEVER_SHORT}"));
    if outcome.status.code() == Some(NOT_POSSIBLE) {
        skip("this kernel does not know PR_SET_MDWE");
        return;
    }
    assert!(outcome.status.success() && outcome.stdout.ends_with("\nok\n"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("prof_allocator:keep needs to change its own code"), "{}", outcome.stderr);
    let dump = outcome.dumps.iter().find(|dump| dump.is_final()).expect("a final dump");
    assert_eq!(metadata(dump)("allocator"), None);
}
