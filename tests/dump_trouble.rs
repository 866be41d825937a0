//! Where dumps cannot go, or would do damage: full, read-only, missing and removed folders, names that are taken,
//! processes that share a pid. The program lives, at most one line says what is wrong, no file is cut off or
//! overwritten.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::{Dump, Folder, HOWEVER_SHORT, HeapV2, cli, collect_dumps, library, needs};

/// A folder with the program in it.
struct Scene {
    folder: Folder,
    program: PathBuf,
}

impl Scene {
    fn new(purpose: &str) -> Scene {
        let folder = Folder::new(purpose);
        let program = folder.path().join("leaker");
        let source = format!("{}/tests/host/leaker.c", env!("CARGO_MANIFEST_DIR"));
        let status = Command::new("gcc").args(["-O1", "-fno-builtin", "-w", "-o"]).arg(&program).arg(source).status();
        assert!(status.expect("gcc starts").success());
        Scene { folder, program }
    }

    /// The shell with the tap's variables ready in `$TAP`, and the program in `$PROGRAM`.
    fn shell(&self, script: &str, options: &str) -> Output {
        let conf = format!("prof:true,lg_prof_sample:0,prof_final:true,{HOWEVER_SHORT}{options}");
        let tap = format!("LD_PRELOAD={} MALLOC_CONF={conf}", library().display());
        Command::new("sh")
            .args(["-c", &script.replace("$TAP", &format!("env {tap}"))])
            .current_dir(self.folder.path())
            .env("PROGRAM", &self.program)
            .env_remove("LD_PRELOAD")
            .env_remove("TMPDIR")
            .output()
            .expect("sh starts")
    }

    /// What a process could not write it left in memory, which must not outlive the test.
    fn forget(&self, output: &Output) {
        let pid = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        heaptap(&["recover", &pid, "-o", self.folder.path().to_str().unwrap()]);
    }

    /// The program's dumps in a folder below.
    fn dumps(&self, below: &str) -> Vec<Dump> {
        let all = collect_dumps(&self.folder.path().join(below));
        all.into_iter().filter(|dump| is_whole(&dump.path).metadata["exe"].ends_with("leaker")).collect()
    }
}

fn is_whole(path: &Path) -> HeapV2 {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    HeapV2::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn lines(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().filter(|line| !line.starts_with("heaptap: profiling ")).map(str::to_owned).collect()
}

#[test]
fn a_missing_folder_falls_back_to_the_next_and_says_so_once() {
    let scene = Scene::new("missing");
    fs::create_dir(scene.folder.path().join("second")).unwrap();
    let script = "HEAPTAP_DIR=second $TAP,prof_prefix:no/such/place,lg_prof_interval:16 $PROGRAM 2000";
    let output = scene.shell(script, "");
    assert!(output.status.success());
    let told = lines(&output);
    let of_place = |line: &&String| line.contains("the directory of prof_prefix cannot be written; dumps go to ");
    assert!(told.len() == 1 && told.iter().all(|line| of_place(&line)), "{told:?}");
    assert!(told.iter().any(|line| line.contains("/second/place.")), "{told:?}");
    assert!(!scene.dumps("second").is_empty());
}

#[test]
fn where_nothing_can_be_written_one_line_says_so() {
    let scene = Scene::new("nowhere");
    let output = scene.shell("$TAP,prof_prefix:/proc/nowhere,lg_prof_interval:16 $PROGRAM 2000", "");
    assert!(output.status.success());
    let told = lines(&output);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told.iter().all(|line| line.starts_with("heaptap: cannot write /proc/nowhere.")), "{told:?}");
    scene.forget(&output);
}

