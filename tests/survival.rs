//! The live profile outlives its process: killed at any instant, stopped, hung, restarted with the same pid's
//! files in the same folder; and it is read and controlled from outside without the process's help.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;
use support::churn::{CONF, Churn, LEAK_BYTES, assert_near, files, wait_for};
use support::{Folder, HOWEVER_SHORT, cli, needs};

#[test]
fn killed_at_any_instant_everything_is_there() {
    let kills = if std::env::var_os("HEAPTAP_FULL").is_some() { 200 } else { 25 };
    for kill in 0..kills {
        // Dumps all the time, so that some kills fall into the middle of one.
        let conf = format!("{CONF},lg_prof_interval:22,{HOWEVER_SHORT}");
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

#[test]
fn a_running_and_a_stopped_process_are_read_from_outside() {
    let churn = Churn::start(CONF);
    wait_for("leaks", || churn.leaked() > 20_000);
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
    let conf = format!("{CONF},{HOWEVER_SHORT}");
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
    let is_its = |line: &str| line.split_whitespace().next() == Some(&pid);
    wait_for("the end of the region", || !second.ask(&["ps"]).lines().any(is_its));
}

#[test]
fn a_running_process_is_controlled_from_outside() {
    let churn = Churn::start(&format!("{CONF},{HOWEVER_SHORT}"));
    let control = || Command::new(cli()).args(["dump", &churn.pid()]).output().unwrap();
    wait_for("the control file", || control().status.success());
    let dump = churn.ask(&["dump", &churn.pid()]);
    let text = fs::read_to_string(dump.trim()).unwrap();
    assert!(dump.trim().ends_with(".heap") && text.contains("# reason: request\n"), "{dump}");
    churn.ask(&["rate", "20", &churn.pid()]);
    let slower = fs::read_to_string(churn.ask(&["dump", &churn.pid()]).trim()).unwrap();
    assert!(slower.starts_with("heap_v2/1048576\n"), "{}", slower.lines().next().unwrap());
    churn.ask(&["stop", &churn.pid()]);
    // A thread may be in the middle of its last one.
    thread::sleep(Duration::from_secs(1));
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
    let conf = format!("{CONF},{HOWEVER_SHORT},prof_dump_seconds:1");
    let churn = Churn::start(&conf);
    wait_for("two dumps by time", || files(churn.folder.path(), ".heap").len() >= 2);
    let first = fs::read_to_string(&files(churn.folder.path(), ".heap")[0]).unwrap();
    assert!(first.contains("# reason: seconds\n"));
    let conf = format!("{CONF},{HOWEVER_SHORT},prof_dump_growth:20000000");
    let churn = Churn::start(&conf);
    wait_for("a dump by growth", || !files(churn.folder.path(), ".heap").is_empty());
    let first = fs::read_to_string(&files(churn.folder.path(), ".heap")[0]).unwrap();
    assert!(first.contains("# reason: growth\n"));
}

/// Kills the program the moment a file with such an end appears; `None` if it was gone too soon, every time.
fn killed_while_writing(end: &str, conf: &str) -> Option<Churn> {
    for _ in 0..60 {
        let mut churn = Churn::start(conf);
        // Much to write: a sample for nearly each block.
        wait_for("many samples", || churn.leaked() > 60_000);
        wait_for("the file being written", || {
            let deadline = std::time::Instant::now() + Duration::from_millis(500);
            while std::time::Instant::now() < deadline {
                if !files(churn.folder.path(), end).is_empty() {
                    return true;
                }
                thread::sleep(Duration::from_micros(200));
            }
            false
        });
        churn.kill();
        if !files(churn.folder.path(), end).is_empty() {
            return Some(churn);
        }
    }
    None
}

/// What was being written is no dump and no mirror, the region is whole, and the next start clears up.
fn assert_recovers(mut churn: Churn, end: &str) {
    let truth = churn.leaked() as f64 * LEAK_BYTES;
    assert_near(churn.leaked_bytes(&churn.pid()), truth, truth, end);
    let pid = churn.pid();
    let folder = std::mem::replace(&mut churn.folder, Folder::new("survival"));
    let mut next = Churn::start_in(folder, &format!("{CONF},{HOWEVER_SHORT}"));
    let is_adopted = |path: &PathBuf| path.to_string_lossy().contains(&pid);
    wait_for("adoption", || files(next.folder.path(), ".f.heap").iter().any(is_adopted));
    wait_for("the rest being cleared away", || files(next.folder.path(), end).is_empty());
    next.kill();
}

#[test]
fn killed_in_the_middle_of_a_dump() {
    let conf = format!("prof:true,lg_prof_sample:10,prof_final:true,{HOWEVER_SHORT},lg_prof_interval:24");
    match killed_while_writing(".tmp", &format!("{conf},prof_mirror_seconds:0")) {
        Some(churn) => assert_recovers(churn, ".tmp"),
        None => panic!("no dump was caught being written"),
    }
}

#[test]
fn killed_in_the_middle_of_a_mirror() {
    let conf = format!("prof:true,lg_prof_sample:10,prof_final:true,{HOWEVER_SHORT},prof_mirror_seconds:1");
    match killed_while_writing(".live.tmp", &conf) {
        Some(churn) => assert_recovers(churn, ".live.tmp"),
        None => panic!("no mirror was caught being written"),
    }
}

#[test]
fn killed_while_the_region_grows() {
    // From the first sample on, before there is a note: the region gets its memory in these milliseconds.
    let kills = if std::env::var_os("HEAPTAP_FULL").is_some() { 50 } else { 8 };
    for kill in 0..kills {
        let mut churn = Churn::start("prof:true,lg_prof_sample:8,prof_final:true");
        // Once a thread has leaked so many there is a region; and it is given memory with every few hundred more.
        while churn.leaked() < 50 + kill * 977 % 20_000 {
            thread::sleep(Duration::from_micros(100));
        }
        churn.kill();
        let truth = churn.leaked() as f64 * LEAK_BYTES;
        let dump = fs::read_to_string(churn.ask(&["recover", &churn.pid()]).trim()).unwrap();
        let bytes: f64 = dump.lines().find_map(|line| line.strip_prefix("# live_bytes: ")).unwrap().parse().unwrap();
        // All that is live: what was leaked, and what the threads hold besides.
        assert_near(bytes.max(truth), truth, truth + 4.0 * 2000.0 * 2048.0, "while it grew");
        assert!(dump.contains("MAPPED_LIBRARIES:") && dump.starts_with("heap_v2/256\n"));
    }
}

/// A memory control group with a limit, version 1 or 2; removed with its value.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    fn new(bytes: u64) -> Option<MemoryGroup> {
        let name = format!("heaptap-test-{}-{}", std::process::id(), bytes >> 20);
        for (root, limit) in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")] {
            let path = Path::new(root).join(&name);
            if fs::create_dir(&path).is_err() {
                continue;
            }
            let group = MemoryGroup(path);
            if fs::write(group.0.join(limit), bytes.to_string()).is_ok() {
                return Some(group);
            }
        }
        None
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn killed_by_the_kernel_for_want_of_memory() {
    let Some(group) = MemoryGroup::new(96 << 20) else {
        eprintln!("skipped: no memory control group can be made here");
        return;
    };
    let enter = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", group.0.display());
    let conf = format!("{CONF},{HOWEVER_SHORT}");
    let mut churn = Churn::launch(Folder::new("memcg"), &["sh", "-c", &enter, "sh"], &conf);
    let status = churn.wait();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "the kernel killed it");
    let truth = churn.leaked() as f64 * LEAK_BYTES;
    assert!(truth > 20e6, "{truth}");
    assert!(churn.ask(&["ps"]).lines().any(|line| line.contains(&churn.pid()) && line.contains("killed")));
    let dump = churn.ask(&["recover", &churn.pid()]);
    assert_near(churn.leaked_bytes(dump.trim()), truth, truth, "after the OOM killer");
}

