//! `heaptap push`: what reaches an engine, once and whole, whatever becomes of the process, of the agent and of the
//! engine.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;
use support::churn::wait_for;
use support::engine::{Does, Engine, get};
use support::talker::compile;
use support::{Folder, HOWEVER_SHORT, cli, needs, python_with, skip, under_tap, wait_or_kill};

const MIB: u64 = 1 << 20;

/// A program that holds 20 MiB until it is killed.
struct Holder {
    child: Child,
    folder: Folder,
}

impl Holder {
    fn start(service: &str) -> Holder {
        let folder = Folder::new(service);
        let program = compile("tests/programs/holder.c", &folder);
        let mut command = Command::new(program);
        command.arg((20 * MIB).to_string()).env("OTEL_SERVICE_NAME", service).env("POD_NAME", "shop-0");
        under_tap(&mut command, &format!("prof:true,lg_prof_sample:14,{HOWEVER_SHORT}"), folder.path());
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        let holder = Holder { child, folder };
        wait_for("20 MiB", || {
            let output = Command::new(cli()).args(["report", "--json", &holder.pid()]).output().unwrap();
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            report["bytes"].as_f64().unwrap_or(0.0) > 19.0 * MIB as f64
        });
        holder
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.kill();
        let _ = Command::new(cli()).args(["recover", &self.pid()]).current_dir(self.folder.path()).output();
    }
}

/// The agent at work.
struct Pusher {
    child: Child,
    said: PathBuf,
}

impl Pusher {
    fn start(engine: &Engine, state: &Folder, more: &[&str]) -> Pusher {
        let said = state.path().join("said");
        let out = File::options().append(true).create(true).open(&said).unwrap();
        let mut command = push(engine, state, more);
        let child = command.stderr(out).stdout(Stdio::null()).spawn().unwrap();
        Pusher { child, said }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    /// Ends it as systemd does.
    fn end(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = wait_or_kill(&mut self.child, Duration::from_secs(120)).expect("it ends");
        assert!(status.success(), "{status}: {}", self.said());
        self.said()
    }
}

impl Drop for Pusher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn push(engine: &Engine, state: &Folder, more: &[&str]) -> Command {
    let mut command = Command::new(cli());
    command.args(["push", "--url", &engine.url(), "--every", "15s"]).args(more);
    if !more.contains(&"--state") {
        command.arg("--state").arg(state.path());
    }
    for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env_remove(proxy);
    }
    command
}

