//! Who holds the blocks of a place, as `heaptap holders` finds out from outside: programs whose truth is known, under
//! the embedded allocator and under the program's own, and random ones, of which wrong answers are counted.

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;
use support::java::{Jvm, compile_class, compile_class_with, jars, jvms};
use support::{Folder, Schema, cli, under_tap, wait_or_kill};

/// Random programs of a test run. `HEAPTAP_HOLDERS_PROGRAMS` asks for others, and `HEAPTAP_HOLDERS_SEED` is the first.
const PROGRAMS: u64 = 100;
/// The first seed: not one that the search was made with.
const SEED: u64 = 20_261_129;
/// Random programs that run at a time: they sleep most of the time.
const AT_ONCE: usize = 8;

/// A program under the tap that waits for the end of its input.
struct Holding {
    child: Child,
    /// What it said before it was ready.
    told: String,
    _folder: Folder,
}

impl Holding {
    fn start(program: &Path, arguments: &[String], options: &str) -> Holding {
        Holding::start_in(Folder::new("holders"), program, arguments, options)
    }

    /// A JVM that runs `Holders`; `None`: there is no compiler.
    fn java(jvm: &Jvm, collector: &str) -> Option<Holding> {
        let folder = Folder::new("holders-java");
        if !compile_class("Holders", &folder) {
            return None;
        }
        let words = ["-Xmx128m", collector, "-cp", folder.path().to_str().unwrap(), "Holders"].map(str::to_owned);
        Some(Holding::start_in(folder, &jvm.java, &words, "prof:true,lg_prof_sample:12,prof_max_overhead:0"))
    }

    fn start_in(folder: Folder, program: &Path, arguments: &[String], options: &str) -> Holding {
        let mut command = Command::new(program);
        under_tap(command.args(arguments), options, folder.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (mut told, mut line) = (String::new(), String::new());
        let mut output = BufReader::new(child.stdout.take().unwrap());
        while line != "ready\n" {
            told += &line;
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "{} ended early: {told}", program.display());
        }
        Holding { child, told, _folder: folder }
    }

    fn heaptap(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(cli());
        command.arg("holders").arg(self.child.id().to_string()).args(arguments).env("COLUMNS", "100");
        command.env_remove("LD_PRELOAD").output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.heaptap(&[&["--json"], arguments].concat());
        let told = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"))
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        // The end of its input is its end.
        drop(self.child.stdin.take());
        wait_or_kill(&mut self.child, Duration::from_secs(60));
    }
}

/// A program of `tests/host/`, compiled once for all tests.
fn program(file: &str) -> PathBuf {
    static BUILT: OnceLock<Mutex<Vec<(String, PathBuf)>>> = OnceLock::new();
    static FOLDER: OnceLock<Folder> = OnceLock::new();
    let mut built = BUILT.get_or_init(Mutex::default).lock().unwrap();
    if let Some((_, path)) = built.iter().find(|(name, _)| name == file) {
        return path.clone();
    }
    let path = FOLDER.get_or_init(|| Folder::new("holders-build")).path().join(file.replace('.', "_"));
    let compiler = if file.ends_with(".cpp") { "g++" } else { "gcc" };
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host").join(file);
    let mut command = Command::new(compiler);
    command.args(["-O1", "-g", "-pthread", "-fno-builtin", "-w", "-o"]).arg(&path).arg(source);
    let output = command.env_remove("LD_PRELOAD").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    built.push((file.to_owned(), path.clone()));
    path
}

/// The place that a function allocates at.
fn place<'a>(answer: &'a Value, function: &str) -> &'a Value {
    place_through(answer, function, "")
}

/// The same of what a function allocates through another one whose name contains `through`, not of what the JVM needs
/// to run that: memory to load a class lies where another block lay, and words that were left over there hold it.
fn place_through<'a>(answer: &'a Value, function: &str, through: &str) -> &'a Value {
    let places = answer["places"].as_array().unwrap();
    let is_its = |place: &&Value| {
        let frames: Vec<&str> = place["frames"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let own = frames.iter().position(|frame| frame.contains(through)).map(|first| &frames[..first]);
        frames.contains(&function) && own.is_some_and(|own| !own.iter().any(|frame| is_the_jvms_work(frame)))
    };
    let its = places.iter().filter(is_its).max_by_key(|place| place["bytes"].as_f64().unwrap() as u64);
    its.unwrap_or_else(|| panic!("no place of {function}: {answer:#}"))
}

