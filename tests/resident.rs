//! Every resident MiB has its class: of a Java VM against its own native memory tracking, over time and after death,
//! with a second allocator in the process.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::churn::wait_for;
use support::java::{Jvm, compile_class, jvms};
use support::{Folder, HOWEVER_SHORT, Schema, cli, library, needs, skip, under_tap};

const PAGE: u64 = 4096;

/// A process that is killed when the test is over.
struct Running(Child);

impl Running {
    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn heaptap(arguments: &[&str]) -> String {
    let output = Command::new(cli()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn rss(input: &str) -> serde_json::Value {
    let answer = serde_json::from_str(&heaptap(&["rss", "--json", input])).unwrap();
    Schema::read().check("Resident", &answer);
    answer
}

/// Bytes of a class.
fn class(account: &serde_json::Value, name: &str) -> u64 {
    let classes = account["classes"].as_array().unwrap().iter();
    classes.filter(|class| class["class"] == name).map(|class| class["bytes"].as_u64().unwrap()).sum()
}

/// `[0x00007f8217000000 - 0x00007f821b000000] reserved 65536KB for Metaspace from`: ranges by what they are for.
fn regions(tracked: &str) -> BTreeMap<String, Vec<(u64, u64)>> {
    let mut regions: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    // What ZGC calls allocated are offsets in its heap, not addresses: other memory may lie at those.
    let is_memory = |line: &&str| line.starts_with("[0x") && !line.contains("] allocated ");
    for line in tracked.lines().filter(is_memory) {
        let Some((range, rest)) = line[1..].split_once(']') else { continue };
        let Some((_, tag)) = rest.split_once(" for ") else { continue };
        let mut ends = range.split(" - ").map(|end| u64::from_str_radix(end.trim_start_matches("0x"), 16).unwrap());
        let tag = tag.trim_end().trim_end_matches(" from").to_owned();
        regions.entry(tag).or_default().push((ends.next().unwrap(), ends.next().unwrap()));
    }
    regions
}

/// Bytes of these ranges that are resident: mappings inside of them as the kernel counts them, others page by page. (Of
/// the latter a page that was only read, and is the kernel's page of zeros, counts, too.)
fn resident(pid: u32, ranges: &[(u64, u64)]) -> u64 {
    let pages = File::open(format!("/proc/{pid}/pagemap")).unwrap();
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let (mut sum, mut at) = (0, (0, 0));
    for line in smaps.lines() {
        if let Some(rss) = line.strip_prefix("Rss:") {
            let rss: u64 = rss.trim().trim_end_matches(" kB").parse().unwrap();
            let (start, end) = at;
            for &(from, to) in ranges {
                if from <= start && end <= to {
                    sum += rss * 1024;
                } else if from.max(start) < to.min(end) {
                    sum += present(&pages, from.max(start), to.min(end));
                }
            }
        } else if let Some((start, end)) = line.split(' ').next().and_then(|range| range.split_once('-')) {
            let number = |digits| u64::from_str_radix(digits, 16).unwrap_or(0);
            at = (number(start), number(end));
        }
    }
    sum
}

fn present(pages: &File, from: u64, to: u64) -> u64 {
    let mut words = vec![0; ((to - from) / PAGE * 8) as usize];
    pages.read_exact_at(&mut words, from / PAGE * 8).unwrap();
    words.chunks(8).filter(|word| word[7] & 0x80 != 0).count() as u64 * PAGE
}

/// A machine under the tap, and what its native memory tracking says.
fn start(jvm: &Jvm, options: &[&str], classes: &Folder) -> (Running, String) {
    let mut command = jvm.command();
    command.arg("-XX:NativeMemoryTracking=detail").args(options);
    under_tap(&mut command, &format!("prof:true,lg_prof_sample:17,{HOWEVER_SHORT}"), classes.path());
    filled(command, classes)
}

/// A machine that has filled its memory, and what its native memory tracking says.
fn filled(mut command: Command, classes: &Folder) -> (Running, String) {
    command.arg("-cp").arg(classes.path()).arg("Resident");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // The first answer loads what makes the second.
    let _ = lines.by_ref().find(|line| line == "END");
    let tracked: Vec<String> = lines.by_ref().take_while(|line| line != "END").collect();
    (Running(child), tracked.join("\n"))
}

/// What our classes differ in from what the machine says; nothing: they are right.
fn differences(pid: u32, tracked: &BTreeMap<String, Vec<(u64, u64)>>) -> Vec<String> {
    let ours = rss(&pid.to_string());
    let of = |tags: &[&str]| {
        let ranges: Vec<(u64, u64)> = tags.iter().filter_map(|tag| tracked.get(*tag)).flatten().copied().collect();
        resident(pid, &ranges)
    };
    let mut wanted = vec![
        ("java_heap", of(&["Java Heap"])),
        ("metaspace", of(&["Metaspace", "Class"])),
        ("code_cache", of(&["Code"])),
        ("gc_structures", of(&["GC"])),
        ("thread_stacks", of(&["Thread Stack"])),
    ];
    // ZGC's heap is a file, which native memory tracking knows by its offsets in some releases.
    wanted.retain(|(_, bytes)| *bytes > 0);
    let differs = |(name, theirs): &(&str, u64)| {
        let ours = class(&ours, name);
        ours.abs_diff(*theirs) as f64 > 0.05 * *theirs as f64 + 192e3
    };
    wanted.retain(differs);
    wanted.iter().map(|(name, theirs)| format!("{name}: {} here, {theirs} there", class(&ours, name))).collect()
}

fn agrees(jvm: &Jvm, options: &[&str], classes: &Folder) {
    if !jvm.accepts(options) {
        return skip(&format!("{} does not know {options:?}", jvm.home.display()));
    }
    let (mut running, tracked) = start(jvm, options, classes);
    let tracked = regions(&tracked);
    assert!(tracked.contains_key("Code"), "{}: {options:?}: no native memory tracking", jvm.home.display());
    let began = Instant::now();
    // The keeper's next look may be a second away; a busy machine moves pages meanwhile.
    let differ = loop {
        let differ = differences(running.pid(), &tracked);
        if differ.is_empty() || began.elapsed() > Duration::from_secs(60) {
            break differ;
        }
        std::thread::sleep(Duration::from_millis(300));
    };
    assert!(differ.is_empty(), "{} {options:?}: {differ:?}", jvm.home.display());
    running.kill();
}

/// Every release with the collectors and sizes that hide the heap from guesses.
#[test]
fn a_machines_memory_is_what_it_says_itself() {
    let classes = Folder::new("resident-java");
    if !compile_class("Resident", &classes) {
        return;
    }
    let ways: [&[&str]; 5] = [
        &["-Xmx200m", "-Xms32m", "-XX:+UseParallelGC"],
        &["-Xmx160m", "-XX:+UseSerialGC"],
        &["-Xmx31g", "-Xms64m", "-XX:+UseG1GC", "-XX:+PerfDisableSharedMem"],
        &["-Xmx1g", "-Xms64m", "-XX:+UseG1GC"],
        &["-Xmx256m", "-XX:+UseZGC"],
    ];
    for (n, jvm) in jvms().iter().filter(|jvm| jvm.release >= 8).enumerate() {
        agrees(jvm, ways[n % ways.len()], &classes);
        agrees(jvm, ways[(n + 2) % 4], &classes);
    }
}

/// All of them on all machines: `cargo test --release --test resident -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn all_collectors_say_what_is_found() {
    let classes = Folder::new("resident-java-all");
    if !compile_class("Resident", &classes) {
        return;
    }
    let collectors = ["-XX:+UseG1GC", "-XX:+UseParallelGC", "-XX:+UseSerialGC", "-XX:+UseZGC", "-XX:+UseShenandoahGC"];
    let sizes: [&[&str]; 4] =
        [&["-Xmx256m"], &["-Xmx1g", "-Xms64m"], &["-Xmx31g", "-Xms64m"], &["-Xmx2g", "-XX:-UseCompressedOops"]];
    for jvm in jvms().iter().filter(|jvm| jvm.release >= 8) {
        for collector in collectors {
            for size in sizes {
                agrees(jvm, &[&[collector, "-XX:+UnlockExperimentalVMOptions"], size].concat(), &classes);
            }
        }
    }
}

/// The program of `tests/programs/resident.c` under the tap, at the point where it waits for a word.
struct Holder {
    running: Running,
    output: BufReader<std::process::ChildStdout>,
    folder: Folder,
}

impl Holder {
    fn start(name: &str, words: &[&str], launcher: &[&str]) -> Holder {
        let folder = Folder::new(name);
        compile("resident.c", &["-O1", "-pthread"], &folder.path().join("resident"));
        compile("pool.c", &["-O1", "-shared", "-fPIC"], &folder.path().join("libpool.so"));
        let program = folder.path().join("resident");
        let mut command = match launcher.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg("env").arg(format!("LD_PRELOAD={}", library().display()));
                command.arg(&program);
                command
            }
            None => Command::new(&program),
        };
        command.args(words);
        under_tap(&mut command, &format!("prof:true,lg_prof_sample:16,{HOWEVER_SHORT}"), folder.path());
        if !launcher.is_empty() {
            command.env_remove("LD_PRELOAD");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut holder = Holder { running: Running(child), output, folder };
        holder.expect("ready");
        holder
    }

    fn expect(&mut self, word: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word);
    }

