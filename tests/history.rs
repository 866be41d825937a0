//! Totals do not move with the sampling rate, and every snapshot tells the time before it.
//!
//! `paths.cpp` holds what it is told to, to the byte. Bounds are six standard deviations of the sampling (once in 500
//! million) where an estimate is compared with the truth; where readers of one dump are compared with each other
//! it is one raw object, which is what stock jeprof can show at least.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;
use support::churn::{files, wait_for};
use support::{Dump, Folder, HOWEVER_SHORT, HeapV2, cli, have_jeprof, jeprof_text, under_tap};

/// Usable bytes that one line makes the program hold, in jemalloc's class of 1,280 bytes.
const HELD: f64 = 64.0 * 437.0 * 1280.0;

/// The program under the tap.
struct Paths {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    folder: Folder,
}

impl Paths {
    fn start(conf: &str) -> Paths {
        let folder = Folder::new("history");
        let program = folder.path().join("paths");
        let source = format!("{}/tests/programs/paths.cpp", env!("CARGO_MANIFEST_DIR"));
        let built = Command::new("g++").args(["-O1", "-g", "-fno-builtin", "-o"]).arg(&program).arg(source).status();
        assert!(built.unwrap().success());
        let mut command = Command::new(&program);
        under_tap(&mut command, &format!("{conf},{HOWEVER_SHORT}"), folder.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Paths { child, input, output, folder }
    }

    fn tell(&mut self, what: &str) {
        writeln!(self.input.as_mut().unwrap(), "{what}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let output = Command::new(cli()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn info(&self, input: &str) -> serde_json::Value {
        let json: serde_json::Value = serde_json::from_str(&self.ask(&["info", "--json", input])).unwrap();
        json["files"].as_array().unwrap().last().unwrap().clone()
    }

    /// Dumps, and returns the dump.
    fn dump(&self) -> Dump {
        Dump::from_path(&PathBuf::from(self.ask(&["dump", &self.pid()]).trim())).unwrap()
    }

    /// Waits until the keeper has looked at all stacks once more.
    fn wait_for_look(&self) {
        let looks = || self.info(&self.pid())["history"]["looks"].as_array().map_or(0, Vec::len);
        let before = looks();
        wait_for("another look", || looks() > before);
    }
}

impl Drop for Paths {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = Command::new(cli()).args(["recover", &self.pid()]).current_dir(self.folder.path()).output();
    }
}

fn numbers(history: &serde_json::Value, list: &str, key: &str) -> Vec<f64> {
    history[list].as_array().unwrap().iter().map(|entry| entry[key].as_f64().unwrap()).collect()
}

#[test]
fn totals_do_not_move_with_the_rate() {
    let mut paths = Paths::start("prof:true,lg_prof_sample:17");
    let mut variance = 0.0;
    for (number, lg) in [17, 21, 12, 20].into_iter().enumerate() {
        if number > 0 {
            wait_for("the control file", || {
                let rate = Command::new(cli()).args(["rate", &lg.to_string(), &paths.pid()]).output().unwrap();
                rate.status.success()
            });
            // What the thread had drawn already is of the old rate: it ends with the first sample.
        }
        paths.tell("hold");
        variance += HELD * f64::from(1u32 << 21);
        let dump = paths.dump();
        let truth = HELD * (number as f64 + 1.0);
        let heap = HeapV2::parse(&dump.text()).unwrap();
        assert_eq!(heap.period, 1 << lg);
        let told = paths.info(dump.path.to_str().unwrap())["bytes"].as_f64().unwrap();
        assert!((told - truth).abs() < 6.0 * variance.sqrt(), "lg {lg}: {told} of {truth}");
        // A live profile, its dump and what jeprof makes of it.
        let live = paths.info(&paths.pid())["bytes"].as_f64().unwrap();
        assert_eq!(live, told, "lg {lg}");
        let raw_object = (1u64 << lg) as f64 + 1280.0;
        let (_, shown) = heap.scaled();
        assert!((shown - told).abs() <= raw_object, "lg {lg}: jeprof's formula shows {shown} of {told}");
        if have_jeprof() {
            let rows = jeprof_text(&paths.folder.path().join("paths"), &dump);
            let sum: u64 = rows.iter().map(|row| row.flat).sum();
            assert!((sum as f64 - shown).abs() <= 64.0, "lg {lg}: jeprof shows {sum}, not {shown}");
        }
    }
}

#[test]
fn a_killed_process_tells_what_its_stacks_were() {
    let mut paths = Paths::start("prof:true,lg_prof_sample:12");
    paths.tell("hold");
    paths.wait_for_look();
    paths.tell("hold");
    paths.wait_for_look();
    paths.tell("free");
    paths.wait_for_look();
    paths.ask(&["rate", "13", &paths.pid()]);
    paths.tell("hold");
    paths.wait_for_look();
    let pid = paths.pid();
    paths.child.kill().unwrap();
    paths.child.wait().unwrap();
    let of_region = paths.info(&pid)["history"].clone();
    let saved = paths.ask(&["recover", &pid]);
    let dump = files(paths.folder.path(), ".f.heap").pop().unwrap_or_else(|| panic!("{saved}"));
    let of_dump = paths.info(dump.to_str().unwrap())["history"].clone();
    assert_eq!(of_region, of_dump);
    let (times, bytes) = (numbers(&of_dump, "looks", "time"), numbers(&of_dump, "looks", "bytes"));
    assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "{times:?}");
    // 1, 2, 1 and 2 lines' worth, in this order, whatever came between.
    let bound = 6.0 * (2.0 * HELD * 8192.0).sqrt() + HELD / 50.0;
    let mut wanted = [1.0, 2.0, 1.0, 2.0].into_iter().peekable();
    for held in &bytes {
        wanted.next_if(|lines| (held - lines * HELD).abs() < bound);
    }
    assert_eq!(wanted.next(), None, "{bytes:?}");
    // At a look the process's own counter and the rows agree where nothing was allocated meanwhile: at two at least.
    let counted = |time: &f64| {
        let mut moments = of_dump["timeline"].as_array().unwrap().iter();
        moments.find(|moment| moment["time"].as_f64() == Some(*time))?["bytes"].as_f64()
    };
    let looks = times.iter().zip(&bytes).filter_map(|(time, held)| Some((counted(time)? - held).abs()));
    let apart: Vec<f64> = looks.collect();
    assert!(
        apart.iter().filter(|apart| **apart < 1e5).count() >= 2 && apart.iter().all(|apart| *apart < HELD),
        "{apart:?}"
    );
    // What was ever allocated never falls, and is three lines' worth in the end.
    let allocated = numbers(&of_dump, "looks", "allocated_bytes");
    assert!(allocated.windows(2).all(|pair| pair[0] <= pair[1]), "{allocated:?}");
    let all = allocated.last().unwrap();
    assert!((all - 3.0 * HELD).abs() < 2.0 * bound, "{all}");
    let events: Vec<&str> =
        of_dump["events"].as_array().unwrap().iter().map(|event| event["what"].as_str().unwrap()).collect();
    assert!(events.contains(&"sampling-started") && events.contains(&"rate"), "{events:?}");
    assert!(!events.contains(&"governor"), "{events:?}");
    assert!(numbers(&of_dump, "timeline", "rss_bytes").iter().all(|&rss| rss > 1e6));
    let report = paths.ask(&["report", dump.to_str().unwrap()]);
    assert!(report.contains("The sampling rate was changed by hand at"), "{report}");
}