/// Whether this is where compiled or interpreted Java code asks the JVM for more than to run it: for a class, say.
fn is_the_jvms_work(frame: &str) -> bool {
    ["InterpreterRuntime::", "SharedRuntime::", "Runtime1::", "JavaCalls::"].iter().any(|part| frame.starts_with(part))
}

/// Verdict, and the holder with most votes.
fn verdict(answer: &Value, function: &str) -> (String, String) {
    let place = place(answer, function);
    let first = &place["votes"][0];
    (place["verdict"].as_str().unwrap_or("none").to_owned(), first["holder"].as_str().unwrap().to_owned())
}

#[test]
fn each_end_of_a_block_is_named() {
    for options in ["lg_prof_sample:0", "lg_prof_sample:10", "lg_prof_sample:10,prof_allocator:keep"] {
        let holding = Holding::start(&program("holders.c"), &[], &format!("prof:true,{options}"));
        let answer = holding.json(&["-n", "30"]);
        Schema::read().check("Holders", &answer);
        let is = |function: &str, kind: &str, holder: &str| {
            let found = verdict(&answer, function);
            assert_eq!((found.0.as_str(), found.1.as_str()), (kind, holder), "{function} {options}: {answer:#}");
        };
        is("make_kept", "global", "kept of holders_c");
        is("make_interior", "global", "inner of holders_c");
        is("make_chained", "global", "chained of holders_c");
        is("make_lost", "lost", "nothing in memory points to it");
        is("make_ring", "lost", "only blocks that are lost themselves point to it");
        is("make_on_stack", "thread", "the stack of thread \"keeps-some\"");
        assert_eq!(verdict(&answer, "make_polled").0, "kernel", "{options}");
        assert!(answer["knows_blocks"].as_bool().unwrap() && answer["passes"].as_u64().unwrap() > 2);
    }
}

#[test]
fn a_map_of_cpp_is_named_by_the_variable_that_it_is() {
    let holding = Holding::start(&program("holders_map.cpp"), &[], "prof:true,lg_prof_sample:9");
    let answer = holding.json(&["-n", "30"]);
    let (kind, holder) = verdict(&answer, "fill");
    assert_eq!((kind.as_str(), holder.as_str()), ("global", "shop::orders of holders_map_cpp"), "{answer:#}");
    assert_eq!(verdict(&answer, "forget").0, "lost", "{answer:#}");
    let text = String::from_utf8(holding.heaptap(&["--focus", "forget"]).stdout).unwrap();
    assert!(text.contains("forget <- main") && text.contains("lost: nothing in memory points to it"), "{text}");
    assert!(!text.contains("shop::orders"), "{text}");
}

/// Verdict, holder and the way from there of the blocks that a method of `Holders` made; a Java VM allocates a little
/// of its own below any method.
fn java_verdict(answer: &Value, method: &str) -> (String, String, String) {
    let through = if method == "Holders.inList" { "java.util.zip.Inflater" } else { "allocateMemory" };
    let place = place_through(answer, method, through);
    let (kind, holder) = (place["verdict"].as_str().unwrap_or("none"), place["votes"][0]["holder"].as_str().unwrap());
    let (kind, holder) = (kind.to_owned(), holder.to_owned());
    let links = place["votes"][0]["chain"].as_array().unwrap();
    let names: Vec<&str> = links.iter().filter_map(|link| link["allocated_by"].as_str()).collect();
    (kind, holder, names.join(" -> "))
}

#[test]
fn the_java_field_that_owns_a_block_is_named_and_what_keeps_its_object() {
    for jvm in jvms() {
        let mut collectors = vec!["-XX:+UseG1GC", "-XX:+UseParallelGC"];
        collectors.extend(Some("-XX:+UseZGC").filter(|_| jvm.release >= 17));
        for collector in collectors.into_iter().filter(|collector| jvm.accepts(&[collector])) {
            let Some(holding) = Holding::java(&jvm, collector) else { return };
            let with = format!("{} {collector}", jvm.home.display());
            let answer = holding.json(&["-n", "200", "--blocks", "16", "--heap-dump"]);
            let of = |method: &str| java_verdict(&answer, method);
            let (kind, holder, way) = of("Holders.inMap");
            assert_eq!((kind.as_str(), holder.as_str()), ("java_field", "static Holders.MAP"), "{with}: {way}");
            assert!(way.starts_with("java.util.HashMap.table -> java.util.HashMap$Node[]"), "{with}: {way}");
            assert!(way.ends_with("java.nio.DirectByteBuffer.address"), "{with}: {way}");
            assert_eq!(of("Holders.inDead").0, "waits_for_collector", "{with}: {answer:#}");
            let (kind, holder, way) = of("Holders.inThreadLocal");
            assert_eq!((kind.as_str(), holder.as_str()), ("java_field", "thread \"keeps-buffers\""), "{with}: {way}");
            assert!(way.contains("Thread.threadLocals") && way.contains("ThreadLocalMap$Entry.value"), "{with}: {way}");
            let (kind, holder, way) = of("Holders.inList");
            assert_eq!((kind.as_str(), holder.as_str()), ("java_field", "static Holders.INFLATERS"), "{with}: {way}");
            assert!(way.contains("java.util.zip.Inflater.zsRef"), "{with}: {way}");
            let left = std::fs::read_dir("/tmp").unwrap().flatten();
            let name = format!("heaptap-{}-", holding.child.id());
            let is_ours = |name: &str, part: &str| name.starts_with(part) && name.ends_with(".hprof");
            assert!(!left.into_iter().any(|entry| is_ours(entry.file_name().to_str().unwrap_or(""), &name)), "{with}");
        }
    }
}

