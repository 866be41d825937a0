//! Java frames in dumps: compared, frame by frame, with what JVMTI says at the same point; complete to the thread's
//! root; and naming the methods that leak. On every virtual machine that is installed (`HEAPTAP_TEST_JDKS` adds
//! others), always without a flag or an agent of ours; the agent in `tests/java/witness.c` only takes notes for the
//! comparison.

mod support;

use std::collections::HashMap;
use std::fs;

use support::java::{Jvm, UNTABLED, built, jvms};
use support::java_copy::{is_known_build, without_tables};
use support::java_dump::{JavaDump, run_java};
use support::{Folder, skip};

/// Size of the blocks that the witness allocates: nobody else asks for it.
const BLOCK_BYTES: u64 = 4321;
/// Room for stacks that are nearly all different.
const LARGE_REGION: &str = "prof_region_bytes:1073741824";

/// The class of a frame, as the witness names it, without the part that makes hidden classes unique.
fn folded(frame: &str) -> String {
    let (name, line) = frame.rsplit_once(':').expect("a line");
    let (class, method) = name.rsplit_once('.').expect("a method");
    // JVMTI writes `Shapes$$Lambda.0x00007f…` (JDK 17 and later) or `Shapes$$Lambda$7/0x0000…`, `…/12345` (before).
    let is_address =
        |end: &str| end.starts_with("0x") || (!end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit()));
    let class = match class.rsplit_once(['.', '/']) {
        Some((stem, end)) if is_address(end) => stem,
        _ => class,
    };
    let numbered = ["$$Lambda", "GeneratedMethodAccessor", "GeneratedConstructorAccessor"];
    let stem = class.trim_end_matches(|c: char| c.is_ascii_digit());
    let stem = stem.strip_suffix('$').filter(|stem| stem.ends_with("$$Lambda")).unwrap_or(stem);
    let class = if numbered.iter().any(|end| stem.ends_with(end)) { stem } else { class };
    format!("{class}.{method}:{line}")
}

/// Stacks of the witness's blocks in a dump, with the number of blocks.
fn stacks_of_blocks(dump: &JavaDump) -> HashMap<String, u64> {
    let mut found = HashMap::new();
    for (frames, (objects, bytes)) in &dump.stacks {
        // malloc, the witness, and Java directly above it: what JVMTI allocates for itself has more between.
        let is_block = matches!(frames.get(..3), Some([None, None, Some(_)])) && *bytes >= objects * BLOCK_BYTES;
        if is_block && frames[2].as_deref() == Some("Shapes.look:0") {
            let java: Vec<&str> = frames.iter().flatten().map(String::as_str).collect();
            *found.entry(java.join(";")).or_insert(0) += objects;
        }
    }
    found
}

/// Compares a run of `Shapes` with the witness's notes; returns the number of frames, and what the dump says of the
/// machine.
fn compare_with_jvmti(jvm: &Jvm, build: &Folder, options: &[&str], walks: u32, weather: &str) -> (u64, String) {
    let notes = build.path().join("notes");
    let home = build.path().display();
    let (agent, library) =
        (format!("-agentpath:{home}/libwitness.so={}", notes.display()), format!("-Djava.library.path={home}"));
    let walks = walks.to_string();
    let class_path = home.to_string();
    let mut arguments = vec![agent.as_str(), library.as_str(), "-Xss4m", "-cp", class_path.as_str()];
    arguments.extend(options);
    arguments.extend(["Shapes", walks.as_str(), weather]);
    let (_outcome, dump) = run_java(jvm, &arguments, LARGE_REGION, 0);
    dump.assert_nothing_lost();
    let mut expected: HashMap<String, u64> = HashMap::new();
    let mut frames = 0;
    for stack in fs::read_to_string(&notes).expect("the witness took notes").lines() {
        let stack: Vec<String> = stack.split(';').map(folded).collect();
        frames += stack.len() as u64;
        *expected.entry(stack.join(";")).or_insert(0) += 1;
    }
    let found = stacks_of_blocks(&dump);
    let differing: Vec<_> = expected.iter().filter(|(stack, count)| found.get(*stack) != Some(count)).collect();
    let invented: Vec<_> = found.iter().filter(|(stack, _)| !expected.contains_key(*stack)).collect();
    assert!(frames > 0, "the witness saw nothing");
    assert!(
        differing.is_empty() && invented.is_empty(),
        "{jvm:?} {options:?}: of {} stacks, {} are not in the dump, like {:#?}; {} only there, like {:#?}",
        expected.len(),
        differing.len(),
        differing.first(),
        invented.len(),
        invented.first(),
    );
    (frames, dump.metadata["java_vm"].clone())
}

#[test]
fn java_stacks_are_those_that_jvmti_sees() {
    let Some(build) = built("Shapes", "witness", &[]) else { return };
    for jvm in jvms() {
        for options in [&["-XX:+UseSerialGC"][..], &["-Xint"]] {
            compare_with_jvmti(&jvm, &build, options, 150, "storm");
        }
    }
}