#[test]
fn memory_at_a_mark_makes_a_dump() {
    let dump = |churn: &Churn| {
        wait_for("a dump", || !files(churn.folder.path(), ".heap").is_empty());
        fs::read_to_string(&files(churn.folder.path(), ".heap")[0]).unwrap()
    };
    let churn = Churn::start(&format!("{CONF},{HOWEVER_SHORT},prof_dump_rss:60000000"));
    let text = dump(&churn);
    let resident: u64 = text.lines().find_map(|line| line.strip_prefix("# rss_bytes: ")).unwrap().parse().unwrap();
    assert!(text.contains("# reason: watermark\n") && resident >= 60_000_000, "{resident}");
    let Some(group) = MemoryGroup::new(1 << 30) else {
        eprintln!("skipped: no memory control group can be made here");
        return;
    };
    let enter = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", group.0.display());
    let conf = format!("{CONF},{HOWEVER_SHORT},prof_dump_watermark:10");
    let mut churn = Churn::launch(Folder::new("watermark"), &["sh", "-c", &enter, "sh"], &conf);
    assert!(dump(&churn).contains("# reason: watermark\n"));
    churn.kill();
}

#[test]
fn a_restarted_container_with_the_same_pid_destroys_nothing() {
    let isolated = ["unshare", "--pid", "--fork", "--kill-child"];
    let probe = Command::new("unshare").args(&isolated[1..]).arg("true").output();
    if !needs("unshare") || !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no pid namespaces here");
        return;
    }
    let conf = format!("{CONF},{HOWEVER_SHORT},prof_mirror_seconds:1");
    let mut folder = Folder::new("container");
    let mut seen: Vec<(PathBuf, String)> = Vec::new();
    let (mut leaked, mut last_mirror) = (0, Vec::new());
    for life in 0..4 {
        let mut churn = Churn::launch(folder, &isolated, &conf);
        churn.wait_for_note();
        // The dead one before: by its region, or by its mirror where that is gone.
        wait_for("adoption", || files(churn.folder.path(), ".f.heap").len() >= life);
        let mut dumps = files(churn.folder.path(), ".f.heap");
        dumps.sort();
        assert_eq!(dumps.len(), life);
        for (path, text) in &seen {
            assert_eq!(&fs::read_to_string(path).unwrap(), text, "{}", path.display());
        }
        if let Some(new) = dumps.iter().find(|path| !seen.iter().any(|(known, _)| known == *path)) {
            let source = if life % 2 == 1 { "# source: region\n" } else { "# source: mirror\n" };
            let text = fs::read_to_string(new).unwrap();
            assert!(text.contains(source) && text.contains("# reason: killed\n"), "life {life}: {source}");
            assert!(churn.leaked_bytes(new.to_str().unwrap()) > 0.0);
        }
        seen = dumps.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect();
        wait_for("leaks, and a mirror of its own that has some", || {
            let mirrors = files(churn.folder.path(), ".live");
            let is_own = churn.leaked() > leaked + 1000 && mirrors.len() == 1 && mirrors != last_mirror;
            is_own && churn.leaked_bytes(mirrors[0].to_str().unwrap()) > 0.0
        });
        last_mirror = files(churn.folder.path(), ".live");
        leaked = churn.leaked();
        churn.kill();
        if life % 2 == 1 {
            // The container's tmpfs goes with it.
            let token = files(churn.folder.path(), ".live")[0].to_str().unwrap().rsplit('.').nth(1).unwrap().to_owned();
            let regions = files(Path::new("/dev/shm"), "").into_iter().flat_map(|user| files(&user, ".region"));
            let own: Vec<_> = regions.filter(|path| path.to_string_lossy().contains(&token)).collect();
            assert_eq!(own.len(), 1);
            fs::remove_file(&own[0]).unwrap();
        }
        folder = std::mem::replace(&mut churn.folder, Folder::new("container"));
    }
    // Its region is gone, and the lock on its mirror goes later than the pipe by which its end was seen.
    wait_for("the last life's dump", || {
        let tidy = Command::new(cli()).args(["recover", folder.path().to_str().unwrap()]).output().unwrap();
        assert!(tidy.status.success(), "{}", String::from_utf8_lossy(&tidy.stderr));
        files(folder.path(), ".f.heap").len() == 4
    });
    assert!(files(folder.path(), ".live").is_empty());
}
