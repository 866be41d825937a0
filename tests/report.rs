//! `heaptap report` as its users see it: expected texts as files, and stock jeprof as the judge of its sums.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{EVERY_ALLOCATION, Folder, HOWEVER_SHORT, Subject, cli, collect_dumps, have_jeprof, jeprof_text, skip};

/// Relative to the package, where [`report`] runs: reports repeat the paths they were given.
fn dumps() -> PathBuf {
    PathBuf::from("tests/dumps")
}

fn report(arguments: &[&str], files: &[PathBuf]) -> Output {
    let mut command = Command::new(cli());
    command.arg("report").args(arguments).args(files).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env("COLUMNS", "100").env_remove("LD_PRELOAD");
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The text of a file beside the dumps; `HEAPTAP_BLESS=1` writes it anew.
fn assert_is_file(name: &str, text: &str) {
    let path = dumps().join(name);
    if std::env::var_os("HEAPTAP_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{name} (HEAPTAP_BLESS=1 rewrites it)");
}

#[test]
fn a_series_is_shown_on_one_screen_with_java_names_and_growth() {
    let output = report(&[], &[dumps().join("shop")]);
    assert!(output.status.success());
    let text = stdout(&output);
    assert!(text.lines().count() <= 40 && text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert_is_file("shop.report.txt", &text);
}

#[test]
fn a_series_is_never_summed() {
    let last = json(&report(&["--json"], &[dumps().join("shop/shop.4711.2.f.heap")]));
    let all = json(&report(&["--json"], &[dumps().join("shop")]));
    assert_eq!((&all["bytes"], all["dumps"].as_array().unwrap().len()), (&last["bytes"], 3));
    assert_eq!(all["schema"], 1);
    let leak = &all["sites"][0];
    assert_eq!(
        (&leak["trend"]["verdict"], &leak["frames"][4]["name"]),
        (&"grows".into(), &"com.shop.Catalog.unpack".into())
    );
}

#[test]
fn other_processes_are_listed_and_chosen_by_pid() {
    let files = [dumps().join("shop"), dumps().join("small.heap")];
    let output = report(&[], &files);
    assert!(stdout(&output).starts_with("java (pid 4711)"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 life of java and 1 of other programs: this one"));
    let merged = json(&report(&["--json", "--merge"], &files))["bytes"].as_f64().unwrap();
    let parts = [&files[..1], &files[1..]].map(|files| json(&report(&["--json"], files))["bytes"].as_f64().unwrap());
    assert!((merged - parts[0] - parts[1]).abs() < 1.0);
    let output = report(&["--pid", "9"], &files);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("none of the dumps is of process 9"));
}

#[test]
fn what_jeprof_users_type_is_understood() {
    let output = report(&[], &[PathBuf::from("java"), dumps().join("shop/shop.4711.2.f.heap")]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("`java` is ignored"));
}

#[test]
fn damage_is_told_and_costs_only_what_is_damaged() {
    let folder = Folder::new("damaged");
    let whole = std::fs::read_to_string(dumps().join("small.heap")).unwrap();
    let cut = folder.write("x.7.0.f.heap", &whole[..whole.len() / 3]);
    let empty = folder.write("x.7.1.f.heap", "");
    let output = report(&[], &[cut, empty]);
    assert!(output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("without MAPPED_LIBRARIES") && told.contains("the file is empty"), "{told}");
    let output = report(&[], &[PathBuf::from("/etc/passwd")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not a jemalloc heap profile"));
}

#[test]
fn a_hostile_name_reaches_no_terminal() {
    let folder = Folder::new("hostile");
    let whole = std::fs::read_to_string(dumps().join("shop/shop.4711.2.f.heap")).unwrap();
    let hostile = whole.replace("com/shop/Catalog unpack", "com/shop/\u{1b}[31m\u{7}Catalog unpack");
    let output = report(&[], &[folder.write("x.7.0.f.heap", &hostile)]);
    assert!(stdout(&output).contains("com.shop.?[31m?Catalog.unpack"));
    assert!(!output.stdout.contains(&0x1b));
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let script = format!(
        "{} report {} | head -c 1 > /dev/null; echo ${{PIPESTATUS[0]}}",
        cli().display(),
        dumps().join("shop").display()
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n");
}

#[test]
fn ages_are_in_dumps_and_stock_jeprof_reads_them_as_before() {
    let folder = Folder::new("ages");
    let program = folder.path().join("lifetimes");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/lifetimes.c");
    assert!(Command::new("gcc").args(["-O1", "-g", "-o"]).arg(&program).arg(source).status().unwrap().success());
    let outcome = Subject::new(&program).run_tapped(&format!("{EVERY_ALLOCATION},{HOWEVER_SHORT}"));
    let dump = outcome.final_dump().unwrap();
    let whole = json(&report(&["--json"], std::slice::from_ref(&dump.path)));
    let sites = whole["sites"].as_array().unwrap();
    // Each call of `keep` is a site of its own: at the beginning, after the pause, and where most are freed.
    let kept: Vec<_> = sites.iter().filter(|site| site["frames"][0]["name"] == "keep").collect();
    let objects = |site: &serde_json::Value| site["objects"].as_f64().unwrap().round() as u64;
    let all: u64 = kept.iter().map(|site| objects(site)).sum();
    assert_eq!(all, 400, "{whole:#}");
    let freed: u64 = kept.iter().map(|site| site["ages"]["freed_samples"].as_u64().unwrap()).sum();
    assert_eq!(freed, 400, "{whole:#}");
    let oldest = kept.iter().map(|site| site["ages"]["oldest_seconds"].as_f64().unwrap()).fold(0.0, f64::max);
    assert!((1.7..60.0).contains(&oldest), "{oldest}");
    // Older than what came after the pause, which may have been some time before the end, are the first 200, and what
    // the start of the program allocated.
    let younger = kept.iter().map(|site| site["ages"]["oldest_seconds"].as_f64().unwrap());
    let younger = younger.filter(|age| *age < oldest - 1.0).fold(0.0, f64::max);
    let between = format!("{:.3}s", (oldest + younger) / 2.0);
    let old = json(&report(&["--json", "--older-than", &between], std::slice::from_ref(&dump.path)));
    let old_objects: u64 =
        old["sites"].as_array().unwrap().iter().filter(|site| site["frames"][0]["name"] == "keep").map(objects).sum();
    assert_eq!(old_objects, 200, "{old:#}");
    if have_jeprof() {
        let rows = jeprof_text(&program, dump);
        let theirs: u64 = rows.iter().map(|row| row.flat).sum();
        let ours = whole["bytes"].as_f64().unwrap();
        assert!((ours - theirs as f64).abs() <= rows.len() as f64 + 1.0, "{ours} {theirs}");
    }
}

/// Stock jemalloc as Debian's libjemalloc2 installs it.
fn stock_jemalloc() -> Option<PathBuf> {
    let places = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let found = places.iter().map(|place| Path::new(place).join("libjemalloc.so.2")).find(|path| path.exists());
    if found.is_none() {
        skip("no stock libjemalloc.so.2 (package libjemalloc2)");
    }
    found
}

#[test]
fn totals_equal_stock_jeprofs_on_stock_dumps() {
    let Some(jemalloc) = stock_jemalloc().filter(|_| have_jeprof()) else { return };
    let folder = Folder::new("stock");
    let prefix = folder.path().join("jeprof");
    // Our own program is a subject that is always there: what it allocates while it reports.
    for period in [0, 10, 14] {
        let conf = format!("prof:true,prof_final:true,lg_prof_sample:{period},prof_prefix:{}", prefix.display());
        let outcome = Subject::new(cli())
            .args(["report", "--json"])
            .args([Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dumps/shop")])
            .env("LD_PRELOAD", &jemalloc)
            .env("MALLOC_CONF", &conf)
            .run_plain();
        assert!(outcome.status.success(), "{}", outcome.stderr);
    }
    let written = collect_dumps(folder.path());
    assert_eq!(written.len(), 3);
    for dump in written {
        let rows = jeprof_text(&cli(), &dump);
        let theirs: u64 = rows.iter().map(|row| row.flat).sum();
        let ours = json(&report(&["--json"], std::slice::from_ref(&dump.path)))["bytes"].as_f64().unwrap();
        assert!(theirs > 0, "{}", dump.path.display());
        // jeprof cuts each function's sum to whole bytes.
        assert!((ours - theirs as f64).abs() <= rows.len() as f64 + 1.0, "{ours} {theirs}");
    }
}