/// A copy of each machine does not export its tables: the layout is known by its build id.
#[test]
fn without_exported_tables_java_stacks_are_those_that_jvmti_sees() {
    let Some(build) = built("Shapes", "witness", &[]) else { return };
    for jvm in jvms() {
        if !is_known_build(&jvm) {
            skip(&format!("the build of {} is not in src/tap/jvm/layouts.txt", jvm.home.display()));
            continue;
        }
        let folder = Folder::new("java-hidden");
        let Some(hidden) = without_tables(&jvm, &folder, false) else { continue };
        let (_frames, machine) = compare_with_jvmti(&hidden, &build, &["-XX:+UseSerialGC"], 150, "storm");
        let expected = format!("hotspot {} by build id (", jvm.release);
        assert!(machine.starts_with(&expected), "{hidden:?}: {machine}");
    }
}

/// Ten million frames on all machines, collectors and compilers: `cargo test --release -- --ignored jvmti`.
#[test]
#[ignore = "takes half an hour"]
fn java_stacks_are_those_that_jvmti_sees_everywhere() {
    let unlock = "-XX:+UnlockExperimentalVMOptions";
    let variants: [&[&str]; 9] = [
        &["-XX:+UseG1GC"],
        &["-XX:+UseParallelGC"],
        &["-XX:+UseSerialGC"],
        &[unlock, "-XX:+UseZGC"],
        &[unlock, "-XX:+UseShenandoahGC"],
        &["-Xint"],
        &["-XX:TieredStopAtLevel=1"],
        &["-XX:-TieredCompilation"],
        &["-Xcomp"],
    ];
    let mut frames = 0;
    let Some(build) = built("Shapes", "witness", &[]) else { return };
    for jvm in jvms() {
        for options in variants.iter().filter(|options| jvm.accepts(options)) {
            let walks = if options.contains(&"-Xcomp") { 400 } else { 4000 };
            frames += compare_with_jvmti(&jvm, &build, options, walks, "storm").0;
            eprintln!("{} {options:?}: {frames} frames so far", jvm.release);
        }
    }
    eprintln!("{frames} frames compared");
    assert!(frames >= 10_000_000, "only {frames} frames");
}

#[test]
fn the_leaking_java_method_is_named_with_its_bytes() {
    let Some(build) = built("Leaks", "untabled", UNTABLED) else { return };
    for jvm in jvms() {
        let (class_path, library) =
            (build.path().display().to_string(), format!("-Djava.library.path={}", build.path().display()));
        let (_outcome, dump) = run_java(&jvm, &["-cp", &class_path, &library, "Leaks"], "prof_bt_max:512", 3);
        dump.assert_leaks_are_named(&format!("{jvm:?}"));
        assert!(dump.bytes_below("java/util/zip/Deflater.init") >= 100 * 268_288);
        dump.assert_complete(0.999);
    }
}

#[test]
fn virtual_threads_are_followed_down_to_their_carriers() {
    for jvm in jvms().into_iter().filter(|jvm| jvm.release >= 21) {
        let folder = Folder::new("java-mounted");
        if !jvm.compile_class("Mounted", &folder) {
            continue;
        }
        let (_outcome, dump) =
            run_java(&jvm, &["-cp", &folder.path().display().to_string(), "Mounted"], "prof_bt_max:512", 0);
        let deflaters = dump
            .stacks
            .iter()
            .filter(|(frames, _)| frames.iter().flatten().any(|frame| frame.starts_with("Mounted.keep:")));
        let has =
            |frames: &[Option<String>], start: &str| frames.iter().flatten().any(|frame| frame.starts_with(start));
        let (frozen, whole): (Vec<_>, Vec<_>) = deflaters.partition(|(frames, _)| has(frames, "[frozen frames]"));
        assert!(!frozen.is_empty() && !whole.is_empty(), "{} frozen, {} whole", frozen.len(), whole.len());
        for (frames, _) in frozen.iter().chain(&whole) {
            assert!(has(frames, "jdk/internal/vm/Continuation.run:"), "{frames:?}");
            assert!(has(frames, "java/util/concurrent/ForkJoinWorkerThread.run:"), "{frames:?}");
        }
        for (frames, _) in whole {
            assert_eq!(frames.iter().flatten().filter(|frame| frame.starts_with("Mounted.deep:")).count(), 101);
        }
        dump.assert_complete(0.999);
    }
}

#[test]
fn without_prof_java_there_are_no_java_frames() {
    let Some(jvm) = jvms().into_iter().next() else { return };
    let (_outcome, dump) = run_java(&jvm, &["-version"], "prof_java:false", 0);
    assert!(dump.stacks.iter().all(|(frames, _)| frames.iter().all(Option::is_none)));
}
