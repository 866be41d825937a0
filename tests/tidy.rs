//! Promises about the tree and the artefact, each a test: who imports whom, what the preload exports and
//! needs, which crates it holds, and where unsafe code and statics may stand.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The floors of the tap, lowest first: a module imports only those named before it.
const TAP: &[&str] = &[
    "os",
    "own_memory",
    "backend",
    "stack",
    "guard",
    "sampler",
    "governor",
    "settings",
    "triggers",
    "control",
    "store",
    "unwind",
    "jvm",
    "dump",
    "profiler",
    "rounds",
    "keeper",
    "lifecycle",
    "mallctl",
    "slow",
    "exports",
];
/// The floors of the CLI, lowest first.
const CLI: &[&str] = &["profile", "symbolize", "analyze", "render", "attach", "commands"];
/// Where unsafe code may stand, below `src/`.
const UNSAFE: &[&str] = &[
    "cli/attach/child.rs",
    "tap/backend",
    "tap/control.rs",
    "tap/exports",
    "tap/jvm/",
    "tap/keeper.rs",
    "tap/lifecycle/",
    "tap/mallctl.rs",
    "tap/os/",
    "tap/own_memory.rs",
    "tap/profiler/scratch.rs",
    "tap/settings.rs",
    "tap/slow.rs",
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
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Names that follow `prefix` in a text: `super::a`, and `super::{a, b::c}`.
fn names_after(prefix: &str, text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        if text[..at].ends_with("super::") {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        let inside = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap(),
            None => rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap(),
        };
        let first = |item: &str| item.trim().split("::").next().unwrap().split(' ').next().unwrap().to_owned();
        names.extend(inside.split(',').map(first).filter(|name| name != "super"));
    }
    names
}

/// What breaks the rule "only modules named before it" in one wing.
fn upward_imports(wing: &str, floors: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in sources(&format!("src/{wing}")) {
        let module = file.split(['/', '.']).next().unwrap();
        let Some(floor) = floors.iter().position(|name| *name == module) else {
            assert!(
                file == "mod.rs" || file == "main.rs",
                "src/{wing}/{file} belongs to no floor: name it in tests/tidy.rs"
            );
            continue;
        };
        let depth = file.matches('/').count() + usize::from(!file.ends_with("mod.rs"));
        let code = code(&text);
        let wing_prefix = format!("crate::{wing}::");
        let up = "super::".repeat(depth.max(1));
        for name in names_after(&wing_prefix, &code).into_iter().chain(names_after(&up, &code)) {
            if floors.iter().position(|other| *other == name).is_some_and(|other| other > floor) {
                found.push(format!("src/{wing}/{file} imports {name}"));
            }
        }
    }
    found
}

#[test]
fn imports_go_down_only() {
    let mut found = upward_imports("tap", TAP);
    found.extend(upward_imports("cli", CLI));
    for (file, text) in sources("src/wire") {
        let code = code(&text);
        found.extend(
            ["crate::tap", "crate::cli"].iter().filter(|up| code.contains(*up)).map(|up| format!("{file}: {up}")),
        );
    }
    for (file, text) in sources("src/tap") {
        found.extend(code(&text).contains("crate::cli").then(|| format!("src/tap/{file} imports the CLI")));
    }
    for (file, text) in sources("src/cli") {
        found.extend(code(&text).contains("crate::tap").then(|| format!("src/cli/{file} imports the tap")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_import_check_sees_an_upward_import() {
    assert_eq!(
        names_after("super::", "use super::super::x; use super::keeper; use super::{a, b::c};"),
        ["keeper", "a", "b"]
    );
}

#[test]
fn nothing_links_the_rlib() {
    for folder in ["tests", "examples"] {
        for (file, text) in sources_if_any(folder) {
            let needle = ["use ", "heaptap"].concat();
            assert!(!text.contains(&needle), "{folder}/{file} would define malloc itself");
        }
    }
}

fn sources_if_any(folder: &str) -> Vec<(String, String)> {
    let any = walk(&root().join(folder)).iter().any(|path| path.extension().is_some_and(|extension| extension == "rs"));
    if any { sources(folder) } else { Vec::new() }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
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

#[test]
fn the_tap_needs_glibc_alone() {
    let dynamic = output("readelf", &["-d", support::library().to_str().unwrap()]);
    let needed: BTreeSet<&str> = dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| line.split(['[', ']']).nth(1))
        .collect();
    let allowed = ["libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libpthread.so.0", "libdl.so.2"];
    // A library built for tests unwinds from panics, and needs libgcc's unwinder for that; what ships does not.
    let for_tests = !is_release() && cfg!(panic = "unwind");
    let harmless = |name: &str| allowed.contains(&name) || for_tests && name == "libgcc_s.so.1";
    let strange: Vec<_> = needed.iter().filter(|name| !harmless(name)).collect();
    assert!(strange.is_empty() && !needed.is_empty(), "needs {needed:?}");
    assert!(dynamic.contains("STATIC_TLS"), "the thread block is not in static TLS any more");
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
