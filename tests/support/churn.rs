//! The churning program of `tests/programs/churn.c` under the tap, and the exact count of what it leaked.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Folder, cli, library};

/// Usable bytes of a leaked block: the size class of 1,000.
pub(crate) const LEAK_BYTES: f64 = 1024.0;
/// Sampling period of these tests.
pub(crate) const PERIOD: f64 = 8192.0;
/// No governor: it would raise the period of a program that does nothing else, and with it the error of estimates.
pub(crate) const CONF: &str = "prof:true,lg_prof_sample:13,prof_final:true,prof_max_overhead:0";

/// The churning program under the tap, and what it says that it leaked.
pub(crate) struct Churn {
    pub(crate) child: Child,
    /// Where it runs, and where its files go.
    pub(crate) folder: Folder,
    /// What it wrote to stderr so far.
    told: Arc<Mutex<String>>,
    /// Ends when nobody can write to its stderr any more.
    collector: Option<JoinHandle<()>>,
}

impl Churn {
    pub(crate) fn start(conf: &str) -> Churn {
        Churn::start_in(Folder::new("survival"), conf)
    }

    pub(crate) fn start_in(folder: Folder, conf: &str) -> Churn {
        Churn::launch(folder, &[], conf)
    }

    /// The same by other programs, which run it as the rest of their arguments and are not tapped themselves.
    pub(crate) fn launch(folder: Folder, launcher: &[&str], conf: &str) -> Churn {
        let program = folder.path().join("churn");
        if !program.exists() {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/churn.c");
            let built = Command::new("gcc").args(["-O1", "-g", "-pthread", "-o"]).arg(&program).arg(source).status();
            assert!(built.unwrap().success());
        }
        let prefix = folder.path().join("jeprof");
        let words: Vec<&str> = launcher.iter().copied().chain(["env"]).collect();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .arg(format!("LD_PRELOAD={}", library().display()))
            .arg(format!("MALLOC_CONF={conf},prof_prefix:{}", prefix.display()))
            .arg(&program)
            .arg(folder.path().join("leaked"))
            .current_dir(folder.path())
            .env_remove("LD_PRELOAD")
            .env_remove("TMPDIR")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "running\n");
        let (told, collector) = collect(child.stderr.take().unwrap());
        Churn { child, folder, told, collector: Some(collector) }
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Blocks leaked so far, by its own exact count.
    pub(crate) fn leaked(&self) -> u64 {
        let bytes = fs::read(self.folder.path().join("leaked")).unwrap();
        u64::from_ne_bytes(bytes.try_into().unwrap())
    }

    /// Waits until the keeper has noted which program this is, and where its dumps go: it tells so after that,
    /// where the process is significant from the start.
    pub(crate) fn wait_for_note(&self) {
        wait_for("the keeper's note", || self.told.lock().unwrap().contains("heaptap: profiling pid"));
    }

    /// Kills it, and waits until all of it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.wait();
    }

    /// Waits for its end, whoever ends it.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        if let Some(collector) = self.collector.take() {
            collector.join().unwrap();
        }
        status
    }

    /// Its region, as it lies in the memory of this machine.
    pub(crate) fn regions(&self) -> Vec<PathBuf> {
        let user = fs::metadata(self.folder.path()).unwrap().uid();
        let all = files(Path::new(&format!("/dev/shm/heaptap-{user}")), ".region");
        all.into_iter()
            .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&(self.pid() + ".")))
            .collect()
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.pid()]).status().unwrap().success());
    }

    /// Asks the CLI, and returns its stdout.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let output = Command::new(cli()).args(arguments).current_dir(self.folder.path()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "heaptap {arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The estimate of the leaked bytes in a report of these inputs.
    pub(crate) fn leaked_bytes(&self, input: &str) -> f64 {
        let json: serde_json::Value =
            serde_json::from_str(&self.ask(&["report", "--json", "-n", "50", input])).unwrap();
        sites(&json).iter().filter(|(frames, _)| frames.contains("leak_one")).map(|(_, bytes)| bytes).sum()
    }
}

/// Reads a child's stderr as it comes.
fn collect(stderr: ChildStderr) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let told = Arc::new(Mutex::new(String::new()));
    let here = Arc::clone(&told);
    let collector = thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            here.lock().unwrap().push_str(&(line + "\n"));
        }
    });
    (told, collector)
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

/// Waits until something is so, or fails after a time that no busy machine needs.
pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The files of a folder whose names end so.
pub(crate) fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    all.filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

/// Six standard deviations of the estimate of so many bytes (once in 500 million), and what four threads leak
/// meanwhile.
pub(crate) fn bound(bytes: f64) -> f64 {
    6.0 * (PERIOD * bytes).sqrt() + 4.0 * LEAK_BYTES
}

/// Fails unless an estimate lies between two truths, give or take the sampling error.
pub(crate) fn assert_near(estimate: f64, low: f64, high: f64, what: &str) {
    let (least, most) = (low - bound(low), high + bound(high));
    assert!((least..=most).contains(&estimate), "{what}: {estimate} bytes, expected {least} to {most}");
}
