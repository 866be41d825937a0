//! Where names come from: deleted and moved libraries, debug files, perf-maps, damaged debug information, and packs
//! that are read where nothing of the program is left.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use support::{Dump, Folder, HOWEVER_SHORT, cli, collect_dumps, have_jeprof, jeprof_text, under_tap};

/// A library with a function of its own name, and a program that allocates through it and then waits or ends.
const LIBRARY: &str = "#include <stdlib.h>\nstatic void *inner(int n) { return malloc(n); }\n\
    void *grow_the_pile(int n) { void *volatile block = inner(n); return block; }\n";
const PROGRAM: &str = "#include <stdio.h>\n#include <unistd.h>\nvoid *grow_the_pile(int);\n\
    int main(int count, char **words) {\n  for (int n = 0; n < 4000; n++) grow_the_pile(1000);\n\
    puts(\"ready\"); fflush(stdout); if (count > 1) pause(); return 0; }\n";

fn heaptap(arguments: &[&str], files: &[&Path]) -> Output {
    Command::new(cli()).args(arguments).args(files).env("COLUMNS", "120").env_remove("LD_PRELOAD").output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn modules(files: &[&Path], arguments: &[&str]) -> Vec<serde_json::Value> {
    let output = heaptap(&[&["symbols", "--json"], arguments].concat(), files);
    let json: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    json["modules"].as_array().unwrap().clone()
}

fn module<'a>(modules: &'a [serde_json::Value], name: &str) -> &'a serde_json::Value {
    let ends = |module: &&serde_json::Value| module["path"].as_str().unwrap().ends_with(name);
    modules.iter().find(ends).unwrap_or_else(|| panic!("no {name} in {modules:?}"))
}

fn run(program: &str, arguments: &[&str], folder: &Path) {
    let output = Command::new(program).args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Builds program and library into a folder.
fn build(folder: &Folder) -> PathBuf {
    folder.write("pile.c", LIBRARY);
    folder.write("main.c", PROGRAM);
    run("gcc", &["-g", "-O0", "-shared", "-fPIC", "-Wl,--build-id", "-o", "libpile.so", "pile.c"], folder.path());
    run("gcc", &["-g", "-Wl,--build-id", "-o", "heap", "main.c", "-L.", "-lpile", "-Wl,-rpath,$ORIGIN"], folder.path());
    folder.path().join("heap")
}

/// Runs the program under the tap to its end; its dump.
fn dump_of(program: &Path, folder: &Folder) -> PathBuf {
    let mut command = Command::new(program);
    under_tap(&mut command, &format!("prof:true,prof_final:true,lg_prof_sample:10,{HOWEVER_SHORT}"), folder.path());
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
    collect_dumps(folder.path()).pop().expect("a dump").path
}

#[test]
fn every_file_says_where_its_names_came_from_and_the_wrong_one_is_refused_aloud() {
    let folder = Folder::new("sources");
    let dump = dump_of(&build(&folder), &folder);
    let whole = modules(&[&dump], &[]);
    let pile = module(&whole, "libpile.so");
    assert_eq!((&pile["source"], &pile["named"]), (&"symbol table".into(), &pile["places"]));
    let top = heaptap(&["top"], &[&dump]);
    assert!(text(&top).contains("inner"), "{}", text(&top));

    // A stripped file knows its exports only; a debug file with its build id knows the rest.
    run("objcopy", &["--only-keep-debug", "libpile.so", "whole.debug"], folder.path());
    run("strip", &["libpile.so"], folder.path());
    assert!(module(&modules(&[&dump], &[]), "libpile.so")["source"].as_str().unwrap().starts_with("exported symbols"));
    let id = pile["build_id"].as_str().unwrap();
    let place = folder.subfolder(&format!("debug/.build-id/{}", &id[..2]));
    fs::copy(folder.path().join("whole.debug"), place.join(format!("{}.debug", &id[2..]))).unwrap();
    let debug = folder.path().join("debug");
    let found = modules(&[&dump], &["--debug-dir", debug.to_str().unwrap()]);
    assert!(module(&found, "libpile.so")["source"].as_str().unwrap().starts_with("debug file "), "{found:?}");
    let top = heaptap(&["top", "--debug-dir", debug.to_str().unwrap()], &[&dump]);
    assert!(text(&top).contains("inner"), "{}", text(&top));

    // Another version at the same path.
    folder.write("pile.c", &LIBRARY.replace("inner", "stranger"));
    run("gcc", &["-g", "-O0", "-shared", "-fPIC", "-Wl,--build-id", "-o", "libpile.so", "pile.c"], folder.path());
    let refused = heaptap(&["symbols"], &[&dump]);
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused);
    assert!(told.contains("another version") && told.contains(id) && told.contains("--sysroot"), "{told}");
    assert!(!text(&heaptap(&["top"], &[&dump])).contains("stranger"));
}

