//! Java frames where it is difficult: stripped libraries, libraries without unwind tables, small code caches, classes
//! that come and go, calls back from foreign functions, compiler threads, and every way in which a JVM ends.
//!
//! On every virtual machine that is installed (`HEAPTAP_TEST_JDKS` adds others), without a flag of ours.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::java::{Jvm, UNTABLED, built, compile_class, jvms};
use support::java_dump::{Frames, JavaDump, run_java, run_java_under};
use support::{Folder, HOWEVER_SHORT, have_jeprof, jeprof_text, needs, skip};

/// Deep enough for all that these programs do.
const DEEP: &str = "prof_bt_max:512";
/// Room for stacks that are nearly all different.
const LARGE_REGION: &str = "prof_region_bytes:1073741824";
/// Least share of stacks that must reach the thread's root; the others say why they do not.
const COMPLETE: f64 = 0.999;

/// A JDK like this one but for its `libjvm.so`, which has no symbols but those that it exports. `None`: another layout.
fn with_stripped_libjvm(jvm: &Jvm, folder: &Folder) -> Option<Jvm> {
    let home = folder.subfolder("jdk");
    let library = Path::new("lib/server/libjvm.so");
    if !jvm.home.join(library).is_file() {
        return None;
    }
    mirror(&jvm.home, &home, &["bin", "lib"]);
    mirror(&jvm.home.join("bin"), &home.join("bin"), &[]);
    mirror(&jvm.home.join("lib"), &home.join("lib"), &["server"]);
    mirror(&jvm.home.join("lib/server"), &home.join("lib/server"), &[]);
    for (name, strips) in [(Path::new("bin/java"), false), (library, true)] {
        fs::remove_file(home.join(name)).expect("a link of ours");
        fs::copy(jvm.home.join(name), home.join(name)).expect("a copy");
        let strip = || Command::new("strip").arg("--strip-all").arg(home.join(name)).status().expect("strip starts");
        assert!(!strips || strip().success());
    }
    let symbols = Command::new("nm").arg(home.join(library)).output().expect("nm starts");
    assert!(symbols.stdout.is_empty(), "it is not stripped");
    Jvm::at(&home)
}

/// Fills a folder with links to what another one holds, and with folders of these names.
fn mirror(from: &Path, to: &Path, folders: &[&str]) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let name = entry.file_name();
        if !folders.iter().any(|folder| name == *folder) {
            symlink(entry.path(), to.join(name)).expect("a link");
        }
    }
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

#[test]
fn every_way_to_end_leaves_a_final_dump() {
    let folder = Folder::new("java-ends");
    if !compile_class("Ends", &folder) {
        return;
    }
    let class_path = folder.path().display().to_string();
    for jvm in jvms() {
        for (way, code) in [("exit", 3), ("halt", 4), ("term", 143), ("return", 0)] {
            let (_outcome, dump) = run_java(&jvm, &["-cp", &class_path, "Ends", way], DEEP, code);
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
    for jvm in jvms().into_iter().filter(|jvm| jvm.accepts(SMALL_BUFFERS)) {
        let arguments = [SMALL_BUFFERS, &["-Xmx256m", "-cp", &class_path, "Barriers"]].concat();
        let (_outcome, dump) = run_java(&jvm, &arguments, &format!("{DEEP},prof_accum:true,{LARGE_REGION}"), 0);
        let below_mark = |(frames, _): &(Frames, _)| {
            let is_mark =
                |frame: &Option<String>| frame.as_deref().is_some_and(|text| text.starts_with("[gc barrier]"));
            frames.iter().position(is_mark).map(|mark| frames[mark + 1..].to_vec())
        };
        let below: Vec<Frames> = dump.stacks.iter().filter_map(below_mark).collect();
        let is_named = |frames: &Frames| match &frames[..] {
            [Some(method)] => method.starts_with("Barriers.overwrite:"),
            _ => false,
        };
        assert!(below.iter().any(is_named), "{jvm:?}: {below:#?}");
        // Nothing is guessed beyond: at most the method that called the collector.
        assert!(below.iter().all(|frames| frames.len() <= 1), "{jvm:?}: {below:#?}");
        assert!(dump.ended("java-barrier") >= below.len() as u64);
    }
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
    let folder = Folder::new("java-churn");
    if !compile_class("ClassChurn", &folder) {
        return;
    }
    // One machine will do: all of this is ours.
    let Some(jvm) = jvms().pop() else { return };
    let class_path = folder.path().display().to_string();
    let arguments = ["-cp", class_path.as_str(), "ClassChurn", &BURSTS.to_string(), &CLASSES.to_string()];
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
            assert!((100_000..=102_400).contains(&bytes), "{bytes} below {}", made(number));
        }
    }
    assert!(dump.bytes_below(&made(1)) < 1000, "what was freed");
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
