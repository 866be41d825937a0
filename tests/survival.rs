//! The live profile outlives its process: killed at any instant, stopped, hung, restarted with the same pid's
//! files in the same folder; and it is read and controlled from outside without the process's help.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::{Folder, cli, under_tap};

/// Usable bytes of a leaked block: the size class of 1,000.
const LEAK_BYTES: f64 = 1024.0;
/// Sampling period of these tests.
const PERIOD: f64 = 8192.0;
const CONF: &str = "prof:true,lg_prof_sample:13,prof_final:true";

/// The churning program under the tap, and what it says that it leaked.
struct Churn {
    child: Child,
    folder: Folder,
    /// What it wrote to stderr so far.
    told: Arc<Mutex<String>>,
}

impl Churn {
    fn start(conf: &str) -> Churn {
        Churn::start_in(Folder::new("survival"), conf)
    }

    fn start_in(folder: Folder, conf: &str) -> Churn {
        let program = folder.path().join("churn");
        if !program.exists() {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/churn.c");
            let built = Command::new("gcc").args(["-O1", "-g", "-pthread", "-o"]).arg(&program).arg(source).status();
            assert!(built.unwrap().success());
        }
        let mut command = Command::new(&program);
        command
            .arg(folder.path().join("leaked"))
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        under_tap(&mut command, conf, folder.path());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "running\n");
        let told = collect(child.stderr.take().unwrap());
        Churn { child, folder, told }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Blocks leaked so far, by its own exact count.
    fn leaked(&self) -> u64 {
        let bytes = fs::read(self.folder.path().join("leaked")).unwrap();
        u64::from_ne_bytes(bytes.try_into().unwrap())
    }

    /// Waits until the keeper has noted which program this is, and where its dumps go: it tells so after that,
    /// where the process is significant from the start.
    fn wait_for_note(&self) {
        wait_for("the keeper's note", || self.told.lock().unwrap().contains("heaptap: profiling pid"));
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.pid()]).status().unwrap().success());
    }

    /// Asks the CLI, and returns its stdout.
    fn ask(&self, arguments: &[&str]) -> String {
        let output = Command::new(cli()).args(arguments).current_dir(self.folder.path()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "heaptap {arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The estimate of the leaked bytes in a report of these inputs.
    fn leaked_bytes(&self, input: &str) -> f64 {
        let json: serde_json::Value =
            serde_json::from_str(&self.ask(&["report", "--json", "-n", "50", input])).unwrap();
        sites(&json).iter().filter(|(frames, _)| frames.contains("leak_one")).map(|(_, bytes)| bytes).sum()
    }
}

/// Reads a child's stderr as it comes.
fn collect(stderr: ChildStderr) -> Arc<Mutex<String>> {
    let told = Arc::new(Mutex::new(String::new()));
    let here = Arc::clone(&told);
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            here.lock().unwrap().push_str(&(line + "\n"));
        }
    });
    told
}

impl Drop for Churn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // What a killed process leaves must not outlive the test.
        let _ = Command::new(cli()).args(["recover", &self.pid()]).current_dir(self.folder.path()).output();
    }
}

/// Every object of the report that has bytes and frames: (its frames as text, its bytes).
fn sites(json: &serde_json::Value) -> Vec<(String, f64)> {
    let all = json["sites"].as_array().or_else(|| json["places"].as_array()).expect("a list of sites");
    let bytes = |site: &serde_json::Value| site["bytes"].as_f64().or_else(|| site["live"]["bytes"].as_f64());
    all.iter().map(|site| (site.to_string(), bytes(site).expect("bytes of a site"))).collect()
}

/// Five standard deviations of the estimate of so many bytes, and what four threads leak meanwhile.
fn bound(bytes: f64) -> f64 {
    5.0 * (PERIOD * bytes).sqrt() + 4.0 * LEAK_BYTES
}

fn assert_near(estimate: f64, low: f64, high: f64, what: &str) {
    let (least, most) = (low - bound(low), high + bound(high));
    assert!((least..=most).contains(&estimate), "{what}: {estimate} bytes, expected {least} to {most}");
}

#[test]
fn killed_at_any_instant_everything_is_there() {
    let kills = if std::env::var_os("HEAPTAP_FULL").is_some() { 200 } else { 25 };
    for kill in 0..kills {
        // Dumps all the time, so that some kills fall into the middle of one.
        let conf = format!("{CONF},lg_prof_interval:22,prof_min_seconds:0,prof_min_bytes:0");
        let mut churn = Churn::start(&conf);
        // Names come with the keeper's first note; what is killed before it (every fifth) has addresses only.
        let is_named = kill % 5 != 0;
        if is_named {
            churn.wait_for_note();
        } else {
            wait_for("the first leaks", || churn.leaked() > 100);
        }
        thread::sleep(Duration::from_micros(1_000 + (kill * 7919) % 80_000));
        churn.kill();
        let truth = churn.leaked() as f64 * LEAK_BYTES;
        let dump = churn.ask(&["recover", &churn.pid()]);
        let text = fs::read_to_string(dump.trim()).unwrap();
        assert!(text.contains("# reason: killed\n"));
        let torn: u64 = text.lines().find_map(|line| line.strip_prefix("# torn_records: ")).unwrap().parse().unwrap();
        assert!(torn <= 8, "{torn} torn records: more than the threads can have had in hand");
        if is_named {
            assert_near(churn.leaked_bytes(dump.trim()), truth, truth, "after a kill");
        }
        let unfinished: Vec<PathBuf> = files(churn.folder.path(), ".heap");
        for path in unfinished {
            assert!(
                fs::read_to_string(&path).unwrap().contains("MAPPED_LIBRARIES:"),
                "{} is not whole",
                path.display()
            );
        }
    }
}

fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

#[test]
fn a_running_and_a_stopped_process_are_read_from_outside() {
    let churn = Churn::start(CONF);
    thread::sleep(Duration::from_millis(300));
    let before = churn.leaked() as f64 * LEAK_BYTES;
    let running = churn.leaked_bytes(&churn.pid());
    let after = churn.leaked() as f64 * LEAK_BYTES;
    assert_near(running, before, after, "running");
    churn.signal("-STOP");
    thread::sleep(Duration::from_millis(50));
    let truth = churn.leaked() as f64 * LEAK_BYTES;
    assert_near(churn.leaked_bytes(&churn.pid()), truth, truth, "stopped");
    assert!(churn.ask(&["ps"]).lines().any(|line| line.contains(&churn.pid()) && line.contains("stopped")));
    churn.signal("-CONT");
}

#[test]
fn the_next_start_writes_the_dump_of_the_killed_one() {
    let conf = format!("{CONF},prof_min_seconds:0,prof_min_bytes:0");
    let mut first = Churn::start(&conf);
    // The keeper must have noted where its dumps go.
    first.wait_for_note();
    first.kill();
    let (pid, truth) = (first.pid(), first.leaked() as f64 * LEAK_BYTES);
    let folder = std::mem::replace(&mut first.folder, Folder::new("survival"));
    let second = Churn::start_in(folder, &conf);
    let adopted =
        || files(second.folder.path(), ".f.heap").into_iter().find(|path| path.to_string_lossy().contains(&pid));
    wait_for("adoption", || adopted().is_some());
    let dump = adopted().unwrap();
    assert_near(second.leaked_bytes(dump.to_str().unwrap()), truth, truth, "adopted");
    assert!(!second.ask(&["ps"]).lines().any(|line| line.trim_start().starts_with(&pid)), "the region is gone");
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_running_process_is_controlled_from_outside() {
    let churn = Churn::start(&format!("{CONF},prof_min_seconds:0,prof_min_bytes:0"));
    let control = || Command::new(cli()).args(["dump", &churn.pid()]).output().unwrap();
    wait_for("the control file", || control().status.success());
    let dump = churn.ask(&["dump", &churn.pid()]);
    let text = fs::read_to_string(dump.trim()).unwrap();
    assert!(dump.trim().ends_with(".heap") && text.contains("# reason: request\n"), "{dump}");
    churn.ask(&["rate", "20", &churn.pid()]);
    let slower = fs::read_to_string(churn.ask(&["dump", &churn.pid()]).trim()).unwrap();
    assert!(slower.starts_with("heap_v2/1048576\n"), "{}", slower.lines().next().unwrap());
    churn.ask(&["stop", &churn.pid()]);
    let samples = || {
        let text = fs::read_to_string(churn.ask(&["dump", &churn.pid()]).trim()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("# samples: ")).unwrap().to_owned();
        line.parse::<u64>().unwrap()
    };
    let stopped = samples();
    thread::sleep(Duration::from_millis(200));
    assert_eq!(samples(), stopped, "sampling goes on after stop");
    churn.ask(&["start", &churn.pid()]);
    churn.ask(&["rate", "10", &churn.pid()]);
    wait_for("new samples", || samples() > stopped);
}

#[test]
fn time_and_growth_make_dumps_without_a_byte_interval() {
    let conf = format!("{CONF},prof_min_seconds:0,prof_min_bytes:0,prof_dump_seconds:1");
    let churn = Churn::start(&conf);
    wait_for("two dumps by time", || files(churn.folder.path(), ".heap").len() >= 2);
    let first = fs::read_to_string(&files(churn.folder.path(), ".heap")[0]).unwrap();
    assert!(first.contains("# reason: seconds\n"));
    let conf = format!("{CONF},prof_min_seconds:0,prof_min_bytes:0,prof_dump_growth:20000000");
    let churn = Churn::start(&conf);
    wait_for("a dump by growth", || !files(churn.folder.path(), ".heap").is_empty());
    let first = fs::read_to_string(&files(churn.folder.path(), ".heap")[0]).unwrap();
    assert!(first.contains("# reason: growth\n"));
}
