//! Promises about the tree and the artefact, each a test: who imports whom, what the preload exports and
//! needs, which crates it holds, and where unsafe code and statics may stand.

#[path = "tidy/imports.rs"]
mod imports;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The floors of the tap, lowest first: a file imports only from floors named before its own, or from its own.
const TAP: &[&str] = &[
    "hash",
    "os",
    "guard",
    "visit",
    "own_memory",
    "errand",
    "backend",
    "code_address",
    "stack",
    "sampler",
    "heap",
    "governor",
    "settings",
    "triggers",
    "store",
    "unwind",
    "jvm",
    "dump",
    "profiler",
    "keeper",
    "lifecycle",
    "prof_controls",
    "slow",
    "exports",
];
/// The floors of the CLI, lowest first.
const CLI: &[&str] =
    &["held", "inert", "open", "profile", "symbolize", "analyze", "render", "send", "attach", "push", "commands"];
/// Where unsafe code may stand, below `src/`.
const UNSAFE: &[&str] = &[
    "cli/attach/capability.rs",
    "cli/attach/child.rs",
    "cli/attach/owner.rs",
    "cli/attach/peer_memory.rs",
    "cli/attach/room.rs",
    "cli/open.rs",
    "tap/backend",
    "tap/exports",
    "tap/heap/",
    "tap/jvm/",
    "tap/keeper/",
    "tap/lifecycle/",
    "tap/prof_controls/",
    "tap/os/",
    "tap/own_memory.rs",
    "tap/profiler/sampling.rs",
    "tap/profiler/scratch.rs",
    "tap/profiler/store_cell.rs",
    "tap/settings.rs",
    "tap/slow/",
    "tap/store/",
    "tap/unwind/",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder, with its path from there and its text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let top = root().join(folder);
    let mut folders = vec![top.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!files.is_empty(), "no sources below {}", top.display());
    files
}