    fn go(&mut self) {
        writeln!(self.running.0.stdin.as_mut().unwrap()).unwrap();
        self.expect("done");
    }

    fn pid(&self) -> String {
        self.running.pid().to_string()
    }
}

fn compile(source: &str, options: &[&str], into: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(source);
    let built = Command::new("gcc").args(options).arg("-o").arg(into).arg(source).arg("-ldl").status();
    assert!(built.unwrap().success());
}

const MIB: u64 = 1 << 20;

/// Whether a checkpoint has seen it: the last moment but the one that /proc tells now.
fn last_look(pid: &str) -> Option<serde_json::Value> {
    let moments = rss(pid)["past"]["moments"].as_array()?.clone();
    moments.len().checked_sub(2).map(|at| moments[at].clone())
}

/// What grew is told by its class, while it lives, after it was killed, and in its dump.
#[test]
fn growth_has_its_classes_also_after_death() {
    if !needs("gcc") {
        return;
    }
    let mut holder = Holder::start("resident-grow", &["grow"], &[]);
    let pid = holder.pid();
    wait_for("a first look", || last_look(&pid).is_some());
    holder.go();
    let has_all = |moment: serde_json::Value| class(&moment, "thread_stacks") > 36 * MIB;
    wait_for("a look at all", || last_look(&pid).is_some_and(has_all));
    let dump = heaptap(&["dump", &pid]);
    let living = rss(&pid);
    assert!((46 * MIB..60 * MIB).contains(&class(&living, "malloc_live")), "{living}");
    assert!((64 * MIB..70 * MIB).contains(&class(&living, "other")), "{living}");
    holder.running.kill();
    for input in [pid.as_str(), dump.trim()] {
        let told = rss(input);
        let change = &told["past"]["change"];
        assert!((150..=152).contains(&change["threads"].as_i64().unwrap()), "{input}: {change}");
        let part = |name: &str| {
            let parts = change["parts"].as_array().unwrap().iter();
            parts.filter(|part| part["class"] == name).map(|part| part["bytes"].as_f64().unwrap() as u64).sum::<u64>()
        };
        assert!((36 * MIB..50 * MIB).contains(&part("thread_stacks")), "{input}: {change}");
        assert!((60 * MIB..68 * MIB).contains(&part("other")), "{input}: {change}");
        assert!((40 * MIB..56 * MIB).contains(&part("malloc_live")), "{input}: {change}");
        let text = heaptap(&["rss", input]);
        assert!(text.contains("thread stacks") && text.contains(" threads"), "{text}");
        assert!(!text.contains("jcmd"), "no advice about Java to a C program: {text}");
        let report = heaptap(&["report", input]);
        assert!(report.contains("resident since") && report.contains("+15"), "{report}");
    }
}

