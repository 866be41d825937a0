//! `heaptap push --to otlp` against a real OpenTelemetry Collector: its own receiver of OTLP, its pipeline of profiles,
//! its exporter into a file. `tests/collector` is its main function, `scripts/setup engines` builds it.

mod support;

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use support::churn::wait_for;
use support::talker::{Talker, compile};
use support::{Folder, cli, skip, wait_or_kill};

/// What `forgets` leaks in a round. It asks for 1000 bytes a block; a profile has what malloc gives for them.
const BLOCKS: u64 = 1000;
const BYTES: u64 = 1024;

/// The Collector's program, if it is built; says so when it is not.
fn program() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/judges/collector");
    if path.is_file() {
        return Some(path);
    }
    skip("the Collector is not built (scripts/setup engines builds it)");
    None
}

/// A Collector at work.
struct Collector {
    child: Child,
    folder: Folder,
    port: u16,
}

impl Collector {
    /// One on a free port. `receiver`: more of the receiver's settings; `signal`: what its one pipeline is for.
    fn start(program: &Path, receiver: &str, signal: &str) -> Collector {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = Folder::new("collector");
        let arrived = folder.path().join("arrived.json");
        let config = format!(
            "receivers:\n  otlp:\n    protocols:\n      http:\n        endpoint: 127.0.0.1:{port}\n{receiver}\
             exporters:\n  file:\n    path: {}\n    append: true\n    flush_interval: 50ms\n\
             service:\n  pipelines:\n    {signal}:\n      receivers: [otlp]\n      exporters: [file]\n",
            arrived.display()
        );
        folder.write("config.yaml", &config);
        let child = Collector::launch(program, &folder, port);
        Collector { child, folder, port }
    }

