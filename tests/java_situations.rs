//! Java frames where it is difficult: stripped libraries, libraries without unwind tables, small code caches, classes
//! that come and go, calls back from foreign functions, compiler threads, and every way in which a JVM ends.
//!
//! On every virtual machine that is installed (`HEAPTAP_TEST_JDKS` adds others), without a flag of ours.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use support::java::{Jvm, UNTABLED, built, compile_class, compile_classes, jvms};
use support::java_copy::{with_libjvm, without_tables};
use support::java_dump::{Frames, JavaDump, run_java, run_java_under};
use support::{Folder, HOWEVER_SHORT, cli, have_jeprof, jeprof_text, needs, skip};

/// Deep enough for all that these programs do.
const DEEP: &str = "prof_bt_max:512";
/// Room for stacks that are nearly all different.
const LARGE_REGION: &str = "prof_region_bytes:1073741824";
/// Least share of stacks that must reach the thread's root; the others say why they do not.
const COMPLETE: f64 = 0.999;

/// A JDK like this one but for its `libjvm.so`, which has no symbols but those that it exports. `None`: another layout.
fn with_stripped_libjvm(jvm: &Jvm, folder: &Folder) -> Option<Jvm> {
    with_libjvm(jvm, folder, |library| {
        let strip = Command::new("strip").arg("--strip-all").arg(library).status().expect("strip starts");
        let symbols = Command::new("nm").arg(library).output().expect("nm starts");
        assert!(strip.success() && symbols.stdout.is_empty(), "it is not stripped");
    })
}

#[test]
fn a_stripped_libjvm_is_walked_like_any_other() {
    let Some(build) = built("Leaks", "untabled", UNTABLED).filter(|_| needs("strip")) else { return };
    for jvm in jvms() {
        let folder = Folder::new("java-stripped");
        let Some(stripped) = with_stripped_libjvm(&jvm, &folder) else { continue };
        let home = build.path().display();
        let (class_path, library) = (home.to_string(), format!("-Djava.library.path={home}"));
        let (_outcome, dump) = run_java(&stripped, &["-cp", &class_path, &library, "Leaks"], DEEP, 3);
        assert!(dump.bytes_below("Leaks.deflaters") >= 100 * 268_288, "{stripped:?}");
        dump.assert_complete(COMPLETE);
    }
}

/// The last resort: frame pointers, which the machine has to be asked for, and its own map of compiled code.
const PERF_MAP: &[&str] =
    &["-XX:+UnlockDiagnosticVMOptions", "-XX:+DumpPerfMapAtExit", "-XX:+PreserveFramePointer", "-Xcomp"];

