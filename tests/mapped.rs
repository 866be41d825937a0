//! Memory that is not malloc's has its call stack: what is mapped and resident, by whom, who starts threads, and which
//! limit a mapping met; of living and of dead processes, in dumps, and for jeprof as if it were not there.

mod support;

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use support::churn::wait_for;
use support::java::{compile_class, jvms};
use support::talker::{Talker, compile};
use support::{Folder, Group, Pprof, Schema, cli, needs, skip};

const MIB: u64 = 1 << 20;

/// The program of `tests/programs/mapped.c`, below a launcher.
fn mapped_program(name: &str, words: &[&str], launcher: &[&str]) -> Talker {
    Talker::launch(name, "tests/programs/mapped.c", words, launcher, "prof:true,lg_prof_sample:17")
}

fn heaptap(arguments: &[&str]) -> String {
    let output = Command::new(cli()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn report(input: &str, more: &[&str]) -> Value {
    let answer = serde_json::from_str(&heaptap(&[&["report", "--json", input][..], more].concat())).unwrap();
    Schema::read().check("Report", &answer);
    answer
}

fn places(report: &Value) -> Vec<(String, String, u64, u64)> {
    let places = report["mapped"]["places"].as_array().unwrap().iter();
    let text = |place: &Value, key: &str| place[key].as_str().unwrap().to_owned();
    let number = |place: &Value, key: &str| place[key].as_u64().unwrap();
    let place =
        |place: &Value| (text(place, "what"), text(place, "place"), number(place, "ranges"), number(place, "bytes"));
    places.map(place).collect()
}

fn dump(pid: &str) -> PathBuf {
    let told = heaptap(&["dump", pid]);
    PathBuf::from(told.lines().find(|line| line.ends_with(".heap")).unwrap())
}

/// Ranges and threads are counted at who made them, what ended is taken back, and growth is named; from outside, in
/// dumps, and after death.
#[test]
fn mapped_memory_and_threads_have_their_stacks_and_their_growth_is_named() {
    if !needs("gcc") {
        return;
    }
    let mut subject = mapped_program("mapped-grow", &["grow"], &[]);
    let pid = subject.pid();
    subject.expect("ready");
    let has = |threads: u64, ranges: u64| {
        let places = places(&report(&pid, &[]));
        let count = |what: &str, place: &str| {
            places.iter().find(|found| found.0 == what && found.1 == place).map(|found| found.2)
        };
        count("thread", "start_pool") == Some(threads) && count("anonymous", "map_index") == Some(ranges)
    };
    assert!(has(5, 1), "{:?}", places(&report(&pid, &[])));
    // The keeper looks at all stacks before they grow.
    let looks = || report(&pid, &["--metric", "mapped"])["moments"].as_array().unwrap().len();
    wait_for("a look at the stacks", || looks() > 1);
    for round in 1..=2 {
        subject.go_on();
        subject.expect("done");
        // Five have ended.
        wait_for("threads that ended", || has(40 * round, 1 + 8 * round));
    }
    let grew = |input: &str| {
        let rss: Value = serde_json::from_str(&heaptap(&["rss", "--json", input])).unwrap();
        Schema::read().check("Resident", &rss);
        let grown = rss["past"]["change"]["mapped"].as_array().cloned().unwrap_or_default();
        let of = |what: &str, place: &str| {
            let found = grown.iter().find(|grown| grown["what"] == what && grown["place"] == place);
            found.and_then(|found| found["grown_ranges"].as_f64())
        };
        (of("thread", "start_pool"), of("anonymous", "map_index"))
    };
    wait_for("growth since the first look", || {
        let (threads, ranges) = grew(&pid);
        threads.is_some_and(|threads| (70.0..=80.0).contains(&threads))
            && ranges.is_some_and(|ranges| (16.0..=17.0).contains(&ranges))
    });
    let text = heaptap(&["rss", &pid]).replace('\n', " ");
    assert!(
        text.contains("started by start_pool")
            && text.contains("by map_index (1")
            && text.contains(" more, anonymous)"),
        "{text}"
    );
    let text = heaptap(&["report", &pid]).replace('\n', " ");
    assert!(text.contains("stacks of 80 threads") && text.contains("started by start_pool"), "{text}");
    let resident = report(&pid, &["--metric", "resident"]);
    let index = resident["sites"].as_array().unwrap().iter();
    let mut index = index.filter(|site| site["label"].as_str().unwrap().contains("map_index"));
    assert_eq!(index.next().unwrap()["bytes"], (17 * MIB) as f64, "{resident}");
    // With the next look at the stacks there is a history beyond the start.
    wait_for("growth by place", || {
        let growth = heaptap(&["growth", "--all", "--metric", "mapped", &pid]);
        growth.contains("map_index") && growth.contains("start_pool")
    });
    let text = heaptap(&["top", "--metric", "resident", &pid]);
    assert!(text.lines().next().unwrap().contains(" resident in ") && text.contains("map_index"), "{text}");
    let text = heaptap(&["report", "--metric", "resident", &pid]);
    assert!(!text.contains("Look at") && !text.contains("jcmd"), "{text}");
    let written = dump(&pid);
    subject.kill();
    // Dead: its region, and the dump.
    for input in [pid.as_str(), written.to_str().unwrap()] {
        let told = report(input, &["--metric", "mapped"]);
        let site = |name: &str| {
            let sites = told["sites"].as_array().unwrap().iter();
            sites.filter(|site| site["label"].as_str().unwrap().contains(name)).cloned().collect::<Vec<_>>()
        };
        assert_eq!(site("map_index")[0]["bytes"], (17 * MIB) as f64, "{told}");
        assert_eq!(site("start_pool")[0]["objects"], 80.0, "{told}");
        assert!(told["error_bytes"].as_f64().unwrap() < 1e6);
    }
    // To others it is the dump that it was: mapped memory is behind the maps, and no part of a sum.
    let text = fs::read_to_string(&written).unwrap();
    let (counts, rest) = text.split_once("MAPPED_LIBRARIES:").unwrap();
    assert!(rest.contains("\n# mapped: thread stack - 80 ") && !counts.contains("mapped"), "{rest}");
    let malloc = report(written.to_str().unwrap(), &[]);
    assert!((38 * MIB..46 * MIB).contains(&(malloc["bytes"].as_f64().unwrap() as u64)), "{malloc}");
    every_command_tells_of_mapped_memory(&subject.folder, written.to_str().unwrap());
}

/// Tables, trees and other tools' files tell what `report` tells of a dump.
fn every_command_tells_of_mapped_memory(folder: &Folder, written: &str) {
    let picture = folder.path().join("picture.html");
    heaptap(&["flame", "--metric", "mapped", "-o", picture.to_str().unwrap(), written]);
    assert!(picture.exists());
    let top: Value =
        serde_json::from_str(&heaptap(&["top", "--cum", "--metric", "mapped", "--json", written])).unwrap();
    Schema::read().check("Top", &top);
    let row = |name: &str| top["rows"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone();
    assert_eq!((&top["metric"], &row("map_index")["below_bytes"]), (&"mapped".into(), &((17 * MIB) as f64).into()));
    assert_eq!(row("start_pool")["below_objects"], 80.0);
    let folded = heaptap(&["convert", "--to", "folded", "--metric", "mapped", written]);
    assert!(folded.lines().any(|line| line.contains("map_index") && line.ends_with(&format!(" {}", 17 * MIB))));
    let profile: Value =
        serde_json::from_str(&heaptap(&["convert", "--to", "json", "--metric", "mapped", written])).unwrap();
    Schema::read().check("Profile", &profile);
    assert_eq!((&profile["metric"], profile["bytes"].as_u64() > Some(17 * MIB)), (&"mapped".into(), true));
    let pprof = folder.path().join("mapped.pb.gz");
    heaptap(&["convert", "--to", "pprof", "--metric", "mapped", "-o", pprof.to_str().unwrap(), written]);
    let pprof = Pprof::read(&pprof);
    let types: Vec<&str> = pprof.sample_types.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(types, ["mapped_ranges", "mapped_space"]);
    let refused =
        Command::new(cli()).args(["convert", "--to", "pprof", "--metric", "inuse-count", written]).output().unwrap();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("-sample_index"));
    // What grows is named in the words of mapped memory, with no advice to look where the reader looks already.
    let same = heaptap(&["diff", "--metric", "mapped", written, written]);
    assert!(same.contains("before -> after"), "{same}");
    let text = heaptap(&["report", "--metric", "mapped", written]);
    assert!(!text.contains("Look at") && !text.contains("jcmd"), "{text}");
}

/// Threads that map, unmap in parts, map over and move: what is recorded is what is mapped, to the byte.
#[test]
fn what_is_recorded_is_what_is_mapped() {
    if !needs("gcc") {
        return;
    }
    for conf in ["prof:true,lg_prof_sample:12", "prof:true,lg_prof_sample:12,prof_allocator:keep"] {
        let folder = Folder::new("mapped-storm");
        let mut command = Command::new(compile("tests/host/mapping_storm.c", &folder));
        command.arg("tell");
        let mut subject = Talker::start(command, folder, conf);
        let bytes: u64 = subject.next().unwrap().parse().unwrap();
        // Threads that have ended are noticed a moment later.
        let told = || report(&subject.pid(), &[])["mapped"].clone();
        wait_for("ended threads", || told()["threads"] == 0);
        let told = told();
        assert_eq!((&told["bytes"], &told["unrecorded"]), (&bytes.into(), &0.into()), "{told}");
        // The process's own dump has no look at the mappings of now.
        let written = dump(&subject.pid());
        let told = report(written.to_str().unwrap(), &[])["mapped"].clone();
        assert_eq!(told["bytes"], bytes, "{told}");
    }
}

fn failures(input: &str) -> Vec<Value> {
    report(input, &[])["failures"].as_array().unwrap().clone()
}

/// A mapping that the kernel refuses is told with the limit that was met, and who asked.
#[test]
fn refused_mappings_are_told_with_their_limit() {
    if !needs("gcc") {
        return;
    }
    let mut space = mapped_program("mapped-space", &["space", "900"], &[]);
    space.expect("ready");
    let told = failures(&space.pid());
    assert_eq!((&told[0]["what"], &told[0]["place"]), (&"mapping".into(), &"map_index".into()), "{told:?}");
    assert_eq!((&told[0]["limit"]["name"], &told[0]["bytes"]), (&"RLIMIT_AS (ulimit -v)".into(), &(16 << 20).into()));
    let text = heaptap(&["report", &space.pid()]);
    assert!(text.contains("it could not map 16.0 MiB of memory (ENOMEM): RLIMIT_AS"), "{text}");
    let most = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse::<u64>().unwrap();
    if most > 200_000 {
        return skip("vm.max_map_count is too large to be reached");
    }
    let mut maps = mapped_program("mapped-maps", &["maps"], &[]);
    maps.expect("ready");
    let told = failures(&maps.pid());
    assert_eq!((&told[0]["what"], &told[0]["place"]), (&"mapping".into(), &"map_index".into()), "{told:?}");
    assert_eq!((&told[0]["limit"]["name"], &told[0]["limit"]["value"]), (&"vm.max_map_count".into(), &most.into()));
}

/// A container's limit on tasks.
#[test]
fn a_container_that_may_start_no_more_threads_is_told_so() {
    if !needs("gcc") {
        return;
    }
    let Some(group) = Group::new("pids", &[("pids.max", "60")]) else {
        return skip("no control group with pids.max can be made");
    };
    let enter = group.entry();
    let mut subject = mapped_program("mapped-pids", &["threads"], &["sh", "-c", &enter, "sh"]);
    subject.expect("ready");
    let told = failures(&subject.pid());
    assert_eq!((&told[0]["what"], &told[0]["place"]), (&"thread".into(), &"start_pool".into()), "{told:?}");
    assert_eq!((&told[0]["limit"]["name"], &told[0]["limit"]["value"]), (&"pids.max".into(), &60.into()), "{told:?}");
    // And who started all the others.
    let places = places(&report(&subject.pid(), &[]));
    let threads = places.iter().find(|place| place.0 == "thread").unwrap();
    assert!(threads.1 == "start_pool" && threads.2 > 50, "{places:?}");
    subject.kill();
}

/// Java methods map files and start threads; what the machine maps for itself is told apart.
#[test]
fn java_methods_map_files_and_start_threads() {
    let Some(jvm) = jvms().pop() else { return };
    let folder = Folder::new("mapped-java");
    if !compile_class("Mapped", &folder) {
        return;
    }
    let mut command = jvm.command();
    command.args(["-Xmx128m", "-cp"]).arg(folder.path()).arg("Mapped").arg(folder.path());
    let mut subject = Talker::start(command, folder, "prof:true");
    subject.expect("ready");
    let told = report(&subject.pid(), &[]);
    let found = places(&told);
    let index = ("file".to_owned(), "Mapped.openIndex".to_owned(), 16, 64 * MIB);
    assert!(found.contains(&index), "{found:?}");
    let threads = found.iter().find(|place| place.1 == "Mapped$Pool.run").unwrap();
    assert_eq!((threads.0.as_str(), threads.2), ("thread", 30), "{found:?}");
    // The heap's committed part and the tables beside it; none of it is a place of the program.
    assert!(told["mapped"]["jvm_bytes"].as_u64().unwrap() > 8 * MIB, "{told}");
    assert!(found.iter().all(|place| !place.1.starts_with("os::")), "{found:?}");
    wait_for("the machine's tables", || {
        let by_class = report(&subject.pid(), &["--metric", "mapped"]);
        let sites = by_class["sites"].as_array().unwrap().iter();
        // All files of the index are one row.
        let files: Vec<&Value> =
            sites.clone().filter(|site| site["label"].as_str().unwrap().contains("/_*.cfs]")).collect();
        assert!(files.len() == 1 && files[0]["bytes"] == (64 * MIB) as f64, "{by_class}");
        assert!(files[0]["label"].as_str().unwrap().ends_with(" <- Mapped.openIndex"), "{by_class}");
        sites.filter(|site| ["[Java heap]", "[code cache]"].contains(&site["label"].as_str().unwrap())).count() == 2
    });
}
