//! One process that lives, one that was killed, one dump: each tells whether it leaks, by its own history.
//!
//! `courses.c` and `Courses.java` do what their mode says. All modes run at the same time, as what they need is time to
//! be looked at.

mod support;

use std::process::{Child, Command};
use support::churn::{files, wait_for};
use support::java::{Jvm, compile_class, jvms};
use support::{Folder, HOWEVER_SHORT, cli, skip, under_tap};

/// Looks of the keeper, a second apart, that tell a course.
const LOOKS: usize = 9;

/// The program under the tap in one of its modes.
struct Course {
    child: Child,
    folder: Folder,
}

impl Course {
    fn start(mut command: Command, arguments: &[&str]) -> Course {
        let folder = Folder::new("course");
        under_tap(&mut command, &format!("prof:true,prof_final:true,lg_prof_sample:17,{HOWEVER_SHORT}"), folder.path());
        Course { child: command.args(arguments).spawn().unwrap(), folder }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    fn looks(&self) -> usize {
        let output = Command::new(cli()).args(["info", "--json", &self.pid()]).output().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        json["files"][0]["history"]["looks"].as_array().map_or(0, Vec::len)
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status of `leaks`, and what it says.
fn leaks(input: &str) -> (i32, String) {
    let output = Command::new(cli()).args(["leaks", input]).env("COLUMNS", "160").output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_snapshot_judges_growth_by_its_history() {
    let built = Folder::new("courses");
    let program = built.path().join("courses");
    let source = format!("{}/tests/programs/courses.c", env!("CARGO_MANIFEST_DIR"));
    let status = Command::new("gcc").args(["-O1", "-g", "-fno-builtin", "-o"]).arg(&program).arg(source).status();
    assert!(status.unwrap().success());
    let mut leaking = Course::start(Command::new(&program), &["leak"]);
    let mut stopping = Course::start(Command::new(&program), &["stops", "24"]);
    let is_acquitted = || {
        let mut steady = Course::start(Command::new(&program), &["steady"]);
        wait_for("looks at a steady process", || steady.looks() > LOOKS);
        let live = leaks(&steady.pid());
        steady.kill();
        let told = [live, leaks(&steady.pid())];
        let is_acquitted = told.iter().all(|(status, text)| [0, 3].contains(status) && !text.contains("LEAKS"));
        if !is_acquitted {
            eprintln!("a steady process, live and killed: {told:?}");
        }
        is_acquitted
    };
    // Of a thousand steady processes one may be accused (tests/verdicts.rs): not twice in a row.
    assert!((0..2).any(|_| is_acquitted()), "steady processes are accused");
    wait_for("looks at all stacks", || leaking.looks() > LOOKS);
    wait_for("the verdict", || leaks(&leaking.pid()).0 == 1);

    let of_leak = |(status, text): (i32, String), how: &str| {
        assert_eq!(status, 1, "{how}: {text}");
        assert!(text.contains("LEAKS: ") && text.contains("cache_put <- main"), "{how}: {text}");
    };
    of_leak(leaks(&leaking.pid()), "live");
    // 1 MiB a second, on a cache of 200 that does not count.
    let json = Command::new(cli()).args(["leaks", "--json", &leaking.pid()]).output().unwrap().stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let rate = json["rows"][0]["judgement"]["rate"].as_f64().unwrap() / f64::from(1 << 20);
    assert!((0.5..2.0).contains(&rate), "{rate} MiB/s");
    leaking.kill();
    of_leak(leaks(&leaking.pid()), "killed");

    assert!(stopping.child.wait().unwrap().success());
    let dumps = files(stopping.folder.path(), ".heap");
    assert_eq!(dumps.len(), 1, "{dumps:?}");
    let (status, text) = leaks(dumps[0].to_str().unwrap());
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("Held: ") && text.contains("session_open"), "{text}");
}

#[test]
fn a_living_jvm_is_judged_by_its_history() {
    let classes = Folder::new("java-courses");
    if !compile_class("Courses", &classes) {
        return;
    }
    let release = |wanted: u32| jvms().into_iter().find(|jvm: &Jvm| jvm.release == wanted);
    let found: Vec<Jvm> = [17, 25].into_iter().filter_map(release).collect();
    if found.is_empty() {
        return skip("no JDK 17 or 25");
    }
    let start = |jvm: &Jvm, mode: &str| {
        let arguments = ["-Xmx64m", "-XX:+UseSerialGC", "-cp", classes.path().to_str().unwrap(), "Courses", mode];
        Course::start(jvm.command(), &arguments)
    };
    // Two of the steady ones: of a thousand one may be accused, not both of these.
    let modes = ["leak", "steady", "steady"];
    let courses: Vec<[Course; 3]> = found.iter().map(|jvm| modes.map(|mode| start(jvm, mode))).collect();
    for (jvm, courses) in found.iter().zip(&courses) {
        wait_for("looks at all stacks", || courses.iter().all(|course| course.looks() > LOOKS + 3));
        let [leaking, steady @ ..] = courses;
        wait_for("the verdict", || leaks(&leaking.pid()).0 == 1);
        let (_, text) = leaks(&leaking.pid());
        assert!(text.contains("Courses.unpackAndForget"), "Java {}: {text}", jvm.release);
        let told = steady.each_ref().map(|course| leaks(&course.pid()));
        assert!(told.iter().any(|(status, _)| [0, 3].contains(status)), "Java {}: {told:?}", jvm.release);
    }
}
