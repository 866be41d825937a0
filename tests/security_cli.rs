//! What the CLI believes (`SECURITY.md`): paths that a profile names, files of other users, names that are printed,
//! results that are written. Each test is a sentence of that page.

mod support;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use support::churn::{CONF, Churn};
use support::{Folder, HOWEVER_SHORT, cli, needs, skip};

/// A user that is neither root nor the owner of anything.
const STRANGER: u32 = 64_321;
/// The user whose process was profiled.
const OWNER: u32 = 65_534;

/// Runs the CLI; status 124: it did not come to an end.
fn heaptap(arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["-k", "1", "180"]).arg(cli()).args(arguments).env("COLUMNS", "100");
    command.env_remove("LD_PRELOAD").env_remove("HEAPTAP_DIR").stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

fn is_root() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !root {
        skip("only root can make files of other users");
    }
    root
}

/// A dump with code in each of these files, and in no file.
fn dump(folder: &Folder, name: &str, libraries: &[&Path]) -> PathBuf {
    let mut stack = String::from("0x7f0000001010");
    let mut maps = String::from("7f0000000000-7f0000100000 rwxp 00000000 00:00 0 \n");
    for (number, path) in libraries.iter().enumerate() {
        let start = 0x7f10_0000_0000u64 + 0x1000_0000 * number as u64;
        stack += &format!(" {:#x}", start + 0x1011);
        maps += &format!("{start:x}-{:x} r-xp 00000000 08:01 7 {}\n", start + 0x800_0000, path.display());
    }
    folder.write(
        name,
        &format!(
            "heap_v2/1024\n  t*: 10: 10240 [0: 0]\n@ {stack}\n  t*: 10: 10240 [0: 0]\n\nMAPPED_LIBRARIES:\n{maps}"
        ),
    )
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_pipe_that_a_profile_names_is_not_opened() {
    let folder = Folder::new("pipes");
    let library = folder.path().join("libx.so");
    let sidecar = folder.path().join("x.java.so");
    let perf_map = folder.path().join("perf-4711.map");
    [&library, &sidecar, &perf_map].into_iter().for_each(|path| pipe(path));
    let dump = dump(&folder, "x.4711.0.f.heap", &[&library, &sidecar]);
    // Each waits until somebody reads, and would end if one had.
    let mut writers = [&library, &sidecar, &perf_map]
        .map(|path| Command::new("sh").args(["-c", "echo x > \"$0\""]).arg(path).spawn().unwrap());
    let pack = folder.path().join("x.tgz");
    let commands: [&[&str]; 4] = [&["report"], &["top", "--lines"], &["symbols"], &["pack", "-o", path_text(&pack)]];
    for command in commands {
        let output = heaptap(&[command, &[path_text(&dump)]].concat());
        assert!(output.status.code().is_some_and(|code| code < 2), "{command:?}: {}", text(&output));
    }
    for writer in &mut writers {
        let ended = writer.try_wait().unwrap();
        let _ = writer.kill();
        let _ = writer.wait();
        assert!(ended.is_none(), "somebody opened a pipe that a dump names");
    }
    // Without a writer, an open for reading waits for ever.
    let output = heaptap(&["report", path_text(&dump)]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_pipe_in_a_folder_is_not_waited_for_and_one_that_was_typed_is_read() {
    let folder = Folder::new("typed");
    let good = dump(&folder, "x.4711.0.f.heap", &[]);
    pipe(&folder.path().join("x.4711.1.f.heap"));
    let listed = heaptap(&["report", path_text(folder.path())]);
    assert!(listed.status.success() && text(&listed).contains("not a regular file"), "{}", text(&listed));
    let pattern = heaptap(&["report", path_text(&folder.path().join("*.heap"))]);
    assert!(pattern.status.success(), "{}", text(&pattern));
    if !needs("bash") {
        return;
    }
    let lines = [
        "\"$0\" top <(cat \"$1\")",
        "cat \"$1\" | \"$0\" top -",
        "cat \"$1\" | \"$0\" top /dev/stdin",
        "\"$0\" top /dev/stdin < \"$1\"",
        "(cat \"$1\" > \"$2\") & \"$0\" top \"$2\"; wait",
    ];
    let own = folder.path().join("own-pipe");
    pipe(&own);
    for line in lines {
        let mut command = Command::new("timeout");
        command.args(["-k", "1", "180", "bash", "-c", line]).arg(cli()).args([&good, &own]).env_remove("LD_PRELOAD");
        let output = command.output().unwrap();
        assert!(output.status.success() && text(&output).contains("15.8 KiB"), "{line}: {}", text(&output));
    }
    if is_root() {
        chown(&own, Some(STRANGER), None).unwrap();
        let output = heaptap(&["report", path_text(&own)]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output).contains(&format!("a pipe of user {STRANGER}")), "{}", text(&output));
    }
}

#[test]
fn a_file_that_is_nearly_all_holes_costs_nothing() {
    let folder = Folder::new("holes");
    let churn = Churn::start(&format!("{CONF},{HOWEVER_SHORT}"));
    churn.wait_for_note();
    let region = churn.regions().remove(0);
    // A region that calls itself a mirror (word 11), of four gigabytes.
    let mirror = folder.path().join("x.7.00000000000000ff.live");
    let copied = Command::new("cp").arg("--sparse=always").args([&region, &mirror]).status().unwrap();
    assert!(copied.success());
    fs::set_permissions(&mirror, Permissions::from_mode(0o600)).unwrap();
    let file = File::options().write(true).open(&mirror).unwrap();
    file.write_all_at(&1u64.to_ne_bytes(), 8 * 11).unwrap();
    file.set_len(4 << 30).unwrap();
    let output = heaptap(&["report", path_text(&mirror)]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("a mirror of that size is none of ours"), "{}", text(&output));
    // A dump, a library, and names of compiled code.
    let hollow = |name: &str, bytes: u64| {
        let path = folder.path().join(name);
        let mut file = File::create(&path).unwrap();
        file.write_all(b"\x7fELF\x02\x01").unwrap();
        file.set_len(bytes).unwrap();
        path
    };
    let output = heaptap(&["report", path_text(&hollow("hollow.heap", 1 << 40))]);
    assert!(output.status.code() == Some(2) && text(&output).contains("nearly all holes"), "{}", text(&output));
    hollow("perf-4711.map", 200 << 20);
    let library = hollow("libhollow.so", 1 << 40);
    let symbols = json(&heaptap(&["symbols", "--json", path_text(&dump(&folder, "x.4711.0.f.heap", &[&library]))]));
    assert!(symbols["modules"].to_string().contains("nearly all holes"), "{symbols:#}");
}

#[test]
fn names_of_compiled_code_are_believed_by_who_wrote_them() {
    if !is_root() {
        return;
    }
    let folder = Folder::new("perf-map");
    let dump = dump(&folder, "x.4711.0.f.heap", &[]);
    let map = folder.write("perf-4711.map", "7f0000001000 100 planted_name\n");
    chown(&dump, Some(OWNER), None).unwrap();
    for (owner, is_believed) in [(0, true), (OWNER, true), (STRANGER, false)] {
        chown(&map, Some(owner), None).unwrap();
        assert_eq!(text(&heaptap(&["top", path_text(&dump)])).contains("planted_name"), is_believed, "{owner}");
    }
    let symbols = heaptap(&["symbols", path_text(&dump)]);
    assert_eq!(symbols.status.code(), Some(1));
    assert!(text(&symbols).contains(&format!("belongs to user {STRANGER}")), "{}", text(&symbols));
    assert!(text(&heaptap(&["top", "--perf-map", path_text(&map), path_text(&dump)])).contains("planted_name"));
    // A link leads to whatever its owner may not read himself.
    let secret = folder.path().join("secret");
    fs::rename(&map, &secret).unwrap();
    chown(&secret, Some(0), None).unwrap();
    symlink(&secret, &map).unwrap();
    assert!(!text(&heaptap(&["top", path_text(&dump)])).contains("planted_name"));
}

#[test]
fn a_library_is_believed_by_its_build_id_or_by_its_owner() {
    if !is_root() {
        return;
    }
    let folder = Folder::new("library");
    let library = folder.path().join("libpile.so");
    fs::copy(std::env::current_exe().unwrap(), &library).unwrap();
    let dump = dump(&folder, "x.4711.0.f.heap", &[&library]);
    let module = |arguments: &[&str]| {
        let output = heaptap(&[&["symbols", "--json"], arguments, &[path_text(&dump)]].concat());
        let modules = json(&output)["modules"].as_array().unwrap().clone();
        let found = modules.into_iter().find(|module| module["path"] == path_text(&library)).unwrap();
        found["source"].as_str().unwrap().to_owned()
    };
    assert!(!module(&[]).starts_with("none"), "{}", module(&[]));
    chown(&library, Some(STRANGER), None).unwrap();
    assert!(module(&[]).contains(&format!("belongs to user {STRANGER}")), "{}", module(&[]));
    assert!(!module(&["--sysroot", "/"]).starts_with("none"));
    chown(&dump, Some(STRANGER), None).unwrap();
    assert!(!module(&[]).starts_with("none"));
    // Below a sysroot, links mean what they mean there.
    let root = folder.subfolder("image");
    let inside = folder.subfolder(&format!("image{}", folder.path().display()));
    symlink("/etc/hostname", inside.join("libpile.so")).unwrap();
    assert!(module(&["--sysroot", path_text(&root)]).contains("No such file"));
}

#[test]
fn a_debug_file_is_believed_by_its_owner_too() {
    if !is_root() || !needs("gcc") || !needs("objcopy") {
        return;
    }
    let folder = Folder::new("debug");
    let library = folder.path().join("libpile.so");
    let debug = folder.path().join("libpile.so.debug");
    let source =
        folder.write("pile.c", "static int inner(int n) { return n * 7; }\nint outer(int n) { return inner(n); }\n");
    let run = |program: &str, arguments: &[&Path]| {
        assert!(Command::new(program).args(arguments).status().unwrap().success(), "{program}");
    };
    let flags = ["-g", "-shared", "-fPIC", "-Wl,--build-id", "-o"].map(Path::new);
    run("gcc", &[&flags[..], &[&library, &source]].concat());
    run("objcopy", &[Path::new("--only-keep-debug"), &library, &debug]);
    run("strip", &[&library]);
    let dump = dump(&folder, "x.4711.0.f.heap", &[&library]);
    for (owner, is_believed) in [(0, true), (STRANGER, false)] {
        chown(&debug, Some(owner), None).unwrap();
        let symbols = json(&heaptap(&["symbols", "--json", path_text(&dump)]));
        let source = symbols["modules"].to_string();
        assert_eq!(source.contains("debug file "), is_believed, "{owner}: {source}");
    }
}

#[test]
fn a_dump_says_nothing_about_a_running_process_of_somebody_else() {
    let folder = Folder::new("running");
    let mut sleeper = Command::new("sleep").arg("60").env("HEAPTAP_DIR", "/secret-of-the-process").spawn().unwrap();
    let pid = sleeper.id();
    let dump_text = fs::read_to_string(dump(&folder, "plain", &[])).unwrap();
    let lying =
        folder.write(&format!("x.{pid}.0.f.heap"), &format!("{dump_text}# heaptap 1\n# pid: {pid}\n# reason: live\n"));
    let info = heaptap(&["info", path_text(&lying)]);
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    assert!(info.status.success() && !text(&info).contains("secret-of-the-process"), "{}", text(&info));
    if !is_root() {
        return;
    }
    // A program that is gone from the disk: its names come from the process, for a dump of the process's owner.
    let churn = Churn::start(&format!("{CONF},{HOWEVER_SHORT}"));
    churn.wait_for_note();
    let dump = PathBuf::from(churn.ask(&["dump", &churn.pid()]).trim());
    fs::remove_file(churn.folder.path().join("churn")).unwrap();
    let source = || {
        let modules = json(&heaptap(&["symbols", "--json", path_text(&dump)]))["modules"].as_array().unwrap().clone();
        let churn = modules.into_iter().find(|module| module["path"].as_str().unwrap().ends_with("/churn")).unwrap();
        churn["source"].as_str().unwrap().to_owned()
    };
    if source().starts_with("none") {
        skip("/proc/PID/map_files may not be followed here");
        return;
    }
    chown(&dump, Some(STRANGER), None).unwrap();
    assert!(source().starts_with("none"), "{}", source());
}

#[test]
fn a_pack_holds_no_file_of_others_that_a_dump_names() {
    let folder = Folder::new("sidecars");
    let secret = folder.path().join("secret");
    fs::copy(std::env::current_exe().unwrap(), &secret).unwrap();
    let (linked, own) = (folder.path().join("linked.java.so"), folder.path().join("own.java.so"));
    symlink(&secret, &linked).unwrap();
    fs::copy(&secret, &own).unwrap();
    let foreign = folder.path().join("foreign.java.so");
    let mut names = vec![linked.as_path(), &own];
    let root = is_root();
    if root {
        fs::copy(&secret, &foreign).unwrap();
        names.push(&foreign);
    }
    let dump = dump(&folder, "x.4711.0.f.heap", &names);
    if root {
        chown(&dump, Some(OWNER), None).unwrap();
        chown(&own, Some(OWNER), None).unwrap();
    }
    let pack = folder.path().join("x.tgz");
    assert!(heaptap(&["pack", "-o", path_text(&pack), path_text(&dump)]).status.success());
    let listed = Command::new("tar").arg("-tzf").arg(&pack).output().unwrap();
    let mut files: Vec<String> = String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect();
    files.retain(|name| name.starts_with("java/"));
    assert_eq!(files, ["java/own.java.so"]);
}

/// An archive of these members: name, kind, content.
fn archive(members: &[(&str, u8, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, kind, content) in members {
        let mut header = [0; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(100, "0000600\0");
        put(124, &format!("{:011o}\0", content.len()));
        put(136, "14760000000\0");
        put(148, "        ");
        put(156, std::str::from_utf8(&[*kind]).unwrap());
        put(157, if *kind == b'2' { "/etc/passwd" } else { "" });
        put(257, "ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(header);
        out.extend(content.bytes());
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn gzip(folder: &Folder, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    assert!(Command::new("gzip").arg("-f").arg(&path).status().unwrap().success());
    folder.path().join(format!("{name}.gz"))
}

#[test]
fn a_pack_leads_nowhere_and_does_not_fill_the_memory() {
    let folder = Folder::new("members");
    let text_of = |path: &Path| fs::read_to_string(path).unwrap();
    let dump = text_of(&dump(&folder, "plain.heap", &[]));
    let pack = archive(&[
        ("heaptap-pack", b'0', "heaptap-pack 1\n"),
        ("dumps/a\u{1b}[31m\u{202e}.1.0.f.heap", b'0', &dump),
        ("../out.2.0.f.heap", b'0', &dump),
        ("/etc/out.3.0.f.heap", b'0', &dump),
        ("dumps/link.4.0.f.heap", b'2', ""),
    ]);
    let pack = gzip(&folder, "hostile.tar", &pack);
    let info = heaptap(&["info", "--json", path_text(&pack)]);
    assert!(info.status.success(), "{}", text(&info));
    let files = json(&info)["files"].as_array().unwrap().clone();
    let paths: Vec<&str> = files.iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert!(paths.len() == 1 && paths[0].starts_with(path_text(&pack)), "{paths:?}");
    assert!(text(&info).contains("3 of its entries are no files in it"), "{}", text(&info));
    harmless(&info, "info");
    harmless(&heaptap(&["report", path_text(&pack)]), "report");

    let bomb = gzip(&folder, "bomb", &[b"heap_v2/1024\n".as_slice(), &vec![b'\n'; 64 << 20]].concat());
    let output = heaptap(&["report", path_text(&bomb)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("unpacks to more than 100 times its size"), "{}", text(&output));
}

/// Nothing that a terminal acts on, or that hides.
fn harmless(output: &Output, what: &str) {
    let hides = |c: char| "\u{61c}\u{feff}\u{ad}".contains(c) || ('\u{200b}'..='\u{200f}').contains(&c);
    let turns = |c: char| ('\u{2028}'..='\u{202e}').contains(&c) || ('\u{2060}'..='\u{206f}').contains(&c);
    for stream in [&output.stdout, &output.stderr] {
        let text = std::str::from_utf8(stream).expect("text is UTF-8");
        let harm = text.chars().find(|&c| c.is_control() && c != '\n' || hides(c) || turns(c));
        assert_eq!(harm, None, "{what}: {}", text.escape_debug());
    }
}

/// Part of a file's name, too.
const EVIL: &str = "e\u{1b}]0;owned\u{7}\u{1b}[2J\u{7f}\u{9b}31m\u{202e}\u{2066}\u{200b}\u{61c}\u{2028}l";

#[test]
fn names_do_nothing_to_a_terminal_wherever_they_come_from() {
    let folder = Folder::new("names");
    let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dumps/shop/shop.4711.2.f.heap");
    let whole = fs::read_to_string(shop).unwrap();
    let hostile = whole
        .replace("com/shop/Catalog unpack", &format!("com/shop/Catalog {EVIL}"))
        .replace("http-worker-1", EVIL)
        .replace("/srv/lib/libz.so.1.2.13", &format!("/srv/lib/{EVIL}.so"))
        .replace("/srv/jdk/bin/java", &format!("/srv/{EVIL}"))
        .replace("# reason: final", &format!("# reason: {EVIL}\n# colour: {EVIL}\n# lost_{EVIL}: 7"));
    // Its own name is hostile, and a line of it makes a warning.
    let name = format!("{EVIL}\nheaptap: forged.4711.0.f.heap");
    let path = folder.write(&name, &hostile.replacen('@', &format!("{EVIL} nonsense\n@"), 1));
    let page = folder.path().join("x.html");
    let picture = folder.path().join("x.svg");
    let pack = folder.path().join(format!("{EVIL}.tgz"));
    let commands: [&[&str]; 20] = [
        &["report", "--modules", "--threads"],
        &["report", "--by", "thread"],
        &["growth", "--all"],
        &["leaks"],
        &["top", "-n", "99"],
        &["tree", "--least", "0"],
        &["callers", "Catalog"],
        &["callers", EVIL],
        &["symbols"],
        &["info"],
        &["report", "--json"],
        &["top", "--json"],
        &["info", "--json"],
        &["symbols", "--json"],
        &["convert", "--to", "json"],
        &["convert", "--to", "speedscope"],
        &["convert", "--to", "folded"],
        &["flame", "-o", path_text(&page)],
        &["flame", "-o", path_text(&picture)],
        &["pack", "-o", path_text(&pack)],
    ];
    for command in commands {
        let output = heaptap(&[command, &[path_text(&path)]].concat());
        harmless(&output, &format!("{command:?}"));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!told.lines().any(|line| line.starts_with("heaptap: forged")), "{command:?}: {told}");
        if command.contains(&"--json") || command.contains(&"json") {
            // Escaped, not changed.
            let name = format!("com.shop.Catalog.{EVIL}");
            let names = serde_json::to_string(&name).unwrap();
            let is_named = ["symbols", "info"].contains(&command[0]) || json(&output).to_string().contains(&names);
            assert!(is_named, "{command:?}");
        }
    }
    harmless(&heaptap(&["report", "--modules", path_text(&pack)]), "a pack");
    harmless(&heaptap(&["report", &format!("/no/{EVIL}/file.heap")]), "an error");
    for made in [&page, &picture] {
        let text = fs::read_to_string(made).unwrap();
        assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{1b}', '\u{7f}']), "{}", made.display());
    }
}

#[test]
fn names_of_a_running_process_do_nothing_either() {
    // Program and dumps lie in a folder of that name.
    let churn = Churn::start_in(Folder::new(EVIL), &format!("{CONF},{HOWEVER_SHORT}"));
    churn.wait_for_note();
    let pid = churn.pid();
    for command in [&["status"][..], &["report", "--modules"], &["rss"], &["dump"], &["info"], &["symbols"]] {
        harmless(&heaptap(&[command, &[pid.as_str()]].concat()), command[0]);
    }
    harmless(&heaptap(&["ps"]), "ps");
}

#[test]
fn results_are_private_whole_and_never_take_the_place_of_something_else() {
    let folder = Folder::new("results");
    let dump = dump(&folder, "x.4711.0.f.heap", &[]);
    let write = |command: &[&str], path: &Path| {
        let mut line = Command::new("timeout");
        line.args(["-k", "1", "180", "sh", "-c", "umask 022; exec \"$0\" \"$@\""]).arg(cli());
        let output = line.args(command).arg("-o").args([path, &dump]).env_remove("LD_PRELOAD").output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", text(&output));
    };
    let commands: [(&[&str], &str); 6] = [
        (&["report"], "x.txt"),
        (&["report", "--json"], "x.json"),
        (&["flame"], "x.html"),
        (&["flame"], "x.svg"),
        (&["convert", "--to", "pprof"], "x.pb.gz"),
        (&["pack"], "x.tgz"),
    ];
    for (command, name) in commands {
        let path = folder.path().join(name);
        write(command, &path);
        assert_eq!(mode(&path), 0o600, "{name}");
        // Somebody decided otherwise.
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        write(command, &path);
        assert_eq!(mode(&path), 0o644, "{name}");
    }
    // One's own link stays, and leads to the result; somebody else's is refused.
    let link = folder.path().join("link.txt");
    symlink("behind.txt", &link).unwrap();
    for _ in 0..2 {
        write(&["report"], &link);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(folder.path().join("behind.txt")).unwrap().contains("15.8 KiB"));
    }
    let precious = folder.write("precious", "precious");
    if is_root() {
        let planted = folder.path().join("planted");
        symlink(&precious, &planted).unwrap();
        std::os::unix::fs::lchown(&planted, Some(65534), None).unwrap();
        let output = heaptap(&["report", "-o", path_text(&planted), path_text(&dump)]);
        assert!(text(&output).contains("a symbolic link of user 65534"), "{}", text(&output));
    }
    // What is on the way to a descriptor stays, too; what was there stays in front.
    let there = folder.subfolder("there");
    symlink("/proc/self/fd/1", there.join("out")).unwrap();
    let log = folder.write("log", "before\n");
    let to_log = File::options().append(true).open(&log).unwrap();
    let mut line = Command::new(cli());
    line.args(["report", "-o"]).args([&there.join("out"), &dump]).env_remove("LD_PRELOAD").stdout(to_log);
    assert!(line.status().unwrap().success());
    let told = fs::read_to_string(&log).unwrap();
    assert!(told.starts_with("before\n") && told.contains("15.8 KiB"), "{told}");
    assert!(fs::symlink_metadata(there.join("out")).unwrap().is_symlink());
    let manual = folder.subfolder("manual");
    symlink(&precious, manual.join("heaptap.1")).unwrap();
    assert!(heaptap(&["man", "-o", path_text(&manual)]).status.success());
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert!(fs::read_to_string(manual.join("heaptap.1")).unwrap().contains("heaptap"));
    // A pipe is written to.
    let own = folder.path().join("pipe");
    pipe(&own);
    let reader = Command::new("timeout").args(["180", "cat"]).arg(&own).stdout(Stdio::piped()).spawn().unwrap();
    write(&["report"], &own);
    assert!(String::from_utf8_lossy(&reader.wait_with_output().unwrap().stdout).contains("15.8 KiB"));
    assert!(fs::metadata(&own).unwrap().file_type().is_fifo());
    let output = heaptap(&["report", "-o", "/dev/stdout", path_text(&dump)]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("15.8 KiB"), "{}", text(&output));
    // And so is a device: a copy of /dev/null, which root could replace.
    if is_root() {
        let null = folder.path().join("null");
        let made = Command::new("mknod").arg(&null).args(["c", "1", "3"]).status().unwrap();
        if !made.success() || File::options().write(true).open(&null).is_err() {
            skip("no devices can be made here");
            return;
        }
        write(&["report"], &null);
        assert!(fs::symlink_metadata(&null).unwrap().file_type().is_char_device());
    }
}

#[test]
fn the_report_of_a_run_is_found_by_its_own_processes_only() {
    let folder = Folder::new("report");
    let dump = dump(&folder, "x.4711.0.f.heap", &[]);
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let libc = fs::read_to_string("/proc/self/maps").unwrap();
    let libc = libc.lines().find(|line| line.contains("/libc.so") || line.contains("/libc-2")).unwrap();
    let run = |script: &str| {
        let library = libc.split_whitespace().last().unwrap();
        heaptap(&["run", "--lib", library, "--", "sh", "-c", script, path_text(&dump)])
    };
    let looked = "stat -c '%a %n' \"$HEAPTAP_RUN_REPORT\" \"$(dirname \"$HEAPTAP_RUN_REPORT\")\"";
    let output = run(looked);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let places: Vec<(&str, &Path)> =
        told.lines().filter_map(|line| line.split_once(' ')).map(|(mode, path)| (mode, Path::new(path))).collect();
    let [(file_mode, file), (folder_mode, place)] = places[..] else { panic!("{told}") };
    let is_root = is_root();
    assert_eq!((file_mode, folder_mode), if is_root { ("622", "711") } else { ("600", "700") });
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(name.len() == 32 && name.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
    assert!(!file.exists() && !place.exists());
    let again = run(looked);
    assert!(!String::from_utf8_lossy(&again.stdout).contains(name), "the name can be guessed");
    if is_root && needs("setpriv") {
        // A service that gives root up goes on reporting.
        let output = run(&format!(
            "setpriv --reuid={OWNER} --regid={OWNER} --clear-groups sh -c 'echo \"$0\" >> \"$HEAPTAP_RUN_REPORT\"' \"$0\""
        ));
        assert!(text(&output).contains("One dump") && text(&output).contains(path_text(&dump)), "{}", text(&output));
    }
}
