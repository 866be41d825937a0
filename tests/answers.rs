//! `growth`, `leaks`, `diff` and `convert`: expected texts as files, exit codes, and other tools as judges.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{Folder, Schema, cli, needs};

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
    live_of(&heaptap(&["report", "--json"], &[file.to_owned()]))
}

fn live_of(output: &Output) -> f64 {
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
    assert_eq!(one.status.code(), Some(3));
    assert!(stdout(&one).contains("CANNOT TELL: one dump without ages"), "{one:?}");
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
fn answers_are_documents_for_tickets_and_pull_requests() {
    assert_is_file("shop.diff.md", &heaptap(&["diff", "--markdown"], &[shop("0.i0"), shop("2.f")]));
    assert_is_file("shop.report.md", &heaptap(&["report", "--markdown", "-n", "2"], &[dumps().join("shop")]));
    let page = stdout(&heaptap(&["report", "--html"], &[dumps().join("shop")]));
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("LEAKS: +174 MiB") && !page.contains("<script"));
    // A bound is kept whatever the form.
    let bound = heaptap(&["diff", "--markdown", "--fail-above", "100MiB"], &[shop("0.i0"), shop("2.f")]);
    assert_eq!(bound.status.code(), Some(1));
    assert_eq!(heaptap(&["report", "--markdown", "--json"], &[shop("2.f")]).status.code(), Some(2));
}

/// The last dump of the shop as a process of today would be read: with ages, classes of memory, and a limit.
fn today(folder: &Folder) -> PathBuf {
    let text = std::fs::read_to_string(shop("2.f")).unwrap();
    let more = "# rss_java_heap: 500000000\n# rss_malloc: 330000000\n# memory_limit_bytes: 2000000000\n\
        # ages: 3\n# age: 0 90/443/17700000 98/4500/180400000 | 12/100 14/30\n# age: 1 100/1301/85300000 |\n\
        # event: 1795644000000000000 sampling-started 131072\n# event: 1795644060000000000 governor 1048576\n\
        # event: 1795644100000000000 sampling-stopped 0\n# event: 1795644110000000000 sampling-started 1048576\n";
    folder.write("shop.4711.2.f.heap", &format!("{text}{more}"))
}

#[test]
fn json_is_what_its_page_promises() {
    let folder = Folder::new("schema");
    let series = [shop("0.i0"), shop("1.i1"), today(&folder)];
    let json = |arguments: &[&str], files: &[PathBuf]| -> serde_json::Value {
        let output = heaptap(arguments, files);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?} {error}: {output:?}"))
    };
    let mut schema = Schema::read();
    schema.check("Report", &json(&["report", "--json"], &series));
    schema.check("Report", &json(&["report", "--json", "--by", "class", "--metric", "inuse-count"], &series[..1]));
    schema.check("Report", &json(&["report", "--json"], &[dumps().join("small.heap")]));
    schema.check("Growth", &json(&["growth", "--json"], &series));
    schema.check("Growth", &json(&["growth", "--json", "--depth", "2"], &series));
    schema.check("Growth", &json(&["leaks", "--json"], &series));
    schema.check("Growth", &json(&["diff", "--json"], &[shop("0.i0"), shop("2.f")]));
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    schema.check("Resident", &json(&["rss", "--json"], &[folder.write("smaps", &smaps)]));
    schema.check("CallTree", &json(&["tree", "--json"], &series));
    let whole = json(&["tree", "--json", "--least", "0"], &series);
    let is_top = |node: &&serde_json::Value| node["parent"].is_null();
    let nodes = whole["nodes"].as_array().unwrap();
    let tops: f64 = nodes.iter().filter(is_top).map(|node| node["bytes"].as_f64().unwrap()).sum();
    let own: f64 = nodes.iter().map(|node| node["own_bytes"].as_f64().unwrap()).sum();
    let all = whole["bytes"].as_f64().unwrap();
    assert!((tops - all).abs() < 1.0 && (own - all).abs() < 1.0, "{tops} {own} {all}");
    schema.check("CallTree", &json(&["tree", "--json", "--callers", "--least", "20"], &series));
    schema.check("Top", &json(&["top", "--json"], &series));
    schema.check("Callers", &json(&["callers", "--json", "Catalog.unpack"], &series));
    schema.check("Info", &json(&["info", "--json"], &series));
    schema.check("Symbols", &json(&["symbols", "--json"], &series));
    schema.check("Profile", &json(&["convert", "--to", "json"], &series));
    // What only running processes have is in tests/living.rs, tests/history.rs, tests/lives.rs, tests/resident.rs,
    // tests/holders.rs, tests/small.rs and tests/keep.rs; of many processes in tests/fleet.rs.
    let living = [
        "Allocator",
        "Change",
        "Collected",
        "Collection",
        "Failed",
        "Fleet",
        "FleetExample",
        "FleetLabel",
        "FleetRow",
        "FleetRowValue",
        "FleetValue",
        "GrewWith",
        "HeldPlace",
        "Holders",
        "Kept",
        "Life",
        "Limit",
        "Link",
        "Listed",
        "Look",
        "Mapped",
        "MappedPlace",
        "Moment",
        "Part",
        "Past",
        "ResidentMoment",
        "SmallRow",
        "Status",
        "Statuses",
        "Vote",
    ];
    assert_eq!(schema.unseen(), living);
}

