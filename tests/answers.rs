//! `growth`, `leaks`, `diff` and `convert`: expected texts as files, exit codes, and other tools as judges.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{Folder, cli, needs};

fn dumps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dumps")
}

fn shop(number: &str) -> PathBuf {
    dumps().join(format!("shop/shop.4711.{number}.heap"))
}

fn heaptap(arguments: &[&str], files: &[PathBuf]) -> Output {
    let mut command = Command::new(cli());
    command.args(arguments).args(files).env("COLUMNS", "100").env_remove("LD_PRELOAD").output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The text of a file beside the dumps; `HEAPTAP_BLESS=1` writes it anew.
fn assert_is_file(name: &str, output: &Output) {
    let (path, text) = (dumps().join(name), stdout(output));
    if std::env::var_os("HEAPTAP_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{name} (HEAPTAP_BLESS=1 rewrites it)");
}

fn live_bytes(file: &Path) -> f64 {
    let output = heaptap(&["report", "--json"], &[file.to_owned()]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    report["bytes"].as_f64().unwrap()
}

#[test]
fn growth_names_what_grows_by_site_and_by_package() {
    let output = heaptap(&["growth"], &[dumps().join("shop")]);
    assert!(output.status.success());
    assert_is_file("shop.growth.txt", &output);
    assert_is_file(
        "shop.growth-package.txt",
        &heaptap(&["growth", "--by", "package", "--all"], &[dumps().join("shop")]),
    );
    let json: serde_json::Value =
        serde_json::from_slice(&heaptap(&["growth", "--json"], &[dumps().join("shop")]).stdout).unwrap();
    assert_eq!((&json["schema"], json["rows"].as_array().unwrap().len()), (&1.into(), 3));
    assert_eq!(json["rows"][0]["trend"]["verdict"], "grows");
}

#[test]
fn leaks_are_a_finding_and_one_dump_is_not_enough() {
    let output = heaptap(&["leaks"], &[dumps().join("shop")]);
    assert_eq!(output.status.code(), Some(1));
    assert_is_file("shop.leaks.txt", &output);
    let one = heaptap(&["leaks"], &[shop("2.f")]);
    assert_eq!(one.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&one.stderr).contains("one dump cannot show a leak"));
    // The same state twice: nothing leaks.
    let folder = Folder::new("steady");
    let again = std::fs::read_to_string(shop("0.i0")).unwrap().replace("22:00:00", "22:30:00");
    let still = heaptap(&["leaks"], &[shop("0.i0"), folder.write("shop.4711.9.f.heap", &again)]);
    assert_eq!(still.status.code(), Some(0));
    assert!(stdout(&still).contains("nothing leaks"));
}

#[test]
fn diff_goes_both_ways_and_fails_above_a_bound() {
    let forth = heaptap(&["diff"], &[shop("0.i0"), shop("2.f")]);
    assert_is_file("shop.diff.txt", &forth);
    let back = heaptap(&["diff"], &[shop("2.f"), shop("0.i0")]);
    assert!(stdout(&back).contains("-174 MiB") && stdout(&back).contains("shrinks"), "{}", stdout(&back));
    for (bound, status) in [("100MiB", 1), ("1GiB", 0)] {
        let output = heaptap(&["diff", "--fail-above", bound], &[shop("0.i0"), shop("2.f")]);
        assert_eq!(output.status.code(), Some(status), "{bound}");
    }
}

#[test]
fn folded_and_speedscope_hold_all_bytes() {
    let live = live_bytes(&shop("2.f"));
    let folded = stdout(&heaptap(&["convert", "--to", "folded"], &[shop("2.f")]));
    let sum: f64 = folded.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
    assert!((sum - live).abs() < 5.0, "{sum} {live}");
    assert!(folded.contains("com.shop.Server.handle;com.shop.Catalog.lookup;com.shop.Catalog.unpack;"));

    let output = heaptap(&["convert", "--to", "speedscope"], &[shop("2.f")]);
    let file: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let bytes = &file["profiles"][0];
    let (samples, weights) = (bytes["samples"].as_array().unwrap(), bytes["weights"].as_array().unwrap());
    assert_eq!(samples.len(), weights.len());
    let sum: u64 = weights.iter().map(|weight| weight.as_u64().unwrap()).sum();
    assert_eq!(bytes["endValue"].as_u64(), Some(sum));
    assert!((sum as f64 - live).abs() < 5.0);
    let frames = file["shared"]["frames"].as_array().unwrap();
    let index = |value: &serde_json::Value| value.as_u64().unwrap() as usize;
    // Root first.
    assert_eq!(frames[index(&samples[0][0])]["name"], "java.lang.Thread.run");
}

#[test]
fn pprof_files_are_read_by_go_tool_pprof_with_the_same_total() {
    if !needs("go") {
        return;
    }
    let folder = Folder::new("pprof");
    for dump in [shop("2.f"), dumps().join("small.heap")] {
        let file = folder.path().join("x.pb.gz");
        let output = heaptap(&["convert", "--to", "pprof", "-o", file.to_str().unwrap()], std::slice::from_ref(&dump));
        assert!(output.status.success());
        let raw = Command::new("go")
            .args(["tool", "pprof", "-raw"])
            .arg(&file)
            .env("PPROF_BINARY_PATH", "/none")
            .output()
            .unwrap();
        assert!(raw.status.success(), "{}", String::from_utf8_lossy(&raw.stderr));
        let text = stdout(&raw);
        assert!(text.contains("PeriodType: space bytes") && text.contains("Period: 131072"), "{text}");
        assert!(text.contains("inuse_objects/count inuse_space/bytes[dflt]"), "{text}");
        let samples = text.split("Samples:").nth(1).unwrap().split("Locations").next().unwrap();
        let value = |line: &str| line.split(':').next()?.split_whitespace().nth(1)?.parse::<f64>().ok();
        let sum: f64 = samples.lines().filter_map(value).sum();
        let live = live_bytes(&dump);
        assert!((sum - live).abs() < 5.0, "{sum} {live}: {text}");
    }
}

#[test]
fn a_result_file_appears_whole_or_not_at_all() {
    let folder = Folder::new("output");
    let path = folder.path().join("no/such/folder.json");
    let output = heaptap(&["report", "--json", "-o", path.to_str().unwrap()], &[shop("2.f")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write"));
    let path = folder.path().join("report.json");
    assert!(heaptap(&["report", "--json", "-o", path.to_str().unwrap()], &[shop("2.f")]).status.success());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
