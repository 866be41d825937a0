//! Running JVMs as `heaptap` sees them from outside: what a collection frees, where the resident memory is, and
//! how old objects are.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use support::churn::wait_for;
use support::java::{Jvm, compile_class, jvms};
use support::{Folder, Schema, cli, under_tap, wait_or_kill};

/// A JVM that runs `Collected` under the tap until its stdin is closed.
struct Living {
    child: Child,
    /// Removed with it.
    _folder: Folder,
}

impl Living {
    fn start(jvm: &Jvm, options: &[&str]) -> Option<Living> {
        let folder = Folder::new("living");
        if !compile_class("Collected", &folder) {
            return None;
        }
        let mut command = Command::new(jvm.home.join("bin/java"));
        command.args(["-Xmx64m", "-cp"]).arg(folder.path()).args(options).arg("Collected");
        under_tap(&mut command, "prof:true,lg_prof_sample:12,prof_max_overhead:0", folder.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "10000000\n");
        Some(Living { child, _folder: folder })
    }

    fn heaptap(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(cli());
        command.args(arguments).arg(self.child.id().to_string()).env("COLUMNS", "100").env_remove("LD_PRELOAD");
        command.output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.heaptap(arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"))
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        // It ends by itself and takes its live profile with it; one that is killed leaves that to be recovered.
        drop(self.child.stdin.take());
        wait_or_kill(&mut self.child, Duration::from_secs(60));
    }
}

/// Bytes of the buffers that each method of `Collected` makes.
const BUFFERS: f64 = 10_000_000.0;

/// Rows that go through a method of `Collected`: (fate, bytes before, bytes after).
fn row(collection: &serde_json::Value, method: &str) -> (String, f64, f64) {
    let rows = collection["rows"].as_array().unwrap();
    let is_there =
        |row: &&serde_json::Value| row["frames"].as_array().unwrap().iter().any(|frame| frame.as_str() == Some(method));
    let row = rows.iter().find(is_there).unwrap_or_else(|| panic!("no row through {method}: {collection:#}"));
    (
        row["fate"].as_str().unwrap().to_owned(),
        row["before_bytes"].as_f64().unwrap(),
        row["after_bytes"].as_f64().unwrap(),
    )
}

#[test]
fn what_waits_for_the_collector_is_told_from_what_is_held() {
    for jvm in jvms() {
        for options in [&[][..], &["-XX:+DisableExplicitGC"]] {
            let Some(living) = Living::start(&jvm, options) else { return };
            let collection = living.json(&["leaks", "--after-gc", "--json"]);
            let mut schema = Schema::read();
            schema.check("Collection", &collection);
            assert!(schema.seen.contains("Collected"));
            let (held, before, after) = row(&collection, "Collected.hold");
            assert_eq!(held, "held", "{} {options:?}", jvm.home.display());
            assert!((before / BUFFERS - 1.0).abs() < 0.05 && (after / before - 1.0).abs() < 0.01, "{before} {after}");
            let (waited, before, after) = row(&collection, "Collected.forget");
            assert_eq!(waited, "waited", "{} {options:?}", jvm.home.display());
            assert!((before / BUFFERS - 1.0).abs() < 0.05 && after < 0.05 * before, "{before} {after}");
            let sums = ["before_bytes", "after_bytes"].map(|sum| collection[sum].as_f64().unwrap());
            assert!(sums[0] - sums[1] > 0.9 * BUFFERS, "{sums:?}");
        }
    }
}

#[test]
fn who_cannot_collect_is_not_signalled() {
    for jvm in jvms() {
        for (option, why) in
            [("-Xrs", "does not catch SIGQUIT"), ("-XX:+DisableAttachMechanism", "DisableAttachMechanism")]
        {
            let Some(mut living) = Living::start(&jvm, &[option]) else { return };
            let output = living.heaptap(&["leaks", "--after-gc"]);
            assert_eq!(output.status.code(), Some(2));
            assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
            assert!(living.child.try_wait().unwrap().is_none(), "{option}: the process ended");
        }
    }
    let file = Command::new(cli()).args(["leaks", "--after-gc", "tests/dumps/small.heap"]).output().unwrap();
    assert!(String::from_utf8_lossy(&file.stderr).contains("needs the pid of a running JVM"), "{file:?}");
}

#[test]
fn a_jvms_resident_memory_is_accounted_for_and_its_objects_have_ages() {
    for jvm in jvms() {
        let Some(living) = Living::start(&jvm, &["-Xms64m", "-XX:+AlwaysPreTouch"]) else { return };
        // Until the keeper looks at the allocator, in a second at most on an idle machine, some of it is "other". And
        // what is given back between the look at memory and that at the profile is in the one only.
        let agree = |report: &serde_json::Value| {
            let classes = report["rss"]["classes"].as_array().unwrap().iter();
            let live = classes.filter(|share| share["class"] == "malloc_live");
            let live: f64 = live.map(|share| share["bytes"].as_f64().unwrap()).sum();
            live > 19.0 * 1024.0 * 1024.0 && live <= report["bytes"].as_f64().unwrap() + 1.0
        };
        let mut report = serde_json::Value::Null;
        wait_for("a look while nothing changes", || {
            report = living.json(&["report", "--json"]);
            agree(&report)
        });
        let account = &report["rss"];
        let classes = account["classes"].as_array().unwrap();
        let of = |class: &str| {
            let share = classes.iter().find(|share| share["class"] == class);
            share.map_or(0.0, |share| share["bytes"].as_f64().unwrap())
        };
        let told: f64 = classes.iter().map(|share| share["bytes"].as_f64().unwrap()).sum();
        assert_eq!(Some(told), report["rss_bytes"].as_f64());
        let mib = 1024.0 * 1024.0;
        // The heap is touched to the last page; the buffers are zeroed by the JVM, and so are resident.
        assert!((of("java_heap") / mib - 64.0).abs() < 2.0, "{} {account:#}", jvm.home.display());
        assert!(of("malloc_live") > 19.0 * mib, "{account:#}");
        assert!(
            ["thread_stacks", "code_cache", "mapped_files", "tap"].iter().all(|class| of(class) > 0.0),
            "{account:#}"
        );
        assert!(of("other") < 0.05 * told, "{account:#}");
        let ages = &report["sites"][0]["ages"];
        assert!(ages["live"][0]["objects"].as_f64().unwrap() > 0.0 && ages["oldest_seconds"].as_f64().unwrap() > 0.0);
        let text = String::from_utf8(living.heaptap(&["report"]).stdout).unwrap();
        assert!(text.contains(&format!("heaptap leaks {} --after-gc", living.child.id())), "{text}");
        assert!(text.contains("Resident ") && text.contains("half are older than"), "{text}");
        // The command of its own agrees.
        let own = living.json(&["rss", "--json"]);
        assert!((own["rss_bytes"].as_f64().unwrap() / told - 1.0).abs() < 0.05);
        let text = String::from_utf8(living.heaptap(&["rss"]).stdout).unwrap();
        assert!(text.contains("Java heap") && text.contains("malloc, live"), "{text}");
    }
}