/// What `Libraries` leaks: the method, what it allocates through, the field that holds it, and the one that owns it.
const LEAKS: [(&str, &str, &str, &str); 7] = [
    ("Responses.keep", "ByteBuffer", "static Libraries$Responses.SEEN", "java.nio.DirectByteBuffer.address"),
    ("Unpacker.unpack", "java.util.zip.Inflater", "static Libraries$Unpacker.ONLY", "StreamRef.address"),
    ("Packer.pack", "com.github.luben.zstd", "static Libraries$Packer.CONTEXTS", "ZstdCompressCtx.nativePtr"),
    ("Store.<init>", "org.rocksdb", "static Libraries$Store.OPEN", "org.rocksdb.ColumnFamilyOptions.nativeHandle_"),
    // Closed for Java, but the options still have it.
    ("Store.useCache", "org.rocksdb", "static Libraries$Store.OPEN", "org.rocksdb.ColumnFamilyOptions.nativeHandle_"),
    ("Natives.call", "com.sun.jna.Memory", "static Libraries$Natives.CALLS", "com.sun.jna.Memory.peer"),
    ("Foreigns.allocate", "jdk.internal.foreign", "static Libraries$Foreigns.ARENAS", "session"),
];

#[test]
fn of_a_jvm_that_leaks_by_five_libraries_the_field_that_holds_each_is_named() {
    let Some(jars) = jars() else { return };
    for jvm in jvms() {
        let folder = Folder::new("holders-libraries");
        if !compile_class_with("Libraries", &jars, &folder) {
            return;
        }
        let has_foreign = jvm.release >= 22;
        let path = folder.path().display();
        let classes = format!("{path}:{}/*", jars.display());
        // Where libraries unpack their native parts.
        let unpack = [format!("-Djava.io.tmpdir={path}"), format!("-Djna.tmpdir={path}")];
        let mut words = ["-Xmx128m", "-cp", &classes, &unpack[0], &unpack[1], "Libraries"].map(str::to_owned).to_vec();
        words.extend(has_foreign.then(|| "foreign".to_owned()));
        let holding = Holding::start_in(folder, &jvm.java, &words, "prof:true,lg_prof_sample:10,prof_max_overhead:0");
        let answer = holding.json(&["-n", "400", "--focus", "Libraries$", "--heap-dump"]);
        for (method, through, holder, owner) in LEAKS {
            if method.starts_with("Foreigns") && !has_foreign {
                continue;
            }
            let place = place_through(&answer, &format!("Libraries${method}"), through);
            let with = format!("{} {method}: {place:#}", jvm.home.display());
            let first = &place["votes"][0];
            assert_eq!(place["verdict"], "java_field", "{with}");
            assert_eq!(first["holder"], holder, "{with}");
            let links = first["chain"].as_array().unwrap();
            let names: Vec<&str> = links.iter().filter_map(|link| link["allocated_by"].as_str()).collect();
            assert!(names.iter().any(|name| name.contains(owner)), "{with}");
            // A word that was left over somewhere may speak for another once, and what the JVM needs to run the method
            // may count as the same place.
            let [all, its] = [&place["looked_for"], &first["blocks"]].map(|number| number.as_u64().unwrap());
            assert!(its * 2 > all, "{with}");
        }
        // The collector takes these, and nobody closes them.
        let dropped = place_through(&answer, "Libraries$Dropped.drop", "org.rocksdb");
        let first = &dropped["votes"][0];
        let names = first["chain"][0]["allocated_by"].as_str().unwrap_or("");
        let is_told = first["why"].as_str().is_some_and(|why| why.contains("no cleaner or finalizer"));
        assert!(is_told && names.ends_with("nativeHandle_"), "{}: {dropped:#}", jvm.home.display());
    }
}

