//! The verdict where operators look: one line in a termination log, by `heaptap run` and by `heaptap recover --wait`.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use support::{Folder, HOWEVER_SHORT, cli, collect_dumps, library, needs};

/// Holds 30 MB, then comes to this end.
fn program(end: &str) -> [String; 3] {
    ["perl".into(), "-e".into(), format!("push @kept, q(x) x 10000 for 1..3000; {end}")]
}

fn conf(folder: &Folder) -> String {
    format!("prof:true,lg_prof_sample:13,prof_final:true,{HOWEVER_SHORT},prof_prefix:{}/x", folder.path().display())
}

fn tapped(folder: &Folder, end: &str) -> Child {
    let [perl, option, script] = program(end);
    let mut command = Command::new(perl);
    command.args([option, script]).env("LD_PRELOAD", library()).env("MALLOC_CONF", conf(folder));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The lines of a log.
fn lines(log: &Path) -> Vec<String> {
    fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn run(folder: &Folder, log: &Path, end: &str) -> Output {
    let mut heaptap = Command::new(cli());
    heaptap.arg("run").arg("--lib").arg(library()).args(["--conf", &conf(folder)]).arg("--verdict").arg(log);
    heaptap.arg("--").args(program(end)).env_remove("LD_PRELOAD").env_remove("MALLOC_CONF").output().unwrap()
}

#[test]
fn run_leaves_one_line_behind_what_the_program_wrote() {
    if !needs("perl") {
        return;
    }
    let folder = Folder::new("run-verdict");
    let log = folder.write("log", "its own last words\n");
    let output = run(&folder, &log, "kill 9, $$");
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(137), "{told}");
    let found = lines(&log);
    assert_eq!((found.len(), found[0].as_str()), (2, "its own last words"), "{found:?}");
    let dump = collect_dumps(folder.path()).pop().unwrap().path.display().to_string();
    assert!(found[1].starts_with("heaptap: perl") && found[1].contains(") was killed by signal 9. "), "{found:?}");
    assert!(found[1].ends_with(&format!(" Dump: {dump}")) && found[1].len() < 4096, "{found:?}");
    run(&folder, &log, "exit 3");
    let found = lines(&log);
    assert!(found.len() == 3 && found[2].contains(") ended with status 3. "), "{found:?}");
}

#[test]
fn a_log_that_cannot_be_written_changes_nothing_for_the_program() {
    if !needs("perl") {
        return;
    }
    let folder = Folder::new("no-verdict");
    let target = folder.write("target", "");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let output = run(&folder, &link, "exit 5");
    let told = text(&output.stderr);
    assert!(output.status.code() == Some(5) && told.contains("no verdict in "), "{told}");
    assert!(lines(&target).is_empty());
}

/// `heaptap recover --wait` of the processes that write into a folder.
fn waiter(folder: &Folder, log: &Path) -> Child {
    let mut heaptap = Command::new(cli());
    heaptap.args(["recover", "--wait", "--verdict"]).arg(log).arg(folder.path());
    heaptap.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn the_container_beside_tells_of_a_kill() {
    if !needs("perl") {
        return;
    }
    let folder = Folder::new("wait-kill");
    let log = folder.path().join("log");
    let beside = waiter(&folder, &log);
    let server = tapped(&folder, "kill 9, $$");
    let pid = server.id();
    server.wait_with_output().unwrap();
    let output = beside.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let dumps = collect_dumps(folder.path());
    assert_eq!(text(&output.stdout), format!("{}\n", dumps[0].path.display()));
    assert!(dumps.len() == 1 && dumps[0].text().contains("# reason: killed\n"));
    let found = lines(&log);
    assert!(found.len() == 1 && found[0].contains(&format!("(pid {pid}) was killed. ")), "{found:?}");
}

#[test]
fn it_waits_past_a_worker_that_ends_and_tells_of_the_last() {
    if !needs("perl") {
        return;
    }
    let folder = Folder::new("wait-end");
    let log = folder.path().join("log");
    // Both say when they hold their memory, and end when they are told.
    let end = "$| = 1; print qq(ready\\n); <STDIN>; exit 0";
    let (mut server, mut worker) = (tapped(&folder, end), tapped(&folder, end));
    for child in [&mut server, &mut worker] {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut line).unwrap();
        assert_eq!(line, "ready\n");
    }
    let mut beside = waiter(&folder, &log);
    // It has seen both when it has their files open or not: a second is its pace, three are enough to have looked.
    std::thread::sleep(std::time::Duration::from_secs(3));
    drop(worker.stdin.take());
    worker.wait().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(beside.try_wait().unwrap().is_none(), "it ended with the worker");
    drop(server.stdin.take());
    let pid = server.id();
    server.wait().unwrap();
    let output = beside.wait_with_output().unwrap();
    let found = lines(&log);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(found.len() == 1 && found[0].contains(&format!("(pid {pid}) ended. ")), "{found:?}");
}

#[test]
fn asked_to_stop_it_ends_where_nothing_lives() {
    let folder = Folder::new("wait-stop");
    let log = folder.path().join("log");
    let beside = waiter(&folder, &log);
    let pid = beside.id().to_string();
    // From when it holds its signals back on, it ends well; before that, by the signal.
    let holds = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim().to_owned();
        u64::from_str_radix(&blocked, 16).unwrap() & (1 << 14) != 0
    };
    while !holds() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let output = beside.wait_with_output().unwrap();
    assert_eq!((output.status.code(), lines(&log).len()), (Some(0), 0), "{}", text(&output.stderr));
}

#[test]
fn bad_words_are_refused() {
    let of = |words: &[&str]| {
        let output = Command::new(cli()).arg("recover").args(words).output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let (status, told) = of(&["--wait", "/no/such/folder"]);
    assert!(status == Some(2) && told.contains("takes pids and folders"), "{told}");
    let (status, told) = of(&["--verdict", "/tmp/x"]);
    assert!(status == Some(2) && told.contains("--wait"), "{told}");
}