/// The code of a file without its comments and its tests.
fn code(text: &str) -> String {
    let text = text.split("\nmod tests {").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Every file of the three wings, by its path below `src/`. Tests import what they like.
fn import_graph() -> imports::Graph {
    let files = sources("src").into_iter().filter(|(file, _)| file.contains('/') && !file.contains("/tests/"));
    imports::graph(&files.collect::<Vec<_>>())
}

/// Where a file stands: its wing, and the number of its floor in that; the lowest first.
fn floor(file: &str) -> (&str, usize) {
    let (wing, rest) = file.split_once('/').unwrap();
    let floors = match wing {
        "tap" => TAP,
        "cli" => CLI,
        _ => return (wing, 0),
    };
    let module = rest.split(['/', '.']).next().unwrap();
    // `mod.rs` of a wing lists its floors.
    let floor = if rest == "mod.rs" { Some(floors.len()) } else { floors.iter().position(|name| *name == module) };
    (wing, floor.unwrap_or_else(|| panic!("src/{file} belongs to no floor: name it in tests/tidy.rs")))
}

#[test]
fn imports_go_down_only() {
    let mut found = Vec::new();
    for (file, others) in &import_graph() {
        let (wing, here) = floor(file);
        let goes_down = |other: &&String| match floor(other) {
            (its, there) if its == wing => there <= here,
            (its, _) => its == "wire",
        };
        found.extend(others.iter().filter(|other| !goes_down(other)).map(|other| format!("{file} imports {other}")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// What two files need is a third below them.
#[test]
fn no_files_import_each_other_in_a_circle() {
    let circles = imports::circles(&import_graph());
    assert!(circles.is_empty(), "{circles:#?}");
}

/// A folder's `mod.rs` stands on top of its files.
#[test]
fn no_file_imports_what_its_own_mod_rs_defines() {
    let upward = imports::upward(&import_graph());
    assert!(upward.is_empty(), "{upward:#?}");
}

/// The lists above are the truth.
#[test]
fn no_head_gives_its_floor_a_number() {
    for (file, text) in sources("src") {
        let numbered = |line: &&str| line.starts_with("//! Floor ");
        assert_eq!(text.lines().find(numbered), None, "src/{file}");
    }
}

#[test]
fn the_import_check_sees_circles_and_upward_imports() {
    let files = [
        ("tap/mod.rs", "mod a; mod b; mod c; mod room;"),
        ("tap/a.rs", "use super::b::{self, deep::{Thing as Other}}; fn x() { b::y(\"crate::tap::c::z\") }"),
        ("tap/b.rs", "use crate::tap::a; // super::c::z\nfn y() { a::x(); } mod deep { struct Thing; }"),
        ("tap/c.rs", "fn z() { super::room::made() }\n#[cfg(test)]\nmod tests { use super::super::a::x; }"),
        ("tap/room/mod.rs", "mod one; mod two; pub(crate) use one::made; pub(crate) struct Whole;"),
        ("tap/room/one.rs", "pub(crate) fn made() {}"),
        ("tap/room/two.rs", "use super::{made, Whole};"),
    ];
    let graph = imports::graph(&files.map(|(file, text)| (file.to_owned(), text.to_owned())));
    let imports = |file: &str| graph[file].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!((imports("tap/a.rs"), imports("tap/b.rs")), (vec!["tap/b.rs"], vec!["tap/a.rs"]));
    // Through a re-export to the file behind it; the module that re-exports imports nothing.
    assert_eq!((imports("tap/c.rs"), imports("tap/room/mod.rs")), (vec!["tap/room/one.rs"], vec![]));
    assert_eq!(imports::circles(&graph), [["tap/a.rs", "tap/b.rs"].map(str::to_owned).into()]);
    assert_eq!(imports::upward(&graph), ["tap/room/two.rs → tap/room/mod.rs"]);
}

/// Readers refuse another layout at once: seeds of one would lead a fuzzer nowhere.
#[test]
fn the_fuzzers_begin_with_the_layout_in_force() {
    let layout = fs::read_to_string(root().join("src/wire/live/layout.rs")).unwrap();
    let version = layout.lines().find_map(|line| line.strip_prefix("pub(crate) const VERSION: u64 = "));
    let version: u64 = version.unwrap().trim_end_matches(';').parse().unwrap();
    for target in ["region", "mirror"] {
        let seed = fs::read(root().join(format!("tests/fuzz/seeds/{target}/java.live"))).unwrap();
        let word = u64::from_ne_bytes(seed[8..16].try_into().unwrap());
        assert_eq!(word, version, "{target}: make the seeds anew (tests/fuzz/seeds.py target/release)");
    }
}

/// What linked the tap as a Rust library would define malloc itself.
#[test]
fn the_tap_is_no_rust_library() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("\ncrate-type = [\"cdylib\"]\n"));
}

#[test]
fn unsafe_code_stands_where_it_may() {
    for wing in ["tap", "cli", "wire"] {
        for (file, text) in sources(&format!("src/{wing}")) {
            let name = format!("{wing}/{file}");
            let code = code(&text);
            let is_unsafe = code.contains("allow(unsafe_code)") || code.contains("unsafe {");
            let may = UNSAFE.iter().any(|place| name.starts_with(place));
            assert!(!is_unsafe || may || name.contains("/tests"), "{name} opens unsafe code");
        }
    }
}

/// Where the CLI opens files by itself: the opener, and what the kernel keeps in `/proc` of a process.
const OPENS: &[&str] = &[
    "open.rs",
    "attach/jvm.rs",
    "attach/program.rs",
    "attach/discovery.rs",
    "attach/memory.rs",
    "attach/process.rs",
    "attach/region.rs",
    "commands/info.rs",
    "commands/ps.rs",
    "commands/status.rs",
];

/// A path that a profile, a process or a folder names goes through one opener, and words go to stderr one way.
#[test]
fn the_cli_opens_files_and_speaks_by_one_way() {
    let opens = ["File::open(", "OpenOptions", "fs::read(", "fs::read_to_string(", "File::create", "fs::write("];
    let mut found = Vec::new();
    for (file, text) in sources("src/cli") {
        let code = code(&text);
        if OPENS.contains(&file.as_str()) {
            // Only the opener opens what is not the kernel's.
            let is_proc = |line: &str| {
                ["/proc/", "/etc/passwd", ".path(\"", "\"environ\""].iter().any(|part| line.contains(part))
            };
            let reads = |line: &&str| line.contains("fs::read(") || line.contains("fs::read_to_string(");
            let strange = code.lines().filter(reads).filter(|line| file != "open.rs" && !is_proc(line));
            found.extend(strange.filter(|line| !line.contains("(&path)")).map(|line| format!("{file}: {line}")));
        } else {
            found.extend(opens.iter().filter(|call| code.contains(*call)).map(|call| format!("{file}: {call}")));
        }
        if code.contains("eprint") {
            found.push(format!("{file}: eprint"));
        }
        if code.contains("io::stderr()") && !["inert.rs", "open.rs", "commands/terminal.rs"].contains(&file.as_str()) {
            found.push(format!("{file}: stderr"));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Where visits happen, below `src/tap/`: what runs while the program allocates or frees.
const VISITS: &[&str] = &[
    "backend",
    "governor.rs",
    "guard.rs",
    "heap/",
    "jvm/",
    "profiler/capture.rs",
    "profiler/retire.rs",
    "profiler/sampling.rs",
    "profiler/scratch.rs",
    "profiler/stopwatch.rs",
    "sampler.rs",
    "slow/",
    "stack.rs",
    "store/",
    "unwind/",
    "visit.rs",
];

#[test]
fn a_visit_calls_of_libc_what_is_listed_and_nothing_that_waits() {
    let listed = lines("visit.txt");
    let mut found = Vec::new();
    for (file, text) in sources("src/tap").into_iter().filter(|(file, _)| !file.contains("/tests/")) {
        let code = code(&text);
        // Nobody asks the loader for its list, visit or not.
        let mut words = vec!["dl_iterate_phdr"];
        if VISITS.iter().any(|place| file.starts_with(place)) {
            words.extend(["std::fs", "std::env", "std::thread", "thread_local!", "dlsym", "dlopen("]);
            found.extend(libc_calls(&code).difference(&listed).map(|call| format!("{file}: libc::{call}")));
        }
        found.extend(words.iter().filter(|word| code.contains(*word)).map(|word| format!("{file}: {word}")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The functions of libc that are called by `libc::name(`.
fn libc_calls(code: &str) -> BTreeSet<String> {
    let calls = code.split("libc::").skip(1).filter_map(|rest| rest.split_once('('));
    calls
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'))
        .collect()
}

/// What makes an errand stands in it alone: the stack (which the rounds of the keeper have, too), the way around
/// jemalloc, and cancellation.
#[test]
fn the_parts_of_an_errand_are_used_by_errands_alone() {
    for (file, text) in sources("src/tap") {
        let code = code(&text);
        let is_part = ["errand.rs", "keeper/mod.rs", "os/spare_stack.rs", "own_memory.rs", "os/cancel.rs"]
            .contains(&file.as_str());
        let used = ["with_room(", "without_jemalloc(", "put_off(", "pthread_setcancelstate"];
        let found: Vec<_> = used.iter().filter(|word| !is_part && code.contains(*word)).collect();
        assert!(found.is_empty(), "src/tap/{file}: {found:?}");
    }
}

/// Tables cannot be wrapped.
#[test]
fn comments_end_before_column_120() {
    for folder in ["src", "tests"] {
        for (file, text) in sources(folder).into_iter().filter(|(file, _)| !file.contains("/target/")) {
            let mut comments = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//"));
            let long = comments.find(|(_, line)| line.chars().count() > 120 && !line.contains("//! |"));
            assert!(long.is_none(), "{folder}/{file}: {long:?}");
        }
    }
}

/// Links of our pages lead to files and headings that are there.
#[test]
fn links_of_the_pages_lead_somewhere() {
    let listed = output("git", &["ls-files", "--cached", "--others", "--exclude-standard", "*.md"]);
    let mut seen = 0;
    for page in listed.lines() {
        let text = fs::read_to_string(root().join(page)).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { root().join(page) } else { root().join(page).with_file_name(path) };
            assert!(target.exists(), "{page}: {link}");
            let is_heading = |line: &str| line.starts_with('#') && anchor(line) == heading;
            let is_there = heading.is_empty() || fs::read_to_string(&target).unwrap().lines().any(is_heading);
            assert!(is_there, "{page}: {link}");
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= 200, "the README has {lines} lines: long tables stand elsewhere");
}

/// What a heading is linked by.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

/// std's iterator over a folder panics where `closedir` is refused, as by a seccomp filter of the host's.
#[test]
fn the_tap_lists_folders_by_itself() {
    for (file, text) in sources("src/tap").into_iter().filter(|(file, _)| !file.contains("/tests/")) {
        assert!(!code(&text).contains("read_dir("), "src/tap/{file}");
    }
}

#[test]
fn statics_are_those_that_are_known() {
    let known: BTreeSet<String> = lines("statics.txt");
    let mut found = BTreeSet::new();
    for (file, text) in sources("src/tap") {
        if file.contains("/tests/") {
            continue;
        }
        let code = code(&text);
        let mut foreign = false;
        for line in code.lines() {
            foreign |= line.contains("extern \"C\" {");
            foreign &= line != "}" && line != "    }";
            let declaration = line.trim_start().trim_start_matches("pub(crate) ");
            if let Some(rest) = declaration.strip_prefix("static ").filter(|_| !foreign) {
                assert!(!rest.starts_with("mut "), "src/tap/{file} has a static mut");
                found.insert(format!("{file} {}", rest.split(':').next().unwrap()));
            }
        }
    }
    assert_eq!(found, known, "a new static needs a reason and a line in tests/tidy/statics.txt");
}

/// The non-empty lines of a checked-in list.
fn lines(list: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("tests/tidy").join(list)).unwrap();
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output().expect(program);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_tap_exports_what_it_promises_and_nothing_else() {
    let symbols = output("nm", &["-D", "--defined-only", support::library().to_str().unwrap()]);
    let exported: BTreeSet<String> =
        symbols.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect();
    assert_eq!(exported, lines("exports.txt"));
}

/// Whether the artefact under test is what `cargo build --release` makes.
fn is_release() -> bool {
    support::library().parent().is_some_and(|folder| folder.ends_with("release"))
}

/// What ships tells the truth: bad values come only from the build for tests (`scripts/build --faults`).
#[test]
fn the_release_injects_no_faults() {
    let holds = |file: &Path| fs::read(file).unwrap().windows(14).any(|bytes| bytes == b"HEAPTAP_FAULTS");
    assert!(!holds(&support::library()), "{} was built for fault injection", support::library().display());
    let with_faults = std::env::var_os("HEAPTAP_FAULTS_LIB").map(PathBuf::from).filter(|library| library.is_file());
    assert!(with_faults.is_none_or(|library| holds(&library)), "the build with faults is not known by its variable");
}

#[test]
fn the_tap_needs_glibc_alone() {
    let dynamic = output("readelf", &["-d", support::library().to_str().unwrap()]);
    let needed: BTreeSet<&str> = dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| line.split(['[', ']']).nth(1))
        .collect();
    // musl's loader takes these names for itself, and no other of glibc's.
    let allowed = ["libc.so.6", "libpthread.so.0", "libdl.so.2"];
    // A library built for tests unwinds from panics, and needs libgcc's unwinder for that; what ships does not.
    let for_tests = !is_release() && cfg!(panic = "unwind");
    let harmless = |name: &str| allowed.contains(&name) || for_tests && name == "libgcc_s.so.1";
    let strange: Vec<_> = needed.iter().filter(|name| !harmless(name)).collect();
    assert!(strange.is_empty() && !needed.is_empty(), "needs {needed:?}");
    assert!(dynamic.contains("STATIC_TLS"), "the thread block is not in static TLS any more");
}

/// Names with an underscore that musl has, too.
const OF_BOTH_LIBCS: &[&str] = &["__cxa_atexit", "__cxa_finalize", "__errno_location", "__xpg_strerror_r"];

/// musl's loader ends a program whose preload wants a symbol that nobody defines, unless it is weak.
#[test]
fn what_only_glibc_has_is_weak() {
    if !is_release() {
        return;
    }
    let symbols = output("nm", &["-D", "--undefined-only", support::library().to_str().unwrap()]);
    let strong = symbols.lines().filter_map(|line| line.trim_start().strip_prefix("U ")?.split('@').next());
    let is_glibcs = |name: &&str| name.starts_with(['_']) || name.starts_with("gnu_");
    let strange: Vec<&str> = strong.filter(is_glibcs).filter(|name| !OF_BOTH_LIBCS.contains(name)).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[test]
fn the_tap_takes_from_libc_what_is_listed() {
    if !is_release() {
        // Without optimisation more of the standard library is linked in, and backtraces of panics.
        return;
    }
    let symbols = output("nm", &["-D", "--undefined-only", support::library().to_str().unwrap()]);
    let name = |line: &str| Some(line.split_whitespace().last()?.split('@').next()?.to_owned());
    let taken: BTreeSet<String> = symbols.lines().filter_map(name).collect();
    let strange: Vec<_> = taken.difference(&lines("libc.txt")).cloned().collect();
    assert!(strange.is_empty() && taken.contains("memcpy"), "{strange:?} want an entry in src/tap/os/entries");
}

/// The build of `cargo build` runs where it was built; what is shipped for older systems is built otherwise.
#[test]
fn the_tap_needs_no_newer_glibc_than_debian_12s() {
    let symbols = output("objdump", &["-T", support::library().to_str().unwrap()]);
    let version = |text: &str| {
        let mut numbers = text.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    };
    let newest = symbols
        .match_indices("GLIBC_")
        .map(|(at, tag)| {
            version(symbols[at + tag.len()..].split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap())
        })
        .max();
    assert!(newest.is_some_and(|newest| newest <= (2, 36)), "{newest:?}");
}

#[test]
fn the_tap_is_small() {
    let stripped = std::env::temp_dir().join(format!("heaptap-tidy-{}.so", std::process::id()));
    output("strip", &["-o", stripped.to_str().unwrap(), support::library().to_str().unwrap()]);
    let bytes = fs::metadata(&stripped).unwrap().len();
    fs::remove_file(&stripped).unwrap();
    // A third of it is the initial value of the profiler: pools and caches that are mostly zeros.
    // Without link-time optimisation; with it 1.32 MB.
    let most = if is_release() { 2 << 20 } else { 4 << 20 };
    assert!(bytes < most, "{bytes} bytes stripped");
}

#[test]
fn the_tap_holds_the_crates_it_may() {
    let tree = output(
        &std::env::var("CARGO").unwrap_or("cargo".into()),
        &["tree", "--offline", "--no-default-features", "--edges", "normal", "--prefix", "none", "--format", "{p}"],
    );
    let crates: BTreeSet<String> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| *name != "heaptap")
        .map(str::to_owned)
        .collect();
    assert_eq!(crates, lines("crates.txt"), "a crate in the tap needs a reason and a line in tests/tidy/crates.txt");
}