#[test]
fn a_file_that_is_no_heap_dump_is_refused_with_a_reason() {
    let holding = Holding::start(&program("holders_map.cpp"), &[], "prof:true,lg_prof_sample:9");
    let output = holding.heaptap(&["--hprof", "tests/dumps/small.heap"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && told.contains("does not begin as heap dumps do"), "{told}");
    let output = holding.heaptap(&["--heap-dump"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && told.contains("is no HotSpot JVM"), "{told}");
}

/// Blocks of random programs by what was said of them.
#[derive(Debug, Default)]
struct Count {
    held: AtomicU64,
    right: AtomicU64,
    other_holder: AtomicU64,
    held_cannot_tell: AtomicU64,
    held_called_lost: AtomicU64,
    lost: AtomicU64,
    lost_told: AtomicU64,
    lost_cannot_tell: AtomicU64,
    lost_called_held: AtomicU64,
}

impl Count {
    /// Runs a random program and counts.
    fn run(&self, seed: u64) {
        let rate =
            ["lg_prof_sample:0", "lg_prof_sample:8", "lg_prof_sample:11", "lg_prof_sample:12"][seed as usize % 4];
        let allocator = if seed.is_multiple_of(3) { ",prof_allocator:keep" } else { "" };
        let options = format!("prof:true,{rate}{allocator}");
        let holding = Holding::start(&program("held.c"), &[seed.to_string()], &options);
        let answer = holding.json(&["-n", "100"]);
        for place in answer["places"].as_array().unwrap() {
            let Some(site) = place["frames"][0].as_str().and_then(|name| name.strip_prefix("site")) else { continue };
            let truth = holding.told.lines().find_map(|line| line.strip_prefix(&format!("site{site} "))).unwrap();
            let fate = truth.split(' ').next().unwrap();
            for vote in place["votes"].as_array().unwrap() {
                let blocks = vote["blocks"].as_u64().unwrap();
                let (kind, holder) = (vote["kind"].as_str().unwrap(), vote["holder"].as_str().unwrap());
                let is_right = match fate {
                    "global" => kind == "global" && holder == format!("held{site} of held_c"),
                    "thread" => kind == "thread" && holder.contains(&format!("\"keeps{site}\"")),
                    _ => kind == "lost",
                };
                let (all, counter) = match (fate, kind) {
                    ("lost", "lost") => (&self.lost, &self.lost_told),
                    ("lost", "cannot_tell") => (&self.lost, &self.lost_cannot_tell),
                    ("lost", _) => (&self.lost, &self.lost_called_held),
                    (_, "lost") => (&self.held, &self.held_called_lost),
                    (_, "cannot_tell") => (&self.held, &self.held_cannot_tell),
                    _ if is_right => (&self.held, &self.right),
                    _ => (&self.held, &self.other_holder),
                };
                all.fetch_add(blocks, Ordering::Relaxed);
                counter.fetch_add(blocks, Ordering::Relaxed);
                if !is_right && kind != "cannot_tell" {
                    println!("seed {seed} {options}: site{site} {truth}: {vote}");
                }
            }
        }
    }
}

#[test]
fn of_random_programs_nothing_held_is_called_lost_and_holders_are_the_right_ones() {
    let asked = |name: &str, usual: u64| std::env::var(name).ok().map_or(usual, |text| text.parse().unwrap());
    let (programs, first) = (asked("HEAPTAP_HOLDERS_PROGRAMS", PROGRAMS), asked("HEAPTAP_HOLDERS_SEED", SEED));
    let (count, next) = (Count::default(), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < programs) {
                    count.run(first + seed);
                }
            });
        }
    });
    println!("{count:?}");
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    assert_eq!(of(&count.held_called_lost), 0.0, "{count:?}");
    assert!(of(&count.right) >= 0.95 * of(&count.held), "{count:?}");
    assert!(of(&count.lost_told) >= 0.9 * of(&count.lost) && of(&count.lost) > 0.0, "{count:?}");
}

#[test]
fn who_cannot_be_looked_into_gets_a_reason() {
    let none = Command::new(cli()).args(["holders", "4194304000"]).output().unwrap();
    assert_eq!(none.status.code(), Some(2));
    // A process without the tap has no sampled blocks.
    let mut plain = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let output = Command::new(cli()).arg("holders").arg(plain.id().to_string()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("has no live profile"), "{output:?}");
    drop(plain.stdin.take());
    _ = plain.stdout.take().unwrap().read_to_string(&mut String::new());
    plain.wait().unwrap();
}