/// Of a process without the tap: what glibc mapped block by block is malloc's, also where the kernel has it in one
/// mapping with what is not.
#[test]
fn blocks_that_glibc_mapped_one_by_one_are_mallocs() {
    if !needs("gcc") {
        return;
    }
    let folder = Folder::new("resident-plain");
    compile("resident.c", &["-O1", "-pthread"], &folder.path().join("resident"));
    let mut command = Command::new(folder.path().join("resident"));
    let child = command.arg("grow").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut plain = Running(child);
    let mut lines = BufReader::new(plain.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("ready"));
    writeln!(plain.0.stdin.as_mut().unwrap()).unwrap();
    assert_eq!(lines.next().as_deref(), Some("done"));
    let told = rss(&plain.pid().to_string());
    assert!((53 * MIB..57 * MIB).contains(&class(&told, "malloc")), "{told}");
    assert!((64 * MIB..68 * MIB).contains(&class(&told, "other")), "{told}");
    let Some(jvm) = jvms().pop() else { return };
    let classes = Folder::new("resident-direct");
    if !compile_class("Resident", &classes) {
        return;
    }
    let mut command = jvm.command();
    command.args(["-XX:NativeMemoryTracking=summary", "-Ddirect=12"]);
    let (machine, _) = filled(command, &classes);
    let told = rss(&machine.pid().to_string());
    assert!((96 * MIB..160 * MIB).contains(&class(&told, "malloc")) && class(&told, "jvm_other") < 32 * MIB, "{told}");
}