#[test]
fn a_removed_working_folder_is_no_harm() {
    let scene = Scene::new("removed");
    let output = scene.shell("mkdir gone && cd gone && rmdir ../gone && TMPDIR=.. $TAP $PROGRAM 100", "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(lines(&output).len() <= 1, "{:?}", lines(&output));
}

#[test]
fn a_full_disk_leaves_no_part_of_a_dump() {
    // A dump that begins and finds no room: perl has more stacks than a page holds. Then one that is not begun.
    for filled in [0, 4096] {
        let scene = Scene::new("full");
        let small = scene.folder.subfolder("small");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4k", "none"]).arg(&small).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: nothing can be mounted here (the hazard `fsize` stands for it)");
            return;
        }
        let filler = fs::write(small.join("filler"), vec![b'x'; filled]);
        let output = scene.shell("exec $TAP,prof_prefix:small/x perl -e 'print \"$$\\n\"'", "");
        let left: Vec<_> = fs::read_dir(&small).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let unmounted = Command::new("umount").arg(&small).status();
        assert!(unmounted.is_ok_and(|status| status.success()) && filler.is_ok() && output.status.success());
        assert_eq!(left, ["filler"]);
        let told = lines(&output);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told.iter().all(|line| line.contains("space left on")), "{told:?}");
        scene.forget(&output);
    }
}

#[test]
fn names_that_are_taken_are_left_alone() {
    let scene = Scene::new("taken");
    let victim = scene.folder.write("victim", "precious");
    fs::create_dir(scene.folder.path().join("dumps")).unwrap();
    symlink(&victim, scene.folder.path().join("link")).unwrap();
    // The shell knows the pid that the program will have, and puts a link, a file and a folder in the way.
    let script = "cd dumps; ln -s ../victim x.$$.0.f.heap; echo mine > x.$$.1.f.heap; mkdir x.$$.2.f.heap
        ln -s ../victim x.$$.0.f.heap.tmp; exec $TAP,prof_prefix:x $PROGRAM 100";
    let output = scene.shell(script, "");
    assert!(output.status.success(), "{:?}", lines(&output));
    let pid = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let dumps = scene.folder.path().join("dumps");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(fs::read_to_string(dumps.join(format!("x.{pid}.1.f.heap"))).unwrap(), "mine\n");
    let heap = is_whole(&dumps.join(format!("x.{pid}.3.f.heap")));
    assert!(heap.metadata["exe"].ends_with("leaker"));
}

#[test]
fn two_processes_with_one_pid_on_one_volume_keep_their_files() {
    let scene = Scene::new("pid-one");
    fs::create_dir(scene.folder.path().join("dumps")).unwrap();
    let probe = scene.shell("unshare --pid --fork true", "");
    if !needs("unshare") || !probe.status.success() {
        eprintln!("skipped: no pid namespaces here");
        return;
    }
    let mut seen = Vec::new();
    for count in [100, 200, 300] {
        let output = scene.shell(&format!("unshare --pid --fork $TAP,prof_prefix:dumps/x $PROGRAM {count}"), "");
        assert!(output.status.success(), "{:?}", lines(&output));
        assert_eq!(output.stdout, b"1\n");
        let dumps = scene.dumps("dumps");
        assert_eq!(dumps.len(), seen.len() + 1);
        for (path, text) in &seen {
            assert_eq!(&fs::read_to_string(path).unwrap(), text);
        }
        seen = dumps.iter().map(|dump| (dump.path.clone(), dump.text())).collect();
    }
    let tokens: BTreeSet<String> = seen.iter().map(|(path, _)| is_whole(path).metadata["token"].clone()).collect();
    assert_eq!(tokens.len(), 3, "each life has a token of its own");
}

#[test]
fn short_processes_leave_nothing_by_default() {
    let scene = Scene::new("short");
    let tap = format!("LD_PRELOAD={}", library().display());
    let conf = "MALLOC_CONF=prof:true,lg_prof_interval:30,lg_prof_sample:17,prof_final:true";
    let many = if std::env::var_os("HEAPTAP_FULL").is_some() { 10_000 } else { 200 };
    let script = format!(
        "export {tap} {conf}; for n in $(seq {many}); do /bin/true; done; for n in $(seq 20); do $PROGRAM 10; done"
    );
    let output = scene.shell(&script, "");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let left: Vec<_> = fs::read_dir(scene.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["leaker"]);
}