#[test]
fn resets_dumps_and_pauses_are_events() {
    let mut paths = Paths::start("prof:true,lg_prof_sample:12");
    paths.tell("hold");
    wait_for("the control file", || {
        Command::new(cli()).args(["rate", "12", &paths.pid()]).output().unwrap().status.success()
    });
    paths.ask(&["dump", &paths.pid()]);
    paths.wait_for_look();
    for verb in ["stop", "start", "reset"] {
        paths.ask(&[verb, &paths.pid()]);
        sleep(Duration::from_millis(1500));
    }
    paths.tell("hold");
    paths.wait_for_look();
    let report = paths.ask(&["report", &paths.pid()]).replace('\n', " ");
    assert!(report.contains("Sampling was off for") && report.contains("is not seen."), "{report}");
    let history = paths.info(&paths.pid())["history"].clone();
    let events: Vec<&str> =
        history["events"].as_array().unwrap().iter().map(|event| event["what"].as_str().unwrap()).collect();
    for event in ["dump", "sampling-stopped", "sampling-started", "reset"] {
        assert!(events.contains(&event), "{event} is not in {events:?}");
    }
    // Looks of before the reset are of nothing that is now. One may fall into the moment in which it is allocated.
    let bytes = numbers(&history, "looks", "bytes");
    let bound = 6.0 * (HELD * 4096.0).sqrt() + HELD / 50.0;
    let is_whole = |held: &f64| (held - HELD).abs() < bound;
    assert!(bytes.iter().filter(|held| **held >= 1.0 && !is_whole(held)).count() <= 1, "{bytes:?}");
    assert!(bytes.iter().all(|held| *held < HELD + bound) && bytes.last().is_some_and(is_whole), "{bytes:?}");
    assert!(history["observed_since"].as_f64().unwrap() > history["timeline"][0]["time"].as_f64().unwrap());
}
