//! `heaptap push --metrics` under a real Prometheus: it scrapes a leaking process, knows our rules, and answers each
//! query of the dashboard and of the rules (`examples/fleet/`) with data.

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;
use support::churn::wait_for;
use support::engine::{Engine, get};
use support::talker::{Talker, compile};
use support::{Folder, Group, cli, needs};

const SERVICE: &str = "prometheus-leaks";
/// What only a process with a limit has.
const LIMITED: [&str; 2] = ["heaptap_memory_limit_bytes", "heaptap_seconds_to_limit"];

/// A process that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fleet").join(name)
}

/// An address on the loopback where nobody listens.
fn address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A program that leaks a megabyte each tenth of a second.
struct Leaking {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Where its memory has a limit, if it can have one here.
    group: Option<Group>,
}

impl Leaking {
    fn start() -> Leaking {
        let limits = [("memory.limit_in_bytes", "34359738368"), ("memory.max", "34359738368")];
        let group = limits.iter().find_map(|limit| Group::new("memory", &[*limit]));
        let folder = Folder::new("prometheus-leak");
        let program = compile("tests/programs/forgets.c", &folder);
        let mut command = Command::new("sh");
        let entry = group.as_ref().map_or_else(|| "exec \"$@\"".to_owned(), Group::entry);
        command.args(["-c", &entry, "sh"]).arg(program).env("OTEL_SERVICE_NAME", SERVICE).env("POD_NAME", "shop-0");
        let mut leaking = Talker::start(command, folder, "prof:true,lg_prof_sample:12");
        let pid = leaking.pid();
        let (ends, its) = (Arc::new(AtomicBool::new(false)), Arc::<AtomicBool>::default());
        let stops = Arc::clone(&ends);
        let is_there = Arc::clone(&its);
        let thread = thread::spawn(move || {
            while !stops.load(Ordering::Relaxed) {
                leaking.expect("forgotten");
                is_there.store(true, Ordering::Relaxed);
                sleep(Duration::from_millis(100));
                leaking.go_on();
            }
        });
        let leaking = Leaking { ends, thread: Some(thread), group };
        wait_for("the program", || its.load(Ordering::Relaxed));
        wait_for("the verdict", || {
            let output = Command::new(cli()).args(["leaks", &pid]).env_remove("LD_PRELOAD").output().unwrap();
            output.status.code() == Some(1)
        });
        leaking
    }
}

impl Drop for Leaking {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A Prometheus that scrapes one address each second.
fn prometheus(folder: &Folder, scraped: &str, served: &str) -> Ended {
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{}]\nscrape_configs:\n\
         - job_name: heaptap\n  static_configs:\n  - targets: ['{scraped}']\n",
        example("alerts.yaml").display()
    );
    let config = folder.write("prometheus.yml", &config);
    let mut command = Command::new("prometheus");
    command.arg("--config.file").arg(config).arg("--storage.tsdb.path").arg(folder.path().join("data"));
    command.args(["--web.listen-address", served, "--log.level", "error"]).env_remove("LD_PRELOAD");
    Ended(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
}

/// What a query gives: labels and value of each series.
fn ask(served: &str, query: &str) -> Vec<(BTreeMap<String, String>, f64)> {
    let mut command = Command::new("promtool");
    command.args(["query", "instant", "-o", "json", &format!("http://{served}"), query]);
    for proxy in ["http_proxy", "HTTP_PROXY"] {
        command.env_remove(proxy);
    }
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    // It is not there yet; what it does not understand is told in other words.
    if !output.status.success() {
        assert!(told.contains("connection refused") || told.contains("503"), "{query}: {told}");
        return Vec::new();
    }
    let series: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let one = |series: Value| {
        let labels = serde_json::from_value(series["metric"].clone()).unwrap();
        (labels, series["value"][1].as_str().unwrap().parse().unwrap())
    };
    series.into_iter().map(one).collect()
}

/// The dashboard's queries with its variables filled in, those of the variables themselves, and what the rules compare.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(example("dashboard.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let mut queries: Vec<String> = targets.filter_map(|target| Some(target["expr"].as_str()?.to_owned())).collect();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let Some(of) = variable["query"].as_str().and_then(|query| query.strip_prefix("label_values(")) else {
            continue;
        };
        let (metric, label) = of.trim_end_matches(')').rsplit_once(", ").unwrap();
        queries.push(format!("count by ({label}) ({metric})"));
    }
    assert!(queries.len() >= 12, "{queries:#?}");
    let rules = fs::read_to_string(example("alerts.yaml")).unwrap();
    for rule in rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")) {
        let compared = [" > ", " < "].iter().find_map(|sign| rule.rsplit_once(sign)).unwrap().0;
        queries.push(compared.to_owned());
    }
    assert!(queries.len() >= 18, "{queries:#?}");
    queries.iter().map(|query| query.replace("$service", SERVICE).replace("$pod", ".*")).collect()
}

#[test]
#[ignore = "with scripts/test --full"]
fn a_real_prometheus_answers_what_dashboard_and_rules_ask() {
    if !needs("prometheus") || !needs("promtool") || !needs("gcc") {
        return;
    }
    let checked = Command::new("promtool").args(["check", "rules"]).arg(example("alerts.yaml")).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let (engine, state, folder) = (Engine::start(), Folder::new("push-state"), Folder::new("prometheus"));
    let leaking = Leaking::start();
    let (scraped, served) = (address(), address());
    let mut agent = Command::new(cli());
    agent.args(["push", "--url", &engine.url(), "--every", "15s", "--metrics", &scraped, "--state"]);
    agent.arg(state.path()).env_remove("LD_PRELOAD").env_remove("http_proxy").env_remove("HTTP_PROXY");
    let _agent = Ended(agent.stderr(Stdio::null()).spawn().unwrap());
    let _prometheus = prometheus(&folder, &scraped, &served);
    wait_for("the leak", || !ask(&served, &format!("heaptap_leak_bytes{{service_name='{SERVICE}'}}")).is_empty());
    lint(&get(&scraped, "/metrics", ""));
    for query in queries() {
        // Where no group with a limit can be made, nobody has one.
        if leaking.group.is_none() && LIMITED.iter().any(|metric| query.contains(metric)) {
            continue;
        }
        wait_for(&query, || !ask(&served, &query).is_empty());
    }
    let rate = ask(&served, &format!("heaptap_leak_bytes_per_second{{service_name='{SERVICE}'}}"));
    let (labels, rate) = &rate[0];
    assert!(labels["site"].contains("forget") && labels["pod"] == "shop-0" && labels["life"] == "1", "{labels:?}");
    // A megabyte at most ten times a second.
    assert!((1e5..1.1e7).contains(rate), "{rate}");
    let alerts = |name: &str| ask(&served, &format!("ALERTS{{alertname='{name}',service_name='{SERVICE}'}}"));
    wait_for("the alert", || !alerts("NativeMemoryLeaks").is_empty());
    assert_eq!(alerts("NativeMemoryLeaks")[0].0["alertstate"], "pending");
    assert!(ask(&served, "ALERTS{alertname='HeaptapCannotSend'}").is_empty());
}

/// What Prometheus's own reader has to say of names and types: nothing.
fn lint(page: &str) {
    let page = page.split_once("\r\n\r\n").unwrap().1;
    let mut child = Command::new("promtool");
    child.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.trim().is_empty(), "{told}");
}