#[test]
fn leaks_judges_one_dump_by_the_ages_of_its_objects() {
    let folder = Folder::new("ages");
    let text = std::fs::read_to_string(shop("2.f")).unwrap();
    // Freed ones lived for half a second; the live ones were born evenly over an hour.
    let widths = [54; 4].into_iter().chain([107; 4]).chain([215; 4]).chain([430; 4]).chain([860; 2]);
    let live: String = (84u32..).zip(widths).map(|(bin, n)| format!("{bin}/{n}/{} ", n * 40_075)).collect();
    let ages = format!("# ages: 3\n# age: 0 {live}| 12/4000\n# age: 1 102/1301/85300000 |\n");
    let aged = text.replace("# uptime_ns: 1260000000000", "# uptime_ns: 3600000000000");
    let dump = folder.write("shop.4711.2.f.heap", &format!("{aged}{ages}"));
    let output = heaptap(&["leaks"], std::slice::from_ref(&dump));
    assert_eq!(output.status.code(), Some(1));
    assert_is_file("aged.leaks.txt", &output);
    // A young process has no past.
    let young = std::fs::read_to_string(&dump).unwrap().replace("uptime_ns: 3600", "uptime_ns: 60");
    let young = folder.write("shop.4711.3.f.heap", &young.replace(&live, "66/4943/198100000 "));
    let young = heaptap(&["leaks"], &[young]);
    assert_eq!(young.status.code(), Some(3));
    assert!(stdout(&young).contains("cannot be judged"), "{young:?}");
    // The report's first lines say so, too; what was allocated once and kept is none.
    let report = stdout(&heaptap(&["report"], &[dump]));
    assert!(report.contains("LEAKS, by the ages of objects"), "{report}");
    assert!(report.contains("kept"), "{report}");
}

#[test]
fn filters_reach_every_report() {
    let folder = Folder::new("filters");
    let today = today(&folder);
    let text = |arguments: &[&str], files: &[PathBuf]| {
        let output = heaptap(arguments, files);
        assert!(output.status.code().is_some_and(|code| code < 2), "{arguments:?} {output:?}");
        stdout(&output)
    };
    // Threads: rows, and words to choose by.
    let by_thread = text(&["growth", "--by", "thread", "--all"], &[dumps().join("shop")]);
    assert!(by_thread.contains("thread http-worker-1") && by_thread.contains("thread main"), "{by_thread}");
    assert!(text(&["top", "--by", "thread"], &[shop("2.f")]).contains("thread http-worker-1"));
    let worker = live_of(&heaptap(&["report", "--json", "--threads", "--focus", "http-worker"], &[shop("2.f")]));
    let others = live_of(&heaptap(&["report", "--json", "--threads", "--ignore", "http-worker"], &[shop("2.f")]));
    assert!(worker > 0.0 && (worker + others - live_bytes(&shop("2.f"))).abs() < 1.0, "{worker} {others}");
    // Frames that are hidden are gone, their bytes are not.
    let hidden = heaptap(&["report", "--json", "--hide", "com.shop"], &[shop("2.f")]);
    assert!(!stdout(&hidden).contains("com.shop.Catalog"));
    assert!((live_of(&hidden) - live_bytes(&shop("2.f"))).abs() < 1.0);
    // Stacks cut at one frame: one row for each allocating function.
    let shallow = text(&["growth", "--depth", "1", "--all"], &[dumps().join("shop")]);
    assert!(shallow.contains("libz.so.1.2.13\n") && !shallow.contains("Catalog"), "{shallow}");
    // Counts instead of bytes, in the table and in the tree.
    let counted = text(&["report", "--metric", "inuse-count"], &[shop("2.f")]);
    assert!(counted.contains("31,944 objects live in 295 MiB"), "{counted}");
    assert!(text(&["tree", "--metric", "inuse-count"], &[shop("2.f")]).starts_with("31,944 objects live"));
    let none = heaptap(&["report", "--metric", "alloc-bytes"], &[shop("2.f")]);
    assert!(String::from_utf8_lossy(&none.stderr).contains("prof_accum:true"), "{none:?}");
    // Dumps of the last ten minutes.
    let since = heaptap(&["growth", "--since", "15min", "--json"], &[dumps().join("shop")]);
    let since: serde_json::Value = serde_json::from_slice(&since.stdout).unwrap();
    assert_eq!(since["dumps"].as_array().unwrap().len(), 2);
    // Objects of some age: a part of one stack, all of another, and none of what has no ages is lost.
    let old = live_of(&heaptap(&["report", "--json", "--older-than", "20min"], std::slice::from_ref(&today)));
    assert!(old < live_bytes(&today) && old > 0.0, "{old}");
    let stock = heaptap(&["report", "--older-than", "1h"], &[dumps().join("small.heap")]);
    assert!(String::from_utf8_lossy(&stock.stderr).contains("tells no ages of objects"), "{stock:?}");
    // Both sides of a comparison are filtered.
    let diff = text(&["diff", "--focus", "Cache", "--all"], &[shop("0.i0"), shop("2.f")]);
    assert!(diff.contains("com.shop.Cache") && !diff.contains("Catalog"), "{diff}");
}

#[test]
fn patterns_that_no_shell_expanded_are_expanded() {
    let output = heaptap(&["growth"], &[dumps().join("shop/shop.*.heap")]);
    assert_is_file("shop.growth.txt", &output);
    let none = heaptap(&["growth"], &[dumps().join("shop/none.*.heap")]);
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("no file fits"), "{none:?}");
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