/// What another allocator in the process holds is not ours to keep.
#[test]
fn a_second_allocator_is_named_and_not_called_retention() {
    if !needs("gcc") {
        return;
    }
    let folder = Folder::new("resident-pool");
    compile("pool.c", &["-O1", "-shared", "-fPIC"], &folder.path().join("libpool.so"));
    let pool = folder.path().join("libpool.so");
    let mut holder = Holder::start("resident-second", &["second", pool.to_str().unwrap()], &[]);
    let pid = holder.pid();
    holder.go();
    let is_right = |account: &serde_json::Value| {
        // The keeper's count of malloc's pages may be of a second ago.
        let is_counted = (16 * MIB..28 * MIB).contains(&class(account, "malloc_live"));
        is_counted && class(account, "other") >= 84 * MIB && class(account, "malloc_retained") < 12 * MIB
    };
    wait_for("a look", || is_right(&rss(&pid)));
    let told = rss(&pid);
    assert_eq!(told["allocators"][0]["allocator"], "jemalloc", "{told}");
    let text = heaptap(&["rss", &pid]);
    assert!(text.contains("libpool.so carries its own jemalloc") && text.contains("not from malloc"), "{text}");
    let report = heaptap(&["report", &pid]);
    assert!(!report.contains("retention") && !report.contains("jcmd"), "{report}");
    holder.running.kill();
}

fn failures(input: &str) -> Vec<serde_json::Value> {
    let report: serde_json::Value = serde_json::from_str(&heaptap(&["report", "--json", input])).unwrap();
    Schema::read().check("Report", &report);
    report["failures"].as_array().unwrap().clone()
}

/// The first failures, with the limit that was met and who asked; also after death.
#[test]
fn the_first_failures_are_told_with_their_limit() {
    if !needs("gcc") {
        return;
    }
    let mut holder = Holder::start("resident-space", &["space", "700"], &[]);
    let pid = holder.pid();
    holder.go();
    holder.running.kill();
    let told = failures(&pid);
    assert_eq!(told.len(), 2, "{told:?}");
    let (thread, memory) = (&told[0], &told[1]);
    assert_eq!((&thread["what"], &thread["errno"]), (&"thread".into(), &libc::EAGAIN.into()), "{thread}");
    assert_eq!(thread["limit"]["name"], "RLIMIT_AS (ulimit -v)", "{thread}");
    assert_eq!(thread["place"], "start_worker", "{thread}");
    assert_eq!((&memory["what"], &memory["bytes"]), (&"memory".into(), &(4u64 << 30).into()), "{memory}");
    assert_eq!((&memory["limit"]["name"], &memory["place"]), (&"RLIMIT_AS (ulimit -v)".into(), &"space".into()));
    let text = heaptap(&["report", &pid]);
    assert!(text.contains("it could not start a thread (EAGAIN): RLIMIT_AS (ulimit -v)"), "{text}");
    drop(holder.folder);
}

/// The limit of a user's processes, which root does not meet.
#[test]
fn a_user_who_may_start_no_more_threads_is_told_so() {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !needs("gcc") || !needs("setpriv") || !needs("prlimit") || !is_root {
        return skip("only root can become somebody else");
    }
    let launcher = ["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", "prlimit", "--nproc=40"];
    let mut holder = Holder::start("resident-threads", &["threads"], &launcher);
    let pid = holder.pid();
    holder.go();
    let told = failures(&pid);
    assert_eq!(told[0]["limit"]["name"], "RLIMIT_NPROC (ulimit -u)", "{told:?}");
    assert_eq!(told[0]["limit"]["value"], 40);
    holder.running.kill();
}