    fn launch(program: &Path, folder: &Folder, port: u16) -> Child {
        let log = File::options().append(true).create(true).open(folder.path().join("log")).unwrap();
        let mut command = Command::new(program);
        command.arg("--config").arg(folder.path().join("config.yaml"));
        command.arg("--feature-gates=service.profilesSupport").env_remove("LD_PRELOAD");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        wait_for("the Collector", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        child
    }

    /// Ends it as systemd does, with all written.
    fn end(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = wait_or_kill(&mut self.child, Duration::from_secs(30)).expect("the Collector ends");
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Starts it anew where it was.
    fn start_again(&mut self, program: &Path) {
        self.child = Collector::launch(program, &self.folder, self.port);
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What arrived of a service, in order.
    fn arrived(&self, service: &str) -> Vec<Arrived> {
        let text = fs::read_to_string(self.folder.path().join("arrived.json")).unwrap_or_default();
        // A line that is being written has no end yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let requests = whole.lines().map(|line| Arrived::read(&serde_json::from_str(line).expect(line)));
        requests.filter(|arrived| arrived.attributes["service.name"] == service).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request, as the Collector understood it.
#[derive(Debug, Default)]
struct Arrived {
    /// Of the resource.
    attributes: BTreeMap<String, String>,
    /// Sums, by type and unit.
    sums: BTreeMap<String, u64>,
    /// Values by type and stack: names from the allocation outwards.
    stacks: BTreeMap<(String, Vec<String>), u64>,
    /// Of its profiles.
    ids: BTreeSet<String>,
    /// Nanoseconds since 1970.
    time: u64,
}

fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl Arrived {
    fn read(request: &Value) -> Arrived {
        let mut arrived = Arrived::default();
        let [of_resource] = list(&request["resourceProfiles"]) else { panic!("{request}") };
        let [of_scope] = list(&of_resource["scopeProfiles"]) else { panic!("{request}") };
        assert_eq!(of_scope["scope"]["name"], "heaptap");
        let known = &request["dictionary"];
        let text = |index: &Value| known["stringTable"][number(index) as usize].as_str().unwrap_or_default().to_owned();
        // What the receiver got as strings, newer Collectors hand on as indices.
        let either = |plain: &Value, index: &Value| plain.as_str().map_or_else(|| text(index), str::to_owned);
        for pair in list(&of_resource["resource"]["attributes"]) {
            let value = either(&pair["value"]["stringValue"], &pair["value"]["stringValueStrindex"]);
            arrived.attributes.insert(either(&pair["key"], &pair["keyStrindex"]), value);
        }
        for profile in list(&of_scope["profiles"]) {
            let of_type = &profile["sampleType"];
            let kind = format!("{}/{}", text(&of_type["typeStrindex"]), text(&of_type["unitStrindex"]));
            for sample in list(&profile["samples"]) {
                let value = list(&sample["values"]).iter().map(number).sum::<u64>();
                let stack = &known["stackTable"][number(&sample["stackIndex"]) as usize];
                let names = list(&stack["locationIndices"]).iter().flat_map(|location| {
                    let lines = list(&known["locationTable"][number(location) as usize]["lines"]);
                    lines.iter().map(|line| {
                        text(&known["functionTable"][number(&line["functionIndex"]) as usize]["nameStrindex"])
                    })
                });
                *arrived.stacks.entry((kind.clone(), names.collect())).or_default() += value;
                *arrived.sums.entry(kind.clone()).or_default() += value;
            }
            assert!(arrived.ids.insert(profile["profileId"].as_str().unwrap().to_owned()), "an id twice: {profile}");
            arrived.time = number(&profile["timeUnixNano"]);
        }
        arrived
    }

    /// The value of the stacks that begin in a function.
    fn of(&self, kind: &str, name: &str) -> u64 {
        let is_its = |key: &&(String, Vec<String>)| key.0 == kind && key.1.first().is_some_and(|first| first == name);
        self.stacks.iter().filter(|(key, _)| is_its(key)).map(|(_, value)| value).sum()
    }
}

/// A program that leaks, of which every allocation is sampled.
fn leaking(service: &str) -> Talker {
    let folder = Folder::new(service);
    let mut command = Command::new(compile("tests/programs/forgets.c", &folder));
    command.env("OTEL_SERVICE_NAME", service).env("POD_NAME", "shop-0");
    let mut leaking = Talker::start(command, folder, "prof:true,lg_prof_sample:0");
    leaking.expect("forgotten");
    leaking
}

fn push(collector: &Collector, state: &Folder, more: &[&str]) -> Command {
    let mut command = Command::new(cli());
    command.args(["push", "--to", "otlp", "--url", &collector.url(), "--every", "15s", "--state"]);
    command.arg(state.path()).args(more).env_remove("LD_PRELOAD");
    for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env_remove(proxy);
    }
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What arrived must be what `heaptap report` says of the process at the same time, and what the program did.
fn judge(arrived: &Arrived, pid: &str, rounds: u64) {
    let report = Command::new(cli()).args(["report", "--json", pid]).env_remove("LD_PRELOAD").output().unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(arrived.sums["inuse_space/bytes"] as f64, report["bytes"].as_f64().unwrap(), "{report}");
    assert_eq!(arrived.sums["inuse_objects/count"] as f64, report["objects"].as_f64().unwrap(), "{report}");
    assert_eq!(arrived.of("inuse_objects/count", "forget"), rounds * BLOCKS, "{arrived:?}");
    assert_eq!(arrived.of("inuse_space/bytes", "forget"), rounds * BLOCKS * BYTES, "{arrived:?}");
    let (_, stack) = arrived.stacks.keys().find(|(_, names)| names[0] == "forget").unwrap();
    assert_eq!(stack[..3], ["forget", "serve", "main"]);
}

#[test]
#[ignore = "with scripts/test --full"]
fn a_real_collector_gets_each_byte_and_each_name_once() {
    let Some(program) = program() else { return };
    let (collector, state) = (Collector::start(&program, "", "profiles"), Folder::new("push-state"));
    let mut leaking = leaking("collector-once");
    for round in 1..=3 {
        let output = push(&collector, &state, &["--once"]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        wait_for("the profile", || collector.arrived("collector-once").len() == round as usize);
        let arrived = collector.arrived("collector-once").pop().unwrap();
        assert_eq!(arrived.attributes["k8s.pod.name"], "shop-0");
        judge(&arrived, &leaking.pid(), round);
        leaking.go_on();
        leaking.expect("forgotten");
    }
}

#[test]
#[ignore = "with scripts/test --full"]
fn a_collector_that_is_started_anew_misses_nothing_and_gets_nothing_twice() {
    let Some(program) = program() else { return };
    let (mut collector, state) = (Collector::start(&program, "", "profiles"), Folder::new("push-state"));
    let mut leaking = leaking("collector-anew");
    let said = state.path().join("said");
    let mut command = push(&collector, &state, &[]);
    let mut agent = command.stderr(File::create(&said).unwrap()).stdout(Stdio::null()).spawn().unwrap();
    let told = || fs::read_to_string(&said).unwrap();
    wait_for("the first profile", || collector.arrived("collector-anew").len() == 1);
    judge(&collector.arrived("collector-anew")[0], &leaking.pid(), 1);
    collector.end();
    leaking.go_on();
    leaking.expect("forgotten");
    wait_for("an attempt", || told().contains("not sent, and waits"));
    collector.start_again(&program);
    wait_for("the second profile", || collector.arrived("collector-anew").len() == 2);
    wait_for("a word of it", || told().contains("taken again"));
    judge(&collector.arrived("collector-anew")[1], &leaking.pid(), 2);
    // The end after a kill is a profile, too.
    leaking.kill();
    wait_for("the last profile", || collector.arrived("collector-anew").len() >= 3);
    assert!(Command::new("kill").args(["-TERM", &agent.id().to_string()]).status().unwrap().success());
    let status = wait_or_kill(&mut agent, Duration::from_secs(30)).expect("it ends");
    assert!(status.success(), "{status}: {}", told());
    collector.end();
    let arrived = collector.arrived("collector-anew");
    let ids: BTreeSet<&String> = arrived.iter().flat_map(|arrived| &arrived.ids).collect();
    assert_eq!(ids.len(), 2 * arrived.len(), "something came twice");
    assert!(arrived.is_sorted_by(|a, b| a.time < b.time), "{arrived:?}");
    let sums: Vec<u64> = arrived.iter().map(|arrived| arrived.of("inuse_objects/count", "forget")).collect();
    assert!(sums[0] == BLOCKS && sums[1..].iter().all(|sum| *sum == 2 * BLOCKS), "{sums:?}");
}

/// The words of its own in which a Collector refuses something are the user's to read.
#[test]
#[ignore = "with scripts/test --full"]
fn a_collectors_own_words_are_told() {
    let Some(program) = program() else { return };
    let leaking = leaking("collector-words");
    let once = |receiver: &str, signal: &str| {
        let (collector, state) = (Collector::start(&program, receiver, signal), Folder::new("push-state"));
        let output = push(&collector, &state, &["--once"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(collector.arrived("collector-words").is_empty());
        said(&output)
    };
    let small = once("        max_request_body_size: 1000\n", "profiles");
    assert!(small.contains("refused") && small.contains("400 http: request body too large"), "{small}");
    let other = once("", "traces");
    assert!(other.contains("404 page not found") && other.contains("service.profilesSupport"), "{other}");
    drop(leaking);
}