/// A dump of a process that is over, with `objects` blocks of a KiB live, written now.
fn dump(folder: &Path, pid: u32, objects: u64) -> PathBuf {
    let bytes = objects * 1024;
    let now = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S.000Z"]).output().unwrap();
    let text = format!(
        "heap_v2/1\n  t*: {objects}: {bytes} [0: 0]\n@ 0x1000\n  t*: {objects}: {bytes} [0: 0]\n\nMAPPED_LIBRARIES:\n\
         1000-2000 r-xp 00000000 08:01 1 /usr/bin/shop\n\n# heaptap 1\n# pid: {pid}\n# token: {pid:016x}\n\
         # exe: /usr/bin/shop\n# time: {}\n# uptime_ns: 60000000000\n",
        String::from_utf8(now.stdout).unwrap().trim()
    );
    let path = folder.join(format!("jeprof.{pid}.0.f.heap"));
    // As the tap does it: whole or absent.
    let mut file = File::create(folder.join("new.tmp")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    fs::rename(folder.join("new.tmp"), &path).unwrap();
    path
}

#[test]
fn a_living_process_is_sent_and_so_is_its_end_after_a_kill() {
    let (engine, state) = (Engine::start(), Folder::new("push-state"));
    let mut holder = Holder::start("push-living");
    let agent = Pusher::start(&engine, &state, &[]);
    wait_for("the first profile", || !engine.taken("push-living").is_empty());
    holder.kill();
    wait_for("the last profile", || engine.taken("push-living").len() >= 2);
    agent.end();
    let pushes = engine.taken("push-living");
    for push in &pushes {
        assert!(push.target.starts_with("/ingest?name=push-living{pod=shop-0}&"), "{}", push.target);
        let (pprof, bytes) = (push.pprof(), push.pprof().sum("inuse_space"));
        // 20 MiB, and one more that it frees at once.
        assert!((19 * MIB..22 * MIB).contains(&bytes), "{bytes}");
        assert!(pprof.names.values().flatten().any(|name| name == "hold"), "{:?}", pprof.names);
    }
    assert!(pushes[0].pprof().time < pushes[1].pprof().time);
    // What it left on tmpfs is not sent again by the next agent.
    let agent = Pusher::start(&engine, &state, &[]);
    sleep(Duration::from_secs(3));
    agent.end();
    assert_eq!(engine.taken("push-living").len(), pushes.len());
}

/// Two workers of one server: each has a series of its own, to its end.
#[test]
fn lives_with_equal_labels_are_told_apart() {
    let (engine, state) = (Engine::start(), Folder::new("push-state"));
    let mut twins = [Holder::start("push-twins"), Holder::start("push-twins")];
    let counts = || {
        let mut counts = BTreeMap::new();
        for push in engine.taken("push-twins") {
            *counts.entry(push.target.split('&').next().unwrap().to_owned()).or_insert(0) += 1;
        }
        counts
    };
    let agent = Pusher::start(&engine, &state, &[]);
    wait_for("both", || counts().len() == 2);
    let before = counts();
    twins.iter_mut().for_each(Holder::kill);
    // One more of each: its end.
    wait_for("their ends", || counts().values().sum::<i32>() >= before.values().sum::<i32>() + 2);
    let after = counts();
    let names: Vec<&str> = after.keys().map(String::as_str).collect();
    assert_eq!(names, ["/ingest?name=push-twins{pod=shop-0,life=2}", "/ingest?name=push-twins{pod=shop-0}"]);
    assert!(before.iter().all(|(name, count)| after[name] > *count), "{before:?} {after:?}");
    agent.end();
}

#[test]
fn dumps_that_were_written_while_no_agent_was_there_are_sent_once() {
    let (engine, state, dumps) = (Engine::start(), Folder::new("push-state"), Folder::new("push-dumps"));
    let below = dumps.subfolder("pod-7");
    (1..=2).for_each(|pid| drop(dump(dumps.path(), pid, 1000 * u64::from(pid))));
    dump(&below, 3, 3000);
    dump(dumps.path(), 4, 4000);
    let old = File::options().write(true).open(dumps.path().join("jeprof.4.0.f.heap")).unwrap();
    old.set_modified(std::time::SystemTime::now() - Duration::from_secs(7200)).unwrap();
    fs::write(dumps.path().join("jeprof.5.0.f.heap"), "nonsense").unwrap();
    let folder = dumps.path().to_str().unwrap();
    let once = || {
        let output = push(&engine, &state, &["--once", "--dumps-only", "--label", "service_name=push-dumps", folder])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        said
    };
    let said = once();
    assert!(said.contains("jeprof.5.0.f.heap"), "{said}");
    let sums = || {
        let sums = engine.taken("push-dumps").into_iter().map(|push| push.pprof().sum("inuse_space"));
        sums.map(|bytes| bytes as f64 / 1024e3).collect::<Vec<_>>()
    };
    let mut sent = sums();
    sent.sort_by(f64::total_cmp);
    assert_eq!(sent, [1.0, 2.0, 3.0]);
    once();
    assert_eq!(sums().len(), 3);
    // Mounted elsewhere, the same volume is known.
    let moved = Folder::new("push-moved");
    fs::rename(dumps.path().join("jeprof.1.0.f.heap"), moved.path().join("jeprof.1.0.f.heap")).unwrap();
    dump(moved.path(), 9, 9000);
    let more = ["--once", "--dumps-only", "--label", "service_name=push-dumps", moved.path().to_str().unwrap()];
    assert!(push(&engine, &state, &more).status().unwrap().success());
    assert_eq!(sums()[3..], [9.0]);
}

#[test]
fn metrics_tell_a_life_its_leak_and_how_the_sending_goes() {
    let (engine, state) = (Engine::start(), Folder::new("push-state"));
    let _holder = Holder::start("push-metrics");
    // A free port, at an address where nobody else looks for one.
    let address = format!("127.77.{}.1:0", std::process::id() % 256);
    let address = TcpListener::bind(address).unwrap().local_addr().unwrap().to_string();
    let agent = Pusher::start(&engine, &state, &["--metrics", &address]);
    let page = || match TcpStream::connect(&address) {
        Ok(_) => get(&address, "/metrics", ""),
        Err(_) => String::new(),
    };
    wait_for("the life", || page().contains("heaptap_verdict{service_name=\"push-metrics\""));
    wait_for("the sending", || {
        page().contains("heaptap_push_profiles_total{result=\"taken\"} ") && !page().contains("{result=\"taken\"} 0")
    });
    let text = page();
    let value = |line: &str| {
        let found = text.lines().find_map(|text| text.strip_prefix(line)).unwrap_or_else(|| panic!("{line}: {text}"));
        found.trim().parse::<f64>().unwrap()
    };
    let its = |name: &str| value(&format!("{name}{{service_name=\"push-metrics\",pod=\"shop-0\",life=\"1\"}}"));
    assert!((19.0..22.0).contains(&(its("heaptap_live_bytes") / MIB as f64)), "{text}");
    assert!(its("heaptap_resident_bytes") > MIB as f64 && its("heaptap_life_start_time_seconds") > 1.5e9, "{text}");
    let lost = value("heaptap_lost_samples_total{service_name=\"push-metrics\",pod=\"shop-0\",life=\"1\"}");
    assert_eq!((lost, value("heaptap_push_waiting_profiles")), (0.0, 0.0));
    assert!(text.contains("class=\""), "{text}");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    let open = get(&address, "/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n");
    assert!(open.contains("application/openmetrics-text") && open.ends_with("# EOF\n"), "{open}");
    assert!(get(&address, "/", "").starts_with("HTTP/1.1 404"));
    // Who does not ask, or asks for too much, keeps nobody.
    let silent = TcpStream::connect(&address).unwrap();
    let greedy = TcpStream::connect(&address).unwrap();
    let _ = (&greedy).write_all(&[b'x'; 100_000]);
    assert!(page().contains("heaptap_live_bytes"));
    drop((silent, greedy));
    agent.end();
    judge(body, "parser");
    judge(open.split_once("\r\n\r\n").unwrap().1, "openmetrics.parser");
}

/// Prometheus's own client library reads a page.
fn judge(page: &str, parser: &str) {
    let Some(python) = python_with("prometheus_client") else { return };
    let code = format!(
        "import sys\nfrom prometheus_client.{parser} import text_string_to_metric_families as read\n\
         names = [family.name for family in read(sys.stdin.read())]\nassert len(names) == len(set(names)), names\n\
         print(len(names))"
    );
    let mut child =
        Command::new(python).args(["-c", &code]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{page}");
    let families: usize = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert!(families > 12, "{families}");
}

/// Reads a request of OTLP by the protocol's own messages, and prints its sums, names and attributes.
const OTLP: &str = "
import sys
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import ExportProfilesServiceRequest
request = ExportProfilesServiceRequest.FromString(sys.stdin.buffer.read())
known, text = request.dictionary, request.dictionary.string_table
tables = (known.mapping_table, known.location_table, known.function_table, known.link_table, known.attribute_table,
          known.stack_table)
assert text[0] == '' and all(table[0].ByteSize() == 0 for table in tables)
[of_resource] = request.resource_profiles
attributes = {pair.key: pair.value.string_value for pair in of_resource.resource.attributes}
print(' '.join(f'{key}={value}' for key, value in sorted(attributes.items())))
ids = set()
for profile in of_resource.scope_profiles[0].profiles:
    assert profile.time_unix_nano > 15e17 and text[profile.period_type.type_strindex] == 'space'
    assert len(profile.profile_id) == 16
    ids.add(profile.profile_id)
    kind = f'{text[profile.sample_type.type_strindex]}/{text[profile.sample_type.unit_strindex]}'
    print(kind, sum(value for sample in profile.samples for value in sample.values))
    for sample in profile.samples:
        stack = known.stack_table[sample.stack_index]
        for location in (known.location_table[index] for index in stack.location_indices):
            mapping = known.mapping_table[location.mapping_index]
            assert location.mapping_index == 0 or mapping.memory_start <= location.address < mapping.memory_limit
            assert all(text[known.function_table[line.function_index].name_strindex] for line in location.lines)
assert len(ids) == 2
";

#[test]
fn each_engine_gets_the_same_sums_in_its_own_form() {
    let dumps = Folder::new("push-dumps");
    (1..=2).for_each(|pid| drop(dump(dumps.path(), pid, 1000 * u64::from(pid))));
    let paths = [
        ("pyroscope", "/ingest?name=shop{namespace=shops}&format=pprof&spyName=javaspy"),
        ("pyroscope-push", "/push.v1.PusherService/Push"),
        ("parca", "/api/profiles/writeraw"),
        ("pprof", "/v1/pprof"),
        ("otlp", "/v1development/profiles"),
    ];
    for (engine_name, path) in paths {
        let (engine, state) = (Engine::start(), Folder::new("push-state"));
        let secret = state.write("secret", "user:word\n");
        let mut more =
            vec!["--once", "--to", engine_name, "--dumps-only", "--label", "namespace=shops", "--tenant", "t1"];
        more.extend(["--label", "service_name=shop", "--basic-file", secret.to_str().unwrap()]);
        more.push(dumps.path().to_str().unwrap());
        let output = push(&engine, &state, &more).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let pushes = engine.taken("");
        assert_eq!(pushes.len(), 2);
        for (push, objects) in pushes.iter().zip([1000, 2000]) {
            assert_eq!(push.target, path);
            assert_eq!(push.headers["authorization"], "Basic dXNlcjp3b3Jk");
            assert_eq!(push.headers["x-scope-orgid"], "t1");
            match engine_name {
                "otlp" => judge_otlp(&push.body, objects),
                "pyroscope" | "pprof" => judge_pprof(&push.body, objects),
                _ => assert_eq!(push.pprof().sum("inuse_space"), objects * 1024),
            }
        }
    }
}

/// The reader that Pyroscope and the Collector's receiver are built on.
fn judge_pprof(body: &[u8], objects: u64) {
    assert_eq!(support::Pprof::of(body).sum("inuse_space"), objects * 1024);
    if !needs("go") {
        return;
    }
    let folder = Folder::new("push-pprof");
    let file = folder.path().join("x.pb.gz");
    fs::write(&file, body).unwrap();
    let mut command = Command::new("go");
    command.args(["tool", "pprof", "-raw"]).arg(&file).env("PPROF_BINARY_PATH", "/none").env_remove("LD_PRELOAD");
    let output = command.output().unwrap();
    let (text, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
    let samples = text.split("Samples:\n").nth(1).unwrap().split("Locations").next().unwrap();
    assert!(samples.starts_with("inuse_objects/count inuse_space/bytes[dflt]\n"), "{samples}");
    // Below a sample stand its labels.
    let values = samples.lines().filter_map(|line| {
        let (values, _) = line.split_once(':')?;
        values.split_whitespace().map(|value| value.parse().ok()).collect::<Option<Vec<u64>>>()
    });
    let values: Vec<Vec<u64>> = values.collect();
    assert_eq!(values, [[objects, objects * 1024]], "{text}");
}

fn judge_otlp(body: &[u8], objects: u64) {
    let Some(python) = python_with("opentelemetry.proto.profiles.v1development") else { return };
    let mut child =
        Command::new(python).args(["-c", OTLP]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(body).unwrap();
    let output = child.wait_with_output().unwrap();
    let expected = format!(
        "k8s.namespace.name=shops service.name=shop\ninuse_objects/count {objects}\ninuse_space/bytes {}\n",
        objects * 1024
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

/// An https server that counts what it takes, and says at which port.
const SECURE: &str = "
import http.server, ssl, sys
class Taker(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_POST(self):
        self.rfile.read(int(self.headers['content-length']))
        self.send_response(200)
        self.send_header('content-length', '0')
        self.end_headers()
    def log_message(self, *words):
        pass
server = http.server.HTTPServer(('127.0.0.1', 0), Taker)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

#[test]
fn a_server_proves_who_it_is_or_gets_nothing() {
    if !needs("openssl") || !needs("python3") {
        return;
    }
    let (dumps, state) = (Folder::new("push-dumps"), Folder::new("push-state"));
    dump(dumps.path(), 1, 1000);
    let (certificate, key) = (state.path().join("cert.pem"), state.path().join("key.pem"));
    let mut made = Command::new("openssl");
    made.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    made.args(["-subj", "/CN=engine", "-addext", "subjectAltName=IP:127.0.0.1"]);
    made.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"]).arg(&key).arg("-out").arg(&certificate);
    assert!(made.output().unwrap().status.success());
    let mut server = Command::new("python3");
    server.args(["-c", SECURE]).arg(&certificate).arg(&key).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = server.spawn().unwrap();
    let mut port = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let url = format!("https://127.0.0.1:{}", port.trim());
    let run = |more: &[&str]| {
        let mut command = Command::new(cli());
        command.args(["push", "--once", "--dumps-only", "--url", &url, "--state"]).arg(state.path()).args(more);
        command.arg(dumps.path()).env_remove("https_proxy").env_remove("HTTPS_PROXY").env_remove("ALL_PROXY");
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let other = state.path().join("other.pem");
    let mut strange = Command::new("openssl");
    strange.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"]);
    strange.arg("-keyout").arg(state.path().join("other.key")).arg("-out").arg(&other);
    assert!(strange.output().unwrap().status.success());
    let refused = run(&["--ca", other.to_str().unwrap()]);
    let taken = run(&["--ca", certificate.to_str().unwrap()]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(refused.0 == Some(2) && refused.1.contains("not sent, and waits"), "{refused:?}");
    assert!(taken.0 == Some(0) && taken.1.contains("1 profiles sent"), "{taken:?}");
}

/// Rules, dashboard and page speak of figures that there are.
#[test]
fn examples_ask_for_metrics_that_are_served() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let served = read("src/cli/render/exposition.rs") + &read("src/cli/push/server.rs");
    let mut asked = 0;
    for name in ["examples/fleet/alerts.yaml", "examples/fleet/dashboard.json", "examples/fleet/README.md"] {
        let text = read(name);
        for part in text.split("heaptap_").skip(1) {
            let end = part.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(part.len());
            let metric = format!("\"heaptap_{}\"", &part[..end]);
            assert!(served.contains(&metric), "{name}: {metric} is not served");
            asked += 1;
        }
    }
    assert!(asked > 25, "{asked}");
    let dashboard: serde_json::Value = serde_json::from_str(&read("examples/fleet/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.iter().all(|panel| panel["targets"][0]["refId"] == "A"), "{dashboard}");
}

#[test]
fn what_cannot_be_is_said_before_anything_is_done() {
    let run = |arguments: &[&str]| {
        let output = Command::new(cli()).arg("push").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(&[]).contains("nothing to do"));
    assert!(run(&["--url", "pyroscope:4040"]).contains("http"));
    assert!(run(&["--url", "http://x", "--label", "pid={pid}"]).contains("makes a series"));
    assert!(run(&["--url", "http://x", "--every", "1s"]).contains("15s"));
    assert!(run(&["--url", "http://x", "/nowhere"]).contains("no folder"));
    assert!(run(&["--url", "https://x", "--ca", "/etc/hostname"]).contains("no certificate"));
}

/// How often each dump of a chaos came in and was taken, by its number of a thousand blocks.
fn counts(engine: &Engine, most: u64) -> Vec<usize> {
    let pushes = engine.taken("push-chaos");
    let sums: Vec<u64> = pushes.iter().map(|push| push.pprof().sum("inuse_space") / 1024).collect();
    (1..=most).map(|number| sums.iter().filter(|sum| **sum == number * 1000).count()).collect()
}

/// The server is away, slow, busy, broken, hangs up at every point of a request: nothing comes twice, and what does not
/// come is what may have come.
#[test]
fn nothing_comes_twice_and_nothing_is_lost_whatever_the_server_does() {
    let (state, dumps) = (Folder::new("push-state"), Folder::new("push-dumps"));
    let engine = Engine::start();
    // What takes a dump, or ends it, stands in a line of its own; before it, what has it wait.
    engine.script(&[
        Does::Say(503, ""),
        Does::Mute,
        Does::Hang,
        Does::Slow(Duration::from_millis(1500)),
        Does::Say(429, "retry-after: 2\r\n"),
        Does::Take,
        Does::Say(401, ""),
        Does::Swallow,
        Does::Page,
        Does::Take,
        Does::Say(500, ""),
        Does::Say(422, ""),
        Does::Half,
    ]);
    (1..=8).for_each(|number| {
        dump(dumps.path(), number, 1000 * u64::from(number));
        sleep(Duration::from_millis(20));
    });
    let folder = dumps.path().to_str().unwrap();
    // Only the dumps: other tests' processes are none of the script's business.
    let more = ["--label", "service_name=push-chaos", "--dumps-only", folder];
    let agent = Pusher::start(&engine, &state, &more);
    wait_for("the last dump", || counts(&engine, 8)[7] == 1);
    let told = agent.end();
    // The fourth was swallowed: it came, and was not sent again. The sixth was refused, the seventh cut in its half.
    assert_eq!(counts(&engine, 8), [1, 1, 1, 1, 1, 0, 0, 1], "{told}");
    assert_eq!(engine.requests(), 6 + 8, "{told}");
    for word in ["503", "429", "401", "web page", "500", "it may have arrived", "refused", "taken again"] {
        assert!(told.contains(word), "{word}: {told}");
    }
}

/// The agent is killed while it sends, and while the server is away; the server comes back at its address.
#[test]
fn an_agent_that_is_killed_goes_on_where_it_was() {
    let (state, dumps) = (Folder::new("push-state"), Folder::new("push-dumps"));
    let folder = dumps.path().to_str().unwrap().to_owned();
    let more = ["--label", "service_name=push-chaos", "--dumps-only", &folder];
    let engine = Engine::start_apart();
    let address = engine.address();
    dump(dumps.path(), 1, 1000);
    engine.script(&[Does::Slow(Duration::from_secs(8))]);
    let mut agent = Pusher::start(&engine, &state, &more);
    wait_for("the first one", || !engine.taken("push-chaos").is_empty());
    // It has come whole, and the answer has not.
    agent.child.kill().unwrap();
    drop(agent);
    let mut before = engine.taken("push-chaos").len();
    // It answers nobody, and ends.
    drop(engine);
    let agent = Pusher::start(&Engine::dead(address), &state, &more);
    (2..=4).for_each(|number| drop(dump(dumps.path(), number, 1000 * u64::from(number))));
    let spool = state.path().join("spool");
    wait_for("three that wait", || fs::read_dir(&spool).is_ok_and(|files| files.count() == 3));
    let mut agent = agent;
    agent.child.kill().unwrap();
    assert!(agent.said().contains("on their way"), "{}", agent.said());
    drop(agent);
    let engine = Engine::at(address);
    let agent = Pusher::start(&engine, &state, &more);
    wait_for("all of them", || counts(&engine, 4)[1..] == [1, 1, 1]);
    sleep(Duration::from_secs(1));
    agent.end();
    before += counts(&engine, 4)[0];
    assert_eq!((before, counts(&engine, 4)), (1, vec![0, 1, 1, 1]));
    assert_eq!(fs::read_dir(&spool).unwrap().count(), 0);
}

/// A disk without room: dumps wait where they are, and are sent when there is some.
#[test]
fn a_full_disk_loses_nothing_that_lies_elsewhere() {
    let (engine, state, dumps) = (Engine::start(), Folder::new("push-state"), Folder::new("push-dumps"));
    let disk = state.subfolder("disk");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&disk).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return skip("no right to mount a small file system");
    }
    let fill = disk.join("fill");
    let mut file = File::create(&fill).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    dump(dumps.path(), 1, 1000);
    let folder = dumps.path().to_str().unwrap();
    let disk_of = disk.to_str().unwrap();
    let more = ["--label", "service_name=push-chaos", "--dumps-only", "--state", disk_of, folder];
    let agent = Pusher::start(&engine, &state, &more);
    wait_for("a word of it", || agent.said().contains("it waits there"));
    assert_eq!(counts(&engine, 1), [0]);
    fs::remove_file(&fill).unwrap();
    wait_for("the dump", || counts(&engine, 1) == [1]);
    sleep(Duration::from_secs(6));
    agent.end();
    let _ = Command::new("umount").arg(&disk).status();
    assert_eq!(counts(&engine, 1), [1]);
}
