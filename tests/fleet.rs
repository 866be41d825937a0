//! A fleet of known truth: 200 lives of five versions of a program, 50 dumps each, two versions of which leak. What
//! `heaptap fleet` says of it, and what the SQL of `examples/fleet/README.md` finds in its table.
//!
//! The lives are simulated (`verdicts/world.rs`). Addresses, numbers of lambdas and tokens are others in each, and
//! pids are the same, as in pods; so nothing but the names of frames joins them.

mod support;
#[path = "verdicts/world.rs"]
#[allow(dead_code, reason = "programs of verdicts.rs do more")]
mod world;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use support::{Folder, Schema, cli, python_with};
use world::World;

const KIB: f64 = 1024.0;
const MIB: f64 = 1_048_576.0;
/// Lives of each version, and dumps of each life.
const LIVES: u64 = 40;
const DUMPS: u64 = 50;
/// Seconds between two dumps, and between two steps of a life.
const EVERY: f64 = 60.0;
const STEP: f64 = 10.0;
const VERSIONS: [&str; 5] = ["1.8.0", "1.9.0", "1.10.0", "1.11.0", "1.12.0"];
/// What leaks, since which version, and how fast: bytes a second.
const LEAKS: [(&str, &str, f64); 2] =
    [("com.acme.Catalog.unpack", "1.10.0", 20.0 * KIB), ("com.acme.Search$$Lambda.call", "1.11.0", 8.0 * KIB)];

/// The fleet, written once for all tests that run at a time, and removed behind the last.
fn fleet() -> Arc<Folder> {
    static FLEET: Mutex<Weak<Folder>> = Mutex::new(Weak::new());
    let mut there = FLEET.lock().unwrap_or_else(PoisonError::into_inner);
    there.upgrade().unwrap_or_else(|| {
        let folder = Arc::new(Folder::new("fleet"));
        for (day, version) in (1u64..).zip(VERSIONS) {
            (0..LIVES).for_each(|number| live(folder.path(), version, day, number));
        }
        *there = Arc::downgrade(&folder);
        folder
    })
}

/// Lives one life of a version and writes its dumps.
fn live(home: &Path, version: &str, day: u64, number: u64) {
    let seed = day * 1000 + number;
    let mut w = World::new(17, seed);
    (w.token, w.pid, w.day) = (0xf1ee_7000_0000_0000 + seed, 1, day);
    w.first_pc += 0x1000 * (seed % 97);
    // The last version's pods have no telling folders but a file, as Kubernetes' downward API writes it.
    let folder = match version {
        "1.12.0" => home.join(format!("late/es-{number}")),
        _ => home.join(format!("version={version}/pod=es-{number}")),
    };
    std::fs::create_dir_all(&folder).unwrap();
    if version == "1.12.0" {
        std::fs::write(home.join("late/labels"), "version=\"1.12.0\"\n").unwrap();
        std::fs::write(folder.join("labels"), format!("pod=\"es-{number}\"\n")).unwrap();
    }
    for dump in 1..=DUMPS {
        while w.now < dump as f64 * EVERY {
            w.pass(STEP);
            step(&mut w, version, seed);
        }
        let (name, text) = w.dump("interval", "i");
        std::fs::write(folder.join(name), text).unwrap();
    }
}

/// What happens within a step.
fn step(w: &mut World, version: &str, seed: u64) {
    const EVER: f64 = f64::INFINITY;
    let request = w.at(&["com/acme/Request read", "com/acme/Server handle", "com/acme/Server run"], 4.0 * KIB);
    let buffer = w.at(&["com/acme/Buffer make", "com/acme/Server handle", "com/acme/Server run"], 64.0 * KIB);
    let table = w.at(&["com/acme/Tables load", "com/acme/Server start"], 512.0);
    let cache = w.at(&["com/acme/Cache put", "com/acme/Server handle", "com/acme/Server run"], 8.0 * KIB);
    if w.now < 20.0 {
        w.allocate(table, 4.0 * MIB / 512.0, EVER, STEP);
    }
    if w.now <= 500.0 {
        w.allocate(cache, 16.0 * MIB / 50.0 / (8.0 * KIB), EVER, STEP);
    }
    w.churn(request, 40.0 * STEP, 15.0, STEP);
    w.churn(buffer, 4.0 * STEP, 20.0, STEP);
    let lambda = format!("com/acme/Search$$Lambda${seed}/0x{:016x} call", 0x8_0000_0000u64 + 64 * seed);
    let unpack =
        ["java/util/zip/Inflater init", "com/acme/Catalog unpack", "com/acme/Server handle", "com/acme/Server run"];
    let search = ["java/nio/Bits reserve", &lambda, "com/acme/Search rank", "com/acme/Server run"];
    let unpack = w.at(&unpack, 4.0 * KIB);
    let search = w.at(&search, 16.0 * KIB);
    // Both work in every version, and give back what they take in all but one.
    w.churn(unpack, 4.0 * STEP, 10.0, STEP);
    w.churn(search, 2.0 * STEP, 10.0, STEP);
    for ((_, since, rate), (place, size)) in LEAKS.iter().zip([(unpack, 4.0 * KIB), (search, 16.0 * KIB)]) {
        if version == *since {
            w.allocate(place, rate * STEP / size, EVER, STEP);
        }
    }
}