#[test]
fn a_sysroot_stands_for_the_machine_of_the_dump() {
    let folder = Folder::new("sysroot");
    let dump = dump_of(&build(&folder), &folder);
    let moved = folder.subfolder(&format!("image{}", folder.path().display()));
    for name in ["heap", "libpile.so"] {
        fs::rename(folder.path().join(name), moved.join(name)).unwrap();
    }
    assert!(!text(&heaptap(&["top"], &[&dump])).contains("grow_the_pile"));
    let root = folder.path().join("image");
    let top = heaptap(&["top", "--sysroot", root.to_str().unwrap()], &[&dump]);
    assert!(text(&top).contains("grow_the_pile") && text(&top).contains("main"), "{}", text(&top));
}

/// A tapped process that waits; killed at the end of the test.
struct Waiting(Child);

impl Waiting {
    fn start(program: &Path, folder: &Folder) -> Waiting {
        let mut command = Command::new(program);
        under_tap(&mut command, &format!("prof:true,lg_prof_sample:10,{HOWEVER_SHORT}"), folder.path());
        let mut child = command.arg("wait").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        Waiting(child)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_library_that_was_deleted_is_read_from_the_process_that_still_has_it() {
    let folder = Folder::new("deleted");
    let program = build(&folder);
    let process = Waiting::start(&program, &folder);
    fs::remove_file(folder.path().join("libpile.so")).unwrap();
    let pid = process.0.id().to_string();
    let link = fs::read_dir(format!("/proc/{pid}/map_files")).and_then(|mut entries| entries.next().transpose());
    if !link.is_ok_and(|link| link.is_some_and(|link| fs::File::open(link.path()).is_ok())) {
        support::skip("/proc/PID/map_files may not be followed here");
        return;
    }
    let top = heaptap(&["top"], &[Path::new(&pid)]);
    assert!(text(&top).contains("grow_the_pile") && text(&top).contains("inner"), "{}", text(&top));
}

#[test]
fn a_pack_opens_where_nothing_of_the_program_is_left() {
    let folder = Folder::new("pack");
    let dump = dump_of(&build(&folder), &folder);
    let pack = folder.path().join("x.heaptap.tgz");
    let made = heaptap(&["pack", "-o", pack.to_str().unwrap()], &[&dump]);
    assert!(made.status.success() && text(&made).contains("heaptap report"), "{}", text(&made));
    let here = heaptap(&["report", "--json"], &[&dump]);
    for name in ["heap", "libpile.so", "pile.c"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    fs::rename(&dump, folder.path().join("gone")).unwrap();
    let there = heaptap(&["report", "--json"], &[&pack]);
    let json = |output: &Output| -> serde_json::Value { serde_json::from_slice(&output.stdout).unwrap() };
    let (here, there) = (json(&here), json(&there));
    for key in ["bytes", "objects", "stacks", "process", "sites"] {
        assert_eq!(here[key], there[key], "{key}");
    }
    let source = module(&modules(&[&pack], &[]), "libpile.so")["source"].clone();
    assert_eq!(source, "recorded in the pack: symbol table");
    every_command_reads(&pack, &folder);
    // Stock tools get what they know.
    run("tar", &["-xzf", pack.to_str().unwrap()], folder.path());
    if have_jeprof() {
        let dump = collect_dumps(&folder.path().join("dumps")).pop().unwrap();
        let sum: u64 = jeprof_text(&cli(), &Dump { ..dump }).iter().map(|row| row.flat).sum();
        let live = there["bytes"].as_f64().unwrap();
        assert!((sum as f64 / live - 1.0).abs() < 0.01, "{sum} {live}");
    }
    let again = heaptap(&["pack", "-o", "/dev/null"], &[&pack]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again).contains("in a pack already"));
}

fn every_command_reads(pack: &Path, folder: &Folder) {
    let page = folder.path().join("x.html");
    let commands: [&[&str]; 7] = [
        &["report"],
        &["top"],
        &["tree"],
        &["callers", "grow_the_pile"],
        &["convert", "--to", "folded"],
        &["convert", "--to", "json"],
        &["flame", "-o", page.to_str().unwrap()],
    ];
    for command in commands {
        let output = heaptap(command, &[pack]);
        assert!(output.status.success(), "{command:?}: {}", text(&output));
        assert!(command[0] == "flame" || text(&output).contains("grow_the_pile"), "{command:?}: {}", text(&output));
    }
    let info = heaptap(&["info"], &[pack]);
    assert!(text(&info).contains("x.heaptap.tgz/dumps/"), "{}", text(&info));
    assert!(heaptap(&["diff"], &[pack, pack]).status.success());
}

#[test]
fn a_damaged_pack_gives_what_is_whole_and_says_so() {
    let folder = Folder::new("torn");
    let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dumps/shop");
    let pack = folder.path().join("whole.tgz");
    assert!(heaptap(&["pack", "-o", pack.to_str().unwrap()], &[&shop]).status.success());
    let whole = fs::read(&pack).unwrap();
    let torn = folder.path().join("torn.tgz");
    fs::write(&torn, &whole[..whole.len() - 40]).unwrap();
    let report = heaptap(&["report"], &[&torn]);
    assert!(report.status.success() && text(&report).contains("a damaged pack"), "{}", text(&report));
}

#[test]
fn a_perf_map_names_the_code_that_has_no_file() {
    let folder = Folder::new("perf-map");
    let dump = "heap_v2/1024\n  t*: 10: 10240 [0: 0]\n@ 0x7f0000001010 0x7f0000002010 0x7f0000003010\n  t*: 10: 10240 [0: 0]\n\n\
        MAPPED_LIBRARIES:\n7f0000000000-7f0000100000 rwxp 00000000 00:00 0 \n";
    let path = folder.write("jeprof.4711.0.f.heap", dump);
    assert!(text(&heaptap(&["top"], &[&path])).contains("[anonymous code]"));
    folder.write(
        "perf-4711.map",
        "7f0000001000 100 LazyCompile:*decode /srv/app.js:7\n7f0000002000 100 Lcom/shop/Catalog;::unpack\n",
    );
    let named = heaptap(&["top"], &[&path]);
    assert!(text(&named).contains("LazyCompile:*decode /srv/app.js:7"), "{}", text(&named));
    assert!(text(&named).contains("com.shop.Catalog.unpack"), "{}", text(&named));
    let source = modules(&[&path], &[])[0]["source"].clone();
    assert!(source.as_str().unwrap().ends_with("perf-4711.map"), "{source}");
    let other = folder.write("other.map", "7f0000001000 3000 everything\n");
    let named = heaptap(&["top", "--perf-map", other.to_str().unwrap()], &[&path]);
    assert!(text(&named).contains("everything") && !text(&named).contains("unpack"), "{}", text(&named));
}

#[test]
fn lines_come_from_debug_information_and_its_damage_costs_lines_only() {
    let folder = Folder::new("lines");
    let program = build(&folder);
    let dump = dump_of(&program, &folder);
    let lines = heaptap(&["report", "--lines", "--json"], &[&dump]);
    let report: serde_json::Value = serde_json::from_slice(&lines.stdout).unwrap();
    let frame = &report["sites"][0]["frames"][0];
    assert!(frame["file"].as_str().unwrap().ends_with("pile.c") && frame["line"].as_u64() == Some(2), "{frame}");

    let library = folder.path().join("libpile.so");
    let whole = fs::read(&library).unwrap();
    let sections = Command::new("readelf").args(["-SW"]).arg(&library).output().unwrap();
    let sections = String::from_utf8(sections.stdout).unwrap();
    let mut random = 7u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for round in 0..24 {
        let mut bytes = whole.clone();
        for name in [".debug_info ", ".debug_abbrev ", ".debug_line ", ".debug_str ", ".debug_aranges "] {
            let Some((offset, size)) = section(&sections, name) else { continue };
            for _ in 0..1 + round {
                bytes[offset + next(size)] = [0, 0xff, 0x7f, 0x80][next(4)] ^ next(256) as u8;
            }
        }
        fs::write(&library, &bytes).unwrap();
        let output = heaptap(&["top", "--lines"], &[&dump]);
        assert!(output.status.success(), "round {round}: {}", text(&output));
        assert!(text(&output).contains("main"), "round {round}: {}", text(&output));
    }
}

/// Offset and size of a section in `readelf -SW`'s table.
fn section(table: &str, name: &str) -> Option<(usize, usize)> {
    let line = table.lines().find(|line| line.contains(name))?;
    let mut words = line.split(name).nth(1)?.split_whitespace().skip(2);
    let hex = |word: &str| usize::from_str_radix(word, 16).ok();
    Some((hex(words.next()?)?, hex(words.next()?)?))
}