#[test]
fn an_unknown_build_without_tables_is_not_guessed_at() {
    let Some(build) = built("Leaks", "untabled", UNTABLED) else { return };
    let (class_path, library) =
        (build.path().display().to_string(), format!("-Djava.library.path={}", build.path().display()));
    // One machine will do; the newest, which has the perf-map.
    let Some(jvm) = jvms().into_iter().filter(|jvm| jvm.accepts(PERF_MAP)).max_by_key(|jvm| jvm.release) else {
        return skip("no machine that writes a perf-map");
    };
    let folder = Folder::new("java-unknown");
    let Some(unknown) = without_tables(&jvm, &folder, true) else { return skip("a JDK of another layout") };
    let (_outcome, dump) = run_java(&unknown, &["-cp", &class_path, &library, "Leaks"], DEEP, 3);
    assert_eq!(dump.metadata.get("java_vm").map(String::as_str), Some("unsupported"), "{unknown:?}");
    assert!(dump.stacks.iter().all(|(frames, _)| frames.iter().all(Option::is_none)), "{unknown:?}");
    let arguments = [PERF_MAP, &["-cp", &class_path, &library, "Leaks"]].concat();
    let (outcome, _) = run_java(&unknown, &arguments, DEEP, 3);
    let map = PathBuf::from(format!("/tmp/perf-{}.map", outcome.pid));
    let last = outcome.final_dump().expect("a final dump");
    let mut top = Command::new(cli());
    let output = top.args(["top", "--cum", "--rows", "1000", "--perf-map"]).arg(&map).arg(&last.path).output();
    let output = output.expect("the CLI starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let _ = fs::remove_file(map);
    assert!(text.contains("Leaks.unsafeBlocks"), "{text}");
}

#[test]
fn class_loaders_that_leak_are_named() {
    let Some(build) = built("Leaks", "untabled", UNTABLED) else { return };
    let class_path = build.path().display().to_string();
    for jvm in jvms() {
        let run = |count: &str| run_java(&jvm, &["-Xint", "-cp", &class_path, "Leaks", count], DEEP, 0).1;
        let (few, many) = (run("20"), run("620"));
        let total = |dump: &JavaDump| dump.stacks.iter().map(|(_, (_, bytes))| bytes).sum::<u64>();
        let leaked = total(&many) - total(&few);
        let named = many.bytes_below("Leaks.loaders") - few.bytes_below("Leaks.loaders");
        assert!(leaked > 600 * 500, "{jvm:?}: {leaked} bytes only");
        assert!(named as f64 >= 0.95 * leaked as f64, "{jvm:?}: of {leaked} bytes, {named} are named");
    }
}

/// What `heaptap` says of dumps, in 80 columns.
fn told(arguments: &[&str], dumps: &[PathBuf]) -> String {
    let mut command = Command::new(cli());
    command.args(arguments).args(dumps).env("COLUMNS", "80").env_remove("LD_PRELOAD").env_remove("HEAPTAP_OWN");
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

/// A stream of the JDK that a library opens, eight frames below the method that forgets it: every answer names that
/// one.
#[test]
fn the_users_own_method_is_named_above_library_and_jdk() {
    let (folder, Some(jvm)) = (Folder::new("java-own"), jvms().pop()) else { return skip("no JVM") };
    if !compile_classes(&["own/Codec", "own/Invoices"], &folder) {
        return;
    }
    let conf = format!(
        "prof:true,lg_prof_sample:12,prof_max_overhead:0,prof_final:true,prof_dump_growth:2000000,{HOWEVER_SHORT}"
    );
    for thread in ["main", "pool"] {
        let program = jvm.run(["-Xmx64m", "-cp", &folder.path().display().to_string(), "com.shop.Invoices", thread]);
        let outcome = program.run_tapped(&conf);
        assert!(outcome.status.success(), "{}", outcome.stderr);
        let dumps: Vec<PathBuf> = outcome.dumps.iter().map(|dump| dump.path.clone()).collect();
        let report = told(&["report"], &dumps);
        let headline: Vec<&str> = report.lines().take_while(|line| !line.is_empty()).collect();
        assert!(headline.join(" ").contains("<- com.shop.Invoices.store"), "{report}");
        assert!(report.contains("de.helpers.Codec.pack"), "what it calls is shown: {report}");
        assert!(report.lines().any(|line| line.contains("=> GZIP stream: close every")), "{report}");
        assert!(told(&["leaks"], &dumps).contains("com.shop.Invoices.store"));
        assert!(told(&["growth"], &dumps).contains("Invoices.store"), "{}", told(&["growth"], &dumps));
        assert!(told(&["top"], &dumps).contains("<- com.shop.Invoices.store"));
        let json: serde_json::Value = serde_json::from_str(&told(&["report", "--json"], &dumps)).unwrap();
        assert_eq!(json["sites"][0]["place"]["own"], "com.shop.Invoices.store");
        let stated: serde_json::Value =
            serde_json::from_str(&told(&["report", "--json", "--own", "de.helpers"], &dumps)).unwrap();
        assert_eq!(stated["sites"][0]["place"]["own"], "de.helpers.Codec.open");
    }
}

#[test]
fn every_way_to_end_leaves_a_final_dump() {
    let folder = Folder::new("java-ends");
    let classes = ["Soak", "Storm", "Work", "Exceptions"].map(|name| format!("../soak/java/{name}"));
    if !compile_classes(&classes, &folder) {
        return;
    }
    let class_path = folder.path().display().to_string();
    for jvm in jvms() {
        for (way, code) in [("exit", 3), ("halt", 4), ("term", 143), ("return", 0)] {
            let (_outcome, dump) = run_java(&jvm, &["-cp", &class_path, "Soak", "0.3", way, "Exceptions"], DEEP, code);
            dump.assert_complete(COMPLETE);
        }
    }
}

/// Buffers so small that compiled code often has the collector make a new one.
const SMALL_BUFFERS: &[&str] = &["-XX:+UseG1GC", "-XX:G1UpdateBufferSize=16", "-XX:G1SATBBufferSize=1k"];

#[test]
fn collectors_that_compiled_code_calls_are_marked() {
    let folder = Folder::new("java-barriers");
    if !compile_class("Barriers", &folder) {
        return;
    }
    let class_path = folder.path().display().to_string();
    let (mut tried, mut named) = (0, 0);
    for jvm in jvms().into_iter().filter(|jvm| jvm.accepts(SMALL_BUFFERS)) {
        let arguments = [SMALL_BUFFERS, &["-Xmx256m", "-cp", &class_path, "Barriers"]].concat();
        let below_mark = |(frames, _): &(Frames, _)| {
            let is_mark =
                |frame: &Option<String>| frame.as_deref().is_some_and(|text| text.starts_with("[gc barrier]"));
            frames.iter().position(is_mark).map(|mark| frames[mark + 1..].to_vec())
        };
        let one_run = || {
            let (_outcome, dump) = run_java(&jvm, &arguments, &format!("{DEEP},prof_accum:true,{LARGE_REGION}"), 0);
            let below: Vec<Frames> = dump.stacks.iter().filter_map(below_mark).collect();
            // Nothing is guessed beyond: at most the method that called the collector.
            assert!(below.iter().all(|frames| frames.len() <= 1), "{jvm:?}: {below:#?}");
            assert!(dump.ended("java-barrier") >= below.len() as u64);
            below
        };
        // On a busy machine the collector's threads now and then give back all buffers in time, and no thread of the
        // program makes one.
        let below = (0..10).map(|_| one_run()).find(|below| !below.is_empty());
        let below = below.unwrap_or_else(|| panic!("{jvm:?}: no stack begins in a barrier, in ten runs"));
        let is_named =
            |frames: &&Frames| matches!(&frames[..], [Some(method)] if method.starts_with("Barriers.overwrite:"));
        (tried, named) = (tried + 1, named + below.iter().filter(is_named).count());
    }
    // Interpreted code and stubs of C2 (JDK 24 and later) do not tell which method it was.
    assert!(tried == 0 || named > 0, "no machine names the method that called its collector");
}

/// Writes Java sources that give javac and its compilers something to do; returns their paths.
fn source_tree(folder: &Folder, files: usize) -> Vec<PathBuf> {
    (0..files)
        .map(|n| {
            let next = (n + 1) % files;
            let text = format!(
                "package made; import java.util.*; import java.util.function.*;
                 public class Made{n}<T extends Comparable<T>> {{
                     enum Kind {{ A, B, C; int weight() {{ return ordinal() * {n}; }} }}
                     interface Shape {{ double area(); default Shape twice() {{ return () -> 2 * area(); }} }}
                     final Map<String, List<T>> map = new TreeMap<>(Comparator.comparing(String::length));
                     <R> List<R> convert(List<T> from, Function<? super T, ? extends R> by) {{
                         List<R> to = new ArrayList<>();
                         for (T one : from) {{ to.add(by.apply(one)); }}
                         return to;
                     }}
                     int work(String text) {{
                         int sum = 0;
                         for (Kind kind : Kind.values()) {{
                             switch (kind) {{ case A: sum += kind.weight(); break; case B: sum -= text.length(); break; default: sum ^= {n}; }}
                         }}
                         Supplier<Integer> later = () -> new Made{next}<String>().map.size() + text.hashCode();
                         try {{ sum += later.get(); }} catch (RuntimeException trouble) {{ sum--; }} finally {{ sum++; }}
                         return sum + convert(new ArrayList<T>(), one -> one.toString() + text).size();
                     }}
                 }}"
            );
            folder.write(&format!("Made{n}.java"), &text)
        })
        .collect()
}

/// Has the compiler of every machine translate so many files, each time under one of these lists of options.
fn follow_javac(files: usize, variants: &[&[&str]]) {
    let folder = Folder::new("java-javac");
    let sources = source_tree(&folder, files);
    let list = sources.iter().map(|path| format!("{}\n", path.display())).collect::<String>();
    let list = format!("@{}", folder.write("sources", &list).display());
    for jvm in jvms() {
        let javac = jvm.home.join("bin/javac");
        if !javac.is_file() {
            skip(&format!("{} has no javac", jvm.home.display()));
            continue;
        }
        let compiler = Jvm { java: javac, ..jvm };
        for options in variants {
            let classes = folder.subfolder("classes").display().to_string();
            let arguments = [options, &["-nowarn", "-d", &classes, &list][..]].concat();
            let (_outcome, dump) =
                run_java(&compiler, &arguments, &format!("{DEEP},prof_accum:true,{LARGE_REGION}"), 0);
            dump.assert_complete(COMPLETE);
            let names_method = |(frames, _): &(Frames, _)| match &frames[..] {
                [.., Some(method), Some(mark)] => mark.starts_with("[compiling]") && method.contains(':'),
                _ => false,
            };
            let named = dump.stacks.iter().any(names_method);
            assert!(named, "{compiler:?} {options:?}: no compiler thread says what it compiles");
        }
    }
}

/// A code cache in which compiled methods make room for others.
const SMALL_CACHE: &[&str] = &["-J-XX:ReservedCodeCacheSize=6m"];

#[test]
fn javac_is_followed_while_its_code_is_thrown_away() {
    follow_javac(50, &[SMALL_CACHE]);
}

#[test]
#[ignore = "takes some minutes"]
fn javac_is_followed_on_a_large_tree() {
    follow_javac(400, &[&[], SMALL_CACHE, &["-J-XX:+UseParallelGC", "-J-XX:TieredStopAtLevel=1"]]);
}

#[test]
fn calls_back_from_foreign_functions_are_followed() {
    for jvm in jvms().into_iter().filter(|jvm| jvm.release >= 22) {
        let folder = Folder::new("java-foreign");
        if !jvm.compile_class("Foreign", &folder) {
            continue;
        }
        let class_path = folder.path().display().to_string();
        let arguments = ["--enable-native-access=ALL-UNNAMED", "-cp", class_path.as_str(), "Foreign"];
        let (_outcome, dump) = run_java(&jvm, &arguments, DEEP, 0);
        dump.assert_complete(COMPLETE);
        let mut bytes = 0;
        for (frames, (_, own)) in &dump.stacks {
            let place = |start: &str| {
                frames.iter().position(|frame| frame.as_deref().is_some_and(|frame| frame.starts_with(start)))
            };
            let is_compiler = place("[compiling]").is_some();
            let Some(compare) = place("Foreign.compare:").filter(|_| !is_compiler) else { continue };
            let (Some(sort), Some(main)) = (place("Foreign.sort:"), place("Foreign.main:")) else {
                panic!("{jvm:?}: lost below the call back: {frames:?}");
            };
            assert!(compare < sort && sort < main && frames[compare..sort].contains(&None), "{frames:?}");
            bytes += own;
        }
        assert!(bytes >= 300 * 268_288, "{jvm:?}: {bytes}");
    }
}

/// Many times more classes than the table of methods has room for.
#[test]
fn classes_that_come_and_go_keep_their_own_names() {
    const BURSTS: usize = 5;
    const CLASSES: usize = 2000;
    /// Milliseconds between bursts: the keeper, a second apart, forgets methods, and a dump is due.
    const PAUSE: &str = "4500";
    /// Lines of jeprof carry the rounding of others: a raw object at 4 KiB.
    const RAW: u64 = 4096;
    let folder = Folder::new("java-churn");
    if !compile_class("ClassChurn", &folder) {
        return;
    }
    // One machine will do: all of this is ours.
    let Some(jvm) = jvms().pop() else { return };
    let class_path = folder.path().display().to_string();
    let arguments = ["-cp", class_path.as_str(), "ClassChurn", &BURSTS.to_string(), &CLASSES.to_string(), PAUSE];
    let conf = format!(
        "prof:true,prof_final:true,{HOWEVER_SHORT},{DEEP},lg_prof_sample:12,prof_region_bytes:4194304,prof_dump_seconds:2,prof_max_overhead:0"
    );
    let (outcome, dump) = run_java_under(&jvm, &arguments, &conf, 0);
    let unnamed = |(frames, _): &(Frames, _)| frames.iter().flatten().any(|frame| frame.starts_with("[unnamed"));
    assert!(!dump.stacks.iter().any(unnamed), "the table was full");
    let made = |number: usize| format!("ClassChurn$Made{number:05}.run");
    for burst in 1..BURSTS {
        for number in (0..10).map(|kept| burst * CLASSES + kept + 1) {
            let bytes = dump.bytes_below(&made(number));
            assert!((100_000 - RAW..=102_400 + RAW).contains(&bytes), "{bytes} below {}", made(number));
        }
    }
    assert!(dump.bytes_below(&made(1)) < 1000 + RAW, "what was freed");
    // The side-car that the last dump left also has the names that only older dumps need.
    let first = outcome.dumps.iter().find(|dump| JavaDump::read(dump).bytes_below(&made(1)) >= 100_000);
    let first = first.expect("a dump between the bursts");
    if have_jeprof() {
        let rows = jeprof_text(&jvm.java, first);
        let of_first = rows.iter().filter(|row| row.name.contains(&made(1)));
        assert!(of_first.count() > 0, "jeprof does not name what the first dump holds");
        assert!(rows.iter().all(|row| !row.name.starts_with("0x8000")), "{rows:#?}");
    }
}