fn heaptap(arguments: &[&str]) -> Output {
    Command::new(cli()).args(arguments).env_remove("LD_PRELOAD").output().unwrap()
}

/// The fleet as a table.
fn table(folder: &Folder) -> PathBuf {
    let path = folder.path().join("fleet.parquet");
    let fleet = fleet();
    let home = fleet.path().to_str().unwrap();
    let output =
        heaptap(&["convert", "--to", "parquet", "--label", "cluster=test", "-o", path.to_str().unwrap(), home]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let dumps = VERSIONS.len() as u64 * LIVES * DUMPS;
    assert!(told.contains(&format!(" rows of 200 lives, {dumps} dumps")), "{told}");
    path
}

/// The SQL of the page that users read: the block behind this heading.
fn sql(heading: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fleet/README.md");
    let page = std::fs::read_to_string(page).unwrap();
    let section = page.split(heading).nth(1).unwrap_or_else(|| panic!("no {heading}"));
    section.split("```sql\n").nth(1).and_then(|text| text.split("```").next()).unwrap().to_owned()
}

/// What an engine finds in the table: a list of rows.
fn ask(python: &Path, engine: &str, table: &Path, sql: &str) -> Vec<serde_json::Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/table.py");
    let output = Command::new(python).arg(script).args([engine, table.to_str().unwrap(), sql]).output().unwrap();
    assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The page's question finds the two leaks, their versions and rates, and nothing else.
fn finds_the_leaks(python: &Path, engine: &str, table: &Path) {
    let rows = ask(python, engine, table, &sql("## Anything else: SQL"));
    let text = |row: &serde_json::Value, field: &str| row[field].as_str().unwrap().to_owned();
    let is_sure = |row: &&serde_json::Value| row["sigmas"].as_f64().unwrap() > 6.0;
    let mut found: Vec<(String, String)> =
        rows.iter().filter(is_sure).map(|row| (text(row, "own"), text(row, "version"))).collect();
    found.sort();
    let expected = LEAKS.map(|(own, version, _)| (own.to_owned(), version.to_owned()));
    assert_eq!(found, expected, "{engine}: {rows:#?}");
    for ((own, _, rate), row) in LEAKS.iter().zip(
        LEAKS
            .iter()
            .map(|(own, version, _)| rows.iter().find(|row| row["own"] == *own && row["version"] == *version).unwrap()),
    ) {
        let told = row["bytes_per_hour"].as_f64().unwrap() / 3600.0;
        assert!((told / rate - 1.0).abs() < 0.05, "{own}: {told} instead of {rate}");
        assert_eq!(row["lives"], LIVES);
    }
}

#[test]
fn the_table_holds_what_the_dumps_hold_and_duckdb_finds_the_leaks() {
    let folder = Folder::new("fleet-table");
    let home = fleet();
    let table = table(&folder);
    let Some(python) = python_with("duckdb") else { return };
    finds_the_leaks(&python, "duckdb", &table);
    // One life in numbers: what its dumps say, dump by dump.
    let sums = ask(
        &python,
        "duckdb",
        &table,
        "select dump, sum(live_bytes) as bytes, sum(live_objects) as objects, count(*) as stacks,
           count(distinct stack_id) as ids, epoch(any_value(time)) as time, any_value(pid) as pid,
           sum(list_sum([a.bytes for a in ages])) as aged, any_value(labels['cluster']) as cluster,
           any_value(labels['pod']) as pod, any_value(labels['folder']) as folder, any_value(program) as program
         from fleet where labels['pod'] = 'es-7' and labels['version'] = '1.12.0' group by dump order by time",
    );
    assert_eq!(sums.len() as u64, DUMPS);
    let path = home.path().join("late/es-7");
    let last = sums.last().unwrap();
    let report = heaptap(&["report", "--json", path.to_str().unwrap()]);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    assert!((number(&last["bytes"]) - number(&report["bytes"])).abs() < 1.0, "{last}");
    assert!((number(&last["objects"]) - number(&report["objects"])).abs() < 1.0, "{last}");
    assert_eq!((&last["stacks"], &last["ids"]), (&report["stacks"], &report["stacks"]));
    // Ages are rounded to whole bytes, bin by bin.
    assert!((number(&last["aged"]) / number(&last["bytes"]) - 1.0).abs() < 0.01, "{last}");
    for (dump, sum) in report["dumps"].as_array().unwrap().iter().zip(&sums) {
        assert!((number(&dump["bytes"]) - number(&sum["bytes"])).abs() < 1.0, "{dump} {sum}");
        assert!((number(&dump["time"]) - number(&sum["time"])).abs() < 1e-3, "{dump} {sum}");
    }
    assert_eq!((last["pid"].as_u64(), last["cluster"].as_str()), (Some(1), Some("test")));
    assert_eq!((last["folder"].as_str(), last["program"].as_str()), (Some("late/es-7"), Some("server")));
    // A stack is one id in all lives, whatever its addresses and numbers; its frames say what it is.
    let stacks = ask(
        &python,
        "duckdb",
        &table,
        "select stack_id, count(distinct life) as lives, any_value(frames) as frames, count(distinct frames) as texts
         from fleet where list_contains(frames, 'com.acme.Search$$Lambda.call') group by stack_id",
    );
    assert_eq!(stacks.len(), 1, "{stacks:?}");
    assert_eq!((stacks[0]["lives"].as_u64(), stacks[0]["texts"].as_u64()), (Some(200), Some(1)));
    assert_eq!(stacks[0]["frames"][2], "com.acme.Search.rank");
}

/// Spark is 400 MB: with `scripts/test --full` only.
#[test]
#[ignore = "with scripts/test --full"]
fn spark_finds_the_leaks_by_the_same_sql() {
    let Some(python) = python_with("pyspark") else { return };
    let folder = Folder::new("fleet-spark");
    finds_the_leaks(&python, "spark", &table(&folder));
}

/// `heaptap fleet --json`, and its status.
fn answer(arguments: &[&str]) -> (serde_json::Value, Option<i32>) {
    let output = heaptap(&[&["fleet", "--json"], arguments].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"));
    (value, output.status.code())
}

#[test]
fn the_command_finds_both_leaks_and_the_versions_that_have_them() {
    let home = fleet();
    let (fleet, status) = answer(&[home.path().to_str().unwrap()]);
    Schema::read().check("Fleet", &fleet);
    assert_eq!((status, fleet["by"].as_str()), (Some(1), Some("version")));
    assert_eq!((fleet["lives"].as_u64(), fleet["dumps"].as_u64()), (Some(200), Some(200 * DUMPS)));
    // Versions are in order of time, though 1.10 is before 1.9 as a text, and the last one has its label from a file.
    let values: Vec<&str> =
        fleet["values"].as_array().unwrap().iter().map(|it| it["value"].as_str().unwrap()).collect();
    assert_eq!(values, VERSIONS);
    let rows = fleet["rows"].as_array().unwrap();
    let sure: Vec<&serde_json::Value> = rows.iter().filter(|row| row["chance"].as_f64().unwrap() <= 0.01).collect();
    assert_eq!(sure.len(), LEAKS.len(), "{rows:#?}");
    for (own, version, rate) in LEAKS {
        // A number of its own life stands in the name of the lambda that is shown.
        let is_it = |row: &&&serde_json::Value| without_numbers(row["place"]["own"].as_str().unwrap_or("")) == own;
        let row = sure.iter().find(is_it).unwrap_or_else(|| panic!("{own}: {sure:#?}"));
        assert_eq!((row["since"].as_str(), row["until"].as_str()), (Some(version), Some(version)));
        let accused = row["accused"].as_u64().unwrap();
        assert!(accused >= LIVES * 95 / 100, "{own}: {accused} of {LIVES}");
        // It works in all versions; few samples are seen of what is given back.
        assert!(row["lives"].as_u64().unwrap() > 2 * LIVES, "{own}");
        let told = row["rate"].as_f64().unwrap() / accused as f64;
        let error = row["rate_error"].as_f64().unwrap() / accused as f64;
        assert!((told - rate).abs() < error.max(0.03 * rate), "{own}: {told} ± {error} instead of {rate}");
        let of = |value: &&serde_json::Value| value["value"] == version;
        let value = row["values"].as_array().unwrap().iter().find(of).unwrap();
        assert_eq!((value["judged"].as_u64(), value["accused"].as_u64()), (Some(LIVES), Some(accused)));
        let example = &row["examples"][0];
        assert!(has_label(example, "version", version), "{example}");
        let life = example["life"].as_str().unwrap();
        let folder = Path::new(example["path"].as_str().unwrap()).parent().unwrap().to_str().unwrap().to_owned();
        let leaks = heaptap(&["leaks", "--json", &folder]);
        let leaks: serde_json::Value = serde_json::from_slice(&leaks.stdout).unwrap();
        assert_eq!(leaks["process"]["token"], life);
        assert_eq!(without_numbers(leaks["rows"][0]["place"]["own"].as_str().unwrap()), own);
    }
}

fn has_label(example: &serde_json::Value, key: &str, value: &str) -> bool {
    example["labels"].as_array().unwrap().iter().any(|pair| pair[0] == key && pair[1] == value)
}

/// As the page says: `$$Lambda$14.0x…` is a number of one life.
fn without_numbers(name: &str) -> String {
    let Some((class, rest)) = name.split_once("$$Lambda$") else { return name.to_owned() };
    format!("{class}$$Lambda.{}", rest.rsplit('.').next().unwrap_or(""))
}

#[test]
fn clean_versions_are_acquitted_and_other_labels_split_too() {
    let home = fleet();
    let clean = home.path().join("version=1.9.0");
    let (fleet_of_one, _) = answer(&[clean.to_str().unwrap()]);
    assert_eq!((fleet_of_one["judged"].as_u64(), fleet_of_one["lives"].as_u64()), (Some(LIVES), Some(LIVES)));
    let is_sure = |row: &&serde_json::Value| row["chance"].as_f64().unwrap() <= 0.01;
    assert_eq!(fleet_of_one["rows"].as_array().unwrap().iter().filter(is_sure).count(), 0, "{}", fleet_of_one["rows"]);
    let (by_pod, _) = answer(&["--by", "pod", home.path().join("late").to_str().unwrap()]);
    assert_eq!(by_pod["values"].as_array().unwrap().len() as u64, LIVES);
    let output = heaptap(&["fleet", "--by", "nonsense", clean.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(told.contains("no life has the label `nonsense`: pod, version"), "{told}");
}

#[test]
fn the_text_says_where_and_since_when() {
    let home = fleet();
    let output = heaptap(&["fleet", home.path().to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout);
    for part in [
        "200 lives of server, 10,000 dumps, 2026-11-01 00:00:00 UTC to 2026-11-05 00:50:00 UTC",
        ", in version 1.10.0 only",
        ", in version 1.11.0 only",
        "com.acme.Catalog.unpack",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
}

#[test]
fn damaged_files_and_packs_are_lives_or_notes() {
    let folder = Folder::new("fleet-damaged");
    let home = fleet();
    let pod = home.path().join("version=1.10.0/pod=es-3");
    let pack = folder.path().join("es-3.heaptap.tgz");
    let packed = heaptap(&["pack", pod.to_str().unwrap(), "-o", pack.to_str().unwrap()]);
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    folder.write("x.1.0.f.heap", "heap_v2/nonsense\n");
    folder.write("labels", "version=7\n");
    folder.subfolder("empty");
    let output = heaptap(&["fleet", "--json", folder.path().to_str().unwrap()]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("x.1.0.f.heap"), "{told}");
    let fleet: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((fleet["lives"].as_u64(), fleet["dumps"].as_u64()), (Some(1), Some(DUMPS)), "{told}");
    let example = &fleet["rows"][0]["examples"][0];
    assert!(has_label(example, "pack", "es-3") && has_label(example, "version", "7"), "{example}");
    // The folder beside its pack is the same life.
    let twice = heaptap(&["fleet", "--json", pod.to_str().unwrap(), folder.path().to_str().unwrap()]);
    let told = String::from_utf8_lossy(&twice.stderr);
    assert!(told.contains("of process 1 stands in several places"), "{told}");
    let twice: serde_json::Value = serde_json::from_slice(&twice.stdout).unwrap();
    assert_eq!(twice["lives"], 1);
    let nothing = heaptap(&["fleet", folder.path().join("empty").to_str().unwrap()]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("holds no *.heap"), "{nothing:?}");
}