/// The wall clock is a label: dumps of a machine whose clock is set to and fro are whole, in order, and none is lost.
#[test]
fn a_clock_that_jumps_is_no_harm() {
    let scene = Scene::new("clock");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host/clock.c");
    let jump = scene.folder.path().join("jump.so");
    let built = Command::new("gcc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&jump).arg(&source).status();
    assert!(built.unwrap().success());
    let script = format!(
        "export LD_PRELOAD={}:{}; export MALLOC_CONF=prof:true,lg_prof_sample:0,lg_prof_interval:14,prof_final:true,\
         {HOWEVER_SHORT},prof_prefix:x; exec $PROGRAM 9000 60 'x.*.9.i*.heap'",
        library().display(),
        jump.display()
    );
    // Which way the clock stands is up to how often all threads have asked for it: ten dumps can have it one way.
    let years = (0..4).map(|_| {
        let output = scene.shell(&script, "");
        assert!(output.status.success() && lines(&output).is_empty(), "{:?}", lines(&output));
        let dumps = scene.dumps(".");
        assert!(dumps.len() >= 2, "{dumps:?}");
        let year = |dump: &Dump| is_whole(&dump.path).metadata["time"][..4].parse().unwrap();
        dumps.iter().map(year).collect::<BTreeSet<u32>>()
    });
    assert!(years.into_iter().any(|years| years.len() > 1), "the clock did not jump");
    let report = heaptap(&["report", scene.folder.path().to_str().unwrap()]);
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
}

#[test]
fn the_leak_summary_is_jemallocs() {
    let scene = Scene::new("leak");
    let output = scene.shell("$TAP,prof_prefix:x,prof_leak:true $PROGRAM 77", "");
    let told = lines(&output);
    let expected = [
        "<jemalloc>: Leak approximation summary: ~78848 bytes, ~77 objects, >= 1 context",
        "<jemalloc>: Run jeprof on dump output for leak detail",
    ];
    assert!(told.ends_with(&expected.map(str::to_owned)), "{told:?}");
    assert!(output.status.success());
    let output = scene.shell("$TAP,prof_prefix:x,prof_leak_error:true $PROGRAM 1", "");
    let told = lines(&output);
    assert_eq!(output.status.code(), Some(1), "{told:?}");
    let last = "<jemalloc>: Exiting with error code because memory leaks were detected";
    assert_eq!(told.last().map(String::as_str), Some(last));
    assert!(told.iter().any(|line| line.ends_with("~1024 bytes, ~1 object, >= 1 context")), "{told:?}");
}

#[test]
fn names_hold_the_pid_namespace_where_that_is_wanted() {
    let scene = Scene::new("namespace");
    let output =
        scene.shell("$TAP,prof_prefix:x,prof_pid_namespace:true $PROGRAM 10; stat -Lc %i /proc/self/ns/pid", "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    let [pid, inode] = words[..] else { panic!("{text:?}") };
    assert!(scene.folder.path().join(format!("x.{inode}.{pid}.0.f.heap")).is_file(), "{:?}", lines(&output));
}

#[test]
fn mistakes_in_options_get_one_line_each_and_change_nothing() {
    let scene = Scene::new("mistakes");
    let script = "$TAP,prof_prefix:x,lg_prof_sample:many,prof_log:true,prof_accum:yes $PROGRAM 10";
    let output = scene.shell(script, "");
    assert!(output.status.success());
    let told = lines(&output);
    for part in ["lg_prof_sample:many (allowed: ", "prof_log", "prof_accum:yes (allowed: true or false"] {
        let count = told.iter().filter(|line| line.starts_with("heaptap: ") && line.contains(part)).count();
        assert_eq!(count, 1, "{part}: {told:?}");
    }
    assert_eq!(scene.dumps(".").len(), 1);
}

/// Asks the CLI.
fn heaptap(arguments: &[&str]) -> Output {
    Command::new(cli()).args(arguments).current_dir("/").output().unwrap()
}

#[test]
fn a_final_dump_that_cannot_be_written_leaves_the_profile_in_memory() {
    let scene = Scene::new("unwritten");
    let output = scene.shell("$TAP,prof_prefix:/proc/nowhere/x $PROGRAM 2000", "");
    assert!(output.status.success());
    assert!(lines(&output).iter().all(|line| line.starts_with("heaptap: cannot write /proc/nowhere/x.")));
    let pid = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let listed = String::from_utf8(heaptap(&["ps", "--all"]).stdout).unwrap();
    assert!(listed.lines().any(|line| line.contains(&pid) && line.contains("ended")), "{listed}");
    let refused = heaptap(&["recover", &pid]);
    assert_eq!(refused.status.code(), Some(2), "it goes where it cannot be written");
    let folder = scene.folder.subfolder("elsewhere");
    let recovered = heaptap(&["recover", &pid, "-o", folder.to_str().unwrap()]);
    let path = String::from_utf8(recovered.stdout).unwrap();
    assert!(recovered.status.success(), "{}", String::from_utf8_lossy(&recovered.stderr));
    let heap = is_whole(Path::new(path.trim()));
    assert_eq!((heap.metadata["reason"].as_str(), heap.metadata["source"].as_str()), ("ended", "region"));
    assert!(heap.metadata["live_bytes"].parse::<u64>().unwrap() >= 2000 * 1024);
    assert_eq!(heaptap(&["recover", &pid]).status.code(), Some(2), "it is recovered once");
}

#[test]
fn the_next_process_writes_the_dump_that_could_not_be_written() {
    let scene = Scene::new("later");
    let place = scene.folder.path().join("later");
    let tap = format!("$TAP,prof_prefix:{}/x", place.display());
    let output = scene.shell(&format!("{tap} $PROGRAM 2000"), "");
    let pid = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    fs::create_dir(&place).unwrap();
    // Until its keeper has written it, behind all that is its own.
    let output = scene.shell(&format!("{tap},lg_prof_interval:12 $PROGRAM 3000 100 'later/x.{pid}.*.f.heap'"), "");
    assert!(output.status.success(), "{:?}", lines(&output));
    let adopted = scene.dumps("later").into_iter().find(|dump| dump.pid.to_string() == pid);
    let heap = is_whole(&adopted.expect("the first one's dump").path);
    assert_eq!(heap.metadata["reason"], "ended");
}

#[test]
fn a_clean_end_leaves_the_dump_alone() {
    let scene = Scene::new("clean");
    let tap = "$TAP,prof_prefix:x,prof_mirror_seconds:1,lg_prof_interval:14";
    let output = scene.shell(&format!("{tap} $PROGRAM 3000 2; ls"), "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains(".f.heap"), "{text}");
    assert!(!text.contains(".live") && !text.contains(".tmp"), "{text}");
    let pid = text.lines().next().unwrap();
    assert_eq!(heaptap(&["recover", pid]).status.code(), Some(2), "there is nothing to recover");
}

#[test]
fn number_and_bytes_of_dumps_are_bounded() {
    let scene = Scene::new("bounds");
    let tap = "$TAP,prof_prefix:x,lg_prof_interval:14";
    let program = "$PROGRAM 18000 120 'x.*.13.i*.heap'";
    let all = scene.shell(&format!("mkdir all few small; cd all; {tap} {program}"), "");
    let few = scene.shell(&format!("cd few; {tap},prof_max_dumps:5 {program}"), "");
    let small = scene.shell(&format!("cd small; {tap},prof_max_dump_bytes:20000 {program}"), "");
    for output in [&all, &few, &small] {
        assert!(output.status.success(), "{:?}", lines(output));
    }
    let all = scene.dumps("all");
    assert!(all.len() > 12, "{}", all.len());
    // The final one is written by the exiting thread and comes on top.
    let few = scene.dumps("few");
    assert_eq!(few.len(), 6);
    assert!(few[0].seq == 0 && few[4].seq > 7 && few[5].is_final(), "{few:?}");
    let small = scene.dumps("small");
    let bytes: u64 = small.iter().map(|dump| fs::metadata(&dump.path).unwrap().len()).sum();
    assert!(small.len() >= 3 && bytes < 40_000, "{bytes}");
}

#[test]
fn space_is_left_on_the_disk() {
    let scene = Scene::new("floor");
    let output = scene.shell("$TAP,prof_prefix:x,prof_min_free_bytes:9000000000000000000 $PROGRAM 100", "");
    // A twentieth of a real disk is not free on a full one, and cannot be asked for on any.
    if scene.dumps(".").is_empty() {
        let told = lines(&output);
        assert!(told.iter().all(|line| line.contains("too little space left on the device")), "{told:?}");
        scene.forget(&output);
    }
    let small = scene.folder.subfolder("small");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(&small).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: nothing can be mounted here");
        return;
    }
    // 120 KiB are free: less than a twentieth.
    let filler = "head -c 4070000 /dev/zero > small/filler";
    let output = scene.shell(&format!("{filler}; $TAP,prof_prefix:small/x $PROGRAM 100; rm small/filler"), "");
    let left: Vec<_> = fs::read_dir(&small).unwrap().collect();
    let pid = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let recovered = heaptap(&["recover", &pid, "-o", scene.folder.path().to_str().unwrap()]);
    let unmounted = Command::new("umount").arg(&small).status();
    assert!(unmounted.is_ok_and(|status| status.success()) && left.is_empty(), "{left:?}");
    let told = lines(&output);
    assert!(told.len() == 1 && told[0].contains("too little space left on the device"), "{told:?}");
    assert!(recovered.status.success(), "{}", String::from_utf8_lossy(&recovered.stderr));
}

#[test]
fn a_signal_and_a_trim_make_dumps_where_they_are_asked_for() {
    let scene = Scene::new("asked");
    let source = scene.folder.write(
        "asks.c",
        "#include <glob.h>\n#include <malloc.h>\n#include <signal.h>\n#include <stdlib.h>\n#include <unistd.h>\n\
         static void *volatile kept;\n\
         int main(int n, char **a) { int most = atoi(a[2]); for (int i = 0; i < most; i++) { glob_t found; \
         kept = malloc(5000); usleep(100000); \
         if (i == 15 && a[1][0] == 's') raise(SIGUSR1); if (i == 15 && a[1][0] == 't') malloc_trim(0); \
         if (i > 15 && !glob(\"x.*.heap\", 0, NULL, &found)) break; } }\n",
    );
    let program = scene.folder.path().join("asks");
    assert!(Command::new("gcc").args(["-o"]).args([&program, &source]).status().unwrap().success());
    // Where a dump is to come it waits for that; where none is, a second and a half.
    let reasons = |conf: &str, argument: &str| -> Vec<String> {
        let tenths = if conf.is_empty() { 30 } else { 1000 };
        let folder = scene.folder.subfolder(&format!("{argument}{}", conf.len()));
        let output =
            scene.shell(&format!("cd {}; $TAP,prof_prefix:x{conf} ../asks {argument} {tenths}", folder.display()), "");
        assert!(output.status.success() || conf.is_empty(), "{output:?}");
        collect_dumps(&folder).iter().map(|dump| is_whole(&dump.path).metadata["reason"].clone()).collect()
    };
    assert_eq!(reasons(",prof_dump_signal:10", "s"), ["signal", "final"]);
    assert_eq!(reasons("", "s"), [""; 0], "without the option the signal does what it always did");
    assert_eq!(reasons(",prof_dump_trim:true", "t"), ["trim", "final"]);
    assert_eq!(reasons("", "t"), ["final"]);
}

#[test]
fn an_exec_leaves_no_memory_behind() {
    let scene = Scene::new("exec");
    let output = scene.shell("$TAP,prof_prefix:x sh -c 'exec $PROGRAM 2000 2'", "");
    assert!(output.status.success(), "{:?}", lines(&output));
    let pid = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(scene.dumps(".").iter().any(|dump| dump.is_final() && dump.pid.to_string() == pid));
    let listed = String::from_utf8(heaptap(&["ps", "--all"]).stdout).unwrap();
    assert!(!listed.lines().any(|line| line.split_whitespace().next() == Some(&pid)), "{listed}");
}
