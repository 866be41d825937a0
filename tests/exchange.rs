//! What other tools make of the files that `convert` writes: a strict reader of pprof's rules, go tool pprof, stock
//! jeprof, inferno, and speedscope itself in a browser.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{Folder, Pprof, chromium, cli, needs, npm_package};

fn dumps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dumps")
}

fn shop() -> PathBuf {
    dumps().join("shop/shop.4711.2.f.heap")
}

fn heaptap(arguments: &[&str], file: &Path) -> Output {
    let output = Command::new(cli()).args(arguments).arg(file).env_remove("LD_PRELOAD").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Converts into a file of the folder.
fn convert(folder: &Folder, dump: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let path = folder.path().join(name);
    heaptap(&[&["convert", "-o", path.to_str().unwrap(), "--to"], arguments].concat(), dump);
    path
}

fn report(dump: &Path) -> serde_json::Value {
    serde_json::from_slice(&heaptap(&["report", "--json"], dump).stdout).unwrap()
}

/// A dump of `count` different stacks of 12 frames, in a program that is not there.
fn many_stacks(folder: &Folder, count: u64) -> PathBuf {
    let mut text = String::from("heap_v2/524288\n  t*: 1: 1 [0: 0]\n");
    for number in 0..count {
        let frame = |depth: u64| format!(" {:#x}", 0x40_0000 + (number >> depth) * 16 + depth);
        let frames: String = (0..12).map(frame).collect();
        text += &format!("@{frames}\n  t*: 1: {} [0: 0]\n", 1024 + number);
    }
    text += "\nMAPPED_LIBRARIES:\n00400000-7000000 r-xp 00000000 00:00 7 /srv/no/such/program\n";
    folder.write("x.7.0.f.heap", &text)
}

#[test]
fn pprof_files_keep_the_rules_of_the_strictest_reader() {
    let folder = Folder::new("pprof-rules");
    for dump in [shop(), dumps().join("small.heap"), many_stacks(&folder, 3000)] {
        let report = report(&dump);
        for arguments in [&["pprof"][..], &["pprof", "--fleet"]] {
            let profile = Pprof::read(&convert(&folder, &dump, "x.pb.gz", arguments));
            let types: Vec<&str> = profile.sample_types.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(types, ["inuse_objects", "inuse_space"]);
            let rounding = profile.samples.len() as f64;
            assert!((profile.sum("inuse_space") as f64 - report["bytes"].as_f64().unwrap()).abs() <= rounding);
            assert!((profile.sum("inuse_objects") as f64 - report["objects"].as_f64().unwrap()).abs() <= rounding);
        }
    }
    // The time is the dump's, and Java names are whole.
    let profile = Pprof::read(&convert(&folder, &shop(), "x.pb.gz", &["pprof"]));
    assert_eq!(profile.time / 1_000_000, 1_795_645_200_250);
    let stacks: Vec<Vec<&str>> = profile.samples.iter().map(|sample| profile.stack(sample)).collect();
    assert!(stacks.iter().any(|stack| stack.contains(&"java.util.zip.GZIPInputStream.<init>")), "{stacks:?}");
}

#[test]
fn a_profile_for_fleets_is_small_and_still_holds_all_bytes() {
    let folder = Folder::new("pprof-fleet");
    let dump = many_stacks(&folder, 60_000);
    let whole = Pprof::read(&convert(&folder, &dump, "whole.pb.gz", &["pprof"]));
    let fleet = Pprof::read(&convert(&folder, &dump, "fleet.pb.gz", &["pprof", "--fleet"]));
    assert_eq!(whole.samples.len(), 60_000);
    assert!(fleet.samples.len() <= 15_001 && fleet.bytes <= 2 << 20, "{} {}", fleet.samples.len(), fleet.bytes);
    let apart = whole.sum("inuse_space").abs_diff(fleet.sum("inuse_space"));
    assert!(apart <= 60_000, "{apart}");
    let rest = fleet.samples.last().unwrap();
    assert_eq!(fleet.stack(rest), ["[smaller stacks]"]);
    // What is kept is the biggest.
    let smallest = fleet.samples.iter().rev().skip(1).map(|sample| sample.values[1]).min().unwrap();
    let bigger = whole.samples.iter().filter(|sample| sample.values[1] > smallest).count();
    assert!(bigger <= fleet.samples.len(), "{bigger}");
}

#[test]
fn folded_files_are_read_by_inferno_with_the_same_total() {
    let folder = Folder::new("inferno");
    let file = convert(&folder, &shop(), "x.folded", &["folded"]);
    let text = std::fs::read_to_string(&file).unwrap();
    let mut options = inferno::flamegraph::Options::default();
    options.count_name = "bytes".to_owned();
    let mut svg = Vec::new();
    inferno::flamegraph::from_lines(&mut options, text.lines(), &mut svg).unwrap();
    let svg = String::from_utf8(svg).unwrap();
    let all = svg.split("<title>all (").nth(1).unwrap().split(' ').next().unwrap().replace(',', "");
    let live = report(&shop())["bytes"].as_f64().unwrap();
    assert!((all.parse::<f64>().unwrap() - live).abs() < 5.0, "{all} {live}");
    assert!(svg.contains("com.shop.Catalog.unpack"));
}

#[test]
fn speedscope_imports_its_own_form_folded_stacks_and_pprof() {
    let (Some(browser), true, Some(package)) = (chromium(), needs("node"), npm_package("speedscope")) else { return };
    let folder = Folder::new("speedscope");
    let files = [
        convert(&folder, &shop(), "x.speedscope.json", &["speedscope"]),
        convert(&folder, &shop(), "x.folded", &["folded"]),
        convert(&folder, &shop(), "x.pb.gz", &["pprof"]),
    ];
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/speedscope.js");
    let output = Command::new("node").arg(script).arg(browser).arg(package).args(&files).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let shown: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(shown.len(), files.len());
    for file in &shown {
        let rows = file["rows"].as_array().unwrap();
        let row = |name: &str| rows.iter().find(|row| row[2] == name).unwrap_or_else(|| panic!("{name}: {rows:?}"));
        // The share that it works out is the report's.
        let total = row("com.shop.Catalog.unpack")[0].as_str().unwrap();
        assert!(total.ends_with("(64%)"), "{total}");
        assert_eq!(file["errors"].as_array().unwrap().len(), 0);
    }
    // Folded stacks have no unit, so that it shows every digit.
    let own = |row: &serde_json::Value| -> f64 {
        let number = row[1].as_str().unwrap().split(' ').next().unwrap().replace(',', "");
        number.parse().unwrap_or(0.0)
    };
    let sum: f64 = shown[1]["rows"].as_array().unwrap().iter().map(own).sum();
    let live = report(&shop())["bytes"].as_f64().unwrap();
    assert!((sum - live).abs() < 5.0, "{sum} {live}");
}

#[test]
fn the_json_form_holds_every_stack_with_its_past() {
    let output = heaptap(&["convert", "--to", "json"], &dumps().join("shop"));
    let file: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let live = report(&dumps().join("shop"))["bytes"].as_f64().unwrap();
    assert_eq!((&file["schema"], file["dumps"].as_array().unwrap().len()), (&1.into(), 3));
    let stacks = file["stacks"].as_array().unwrap();
    let sum: u64 = stacks.iter().map(|stack| stack["bytes"].as_u64().unwrap()).sum();
    assert!((sum as f64 - live).abs() < 5.0);
    // Every reference leads somewhere, and the past ends with the present.
    let count = |key: &str| file[key].as_array().unwrap().len() as u64;
    for stack in stacks {
        let locations = stack["locations"].as_array().unwrap();
        assert!(locations.iter().all(|id| id.as_u64().unwrap() < count("locations")));
        assert_eq!(stack["history"].as_array().unwrap().last().unwrap()[1], stack["bytes"]);
    }
    for location in file["locations"].as_array().unwrap() {
        let lines = location["lines"].as_array().unwrap();
        assert!(lines.iter().all(|line| line[0].as_u64().unwrap() < count("functions")));
    }
}
