//! Ordinary programs do not notice the tap: with every allocation sampled they print the same and end the
//! same way as without it, leave no file when they are short-lived, and leave a readable one when asked to.
//!
//! The programs that a server's start scripts are made of come first; the `ignored` ones (other language
//! runtimes, servers) run in the full mode of `scripts/test`, where they are installed.

mod support;

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use support::{EVERY_ALLOCATION, Folder, HOWEVER_SHORT, Outcome, Subject, needs, which};

/// The string of a usual configuration.
const DEFAULT: &str = "prof:true,lg_prof_interval:30,lg_prof_sample:17,prof_final:true";
/// Dumps all the time, where every allocation is sampled.
const DUMPS: &str = "lg_prof_interval:22";

/// Runs the subject plain, under the tap as users run it, and with everything on; then it leaves a final dump.
fn assert_unchanged(subject: &Subject) {
    let recorded = assert_same(subject);
    let dump = recorded.final_dump().expect("the process left a final dump");
    let (objects, bytes) = dump.totals();
    assert!(objects > 0 && bytes > 0, "{} is empty: {objects} objects, {bytes} bytes", dump.path.display());
}

/// The same, whatever dumps there are; what came of the run with everything on.
fn assert_same(subject: &Subject) -> Outcome {
    let plain = subject.run_plain();
    assert!(plain.status.success(), "it fails without the tap: {} {}", plain.status, plain.stderr);

    let tapped = subject.run_tapped(DEFAULT);
    assert_eq!(tapped.status, plain.status, "the exit status differs: {}", tapped.stderr);
    assert_eq!(tapped.stdout, plain.stdout, "stdout differs");
    // What lives for ten seconds is announced in one line.
    let strange: Vec<&str> = tapped.stderr.lines().filter(|line| !line.starts_with("heaptap: profiling pid")).collect();
    assert_eq!(strange.join("\n"), plain.stderr.trim_end(), "stderr differs");

    let recorded = subject.run_tapped(&format!("{EVERY_ALLOCATION},{HOWEVER_SHORT},{DUMPS}"));
    assert_eq!(recorded.status, plain.status, "the exit status differs: {}", recorded.stderr);
    assert_eq!(recorded.stdout, plain.stdout, "stdout differs");
    recorded
}

/// The subject `program script`, the script being a file of `tests/programs/`.
fn interpreter(program: &str, script: &str) -> Subject {
    Subject::new(program).args([script_path(script)])
}

/// The absolute path of a file of `tests/programs/`.
fn script_path(name: &str) -> String {
    format!("{}/tests/programs/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Compiles a C++ file of `tests/programs/`, untapped, and returns the program.
fn compile_cxx(folder: &Folder, source: &str) -> Subject {
    let program = folder.path().join("program");
    let status = Command::new("g++")
        .args(["-std=c++17", "-O1", "-pthread", "-o"])
        .arg(&program)
        .arg(script_path(source))
        .env_remove("LD_PRELOAD")
        .status()
        .expect("g++ starts");
    assert!(status.success(), "{source} does not compile");
    Subject::new(program)
}

#[test]
fn bash_is_unchanged() {
    assert_unchanged(&interpreter("bash", "words.bash"));
}

#[test]
fn coreutils_are_unchanged() {
    assert_unchanged(&interpreter("bash", "coreutils.bash"));
}

#[test]
fn python_is_unchanged() {
    if needs("python3") {
        // The real interpreter: a version manager's shim would be one more shell script.
        let python = if which("/usr/bin/python3").is_some() { "/usr/bin/python3" } else { "python3" };
        assert_unchanged(&interpreter(python, "everyday.py"));
    }
}

#[test]
fn perl_is_unchanged() {
    if needs("perl") {
        assert_unchanged(&interpreter("perl", "everyday.pl"));
    }
}

#[test]
fn git_is_unchanged() {
    if needs("git") {
        assert_unchanged(&interpreter("bash", "history.bash"));
    }
}

#[test]
fn gcc_is_unchanged() {
    if needs("gcc") {
        let source = script_path("sieve.c");
        assert_unchanged(&Subject::new("gcc").args(["-O2", "-Wall", "-save-temps=obj", "-o", "sieve", &source]));
        assert_unchanged(&Subject::new("bash").args(["-c", &format!("gcc -O2 -o sieve '{source}' && ./sieve")]));
    }
}

#[test]
fn a_cxx_program_is_unchanged() {
    if needs("g++") {
        let folder = Folder::new("cxx");
        assert_unchanged(&compile_cxx(&folder, "everyday.cpp"));
    }
}

#[test]
fn a_rust_program_is_unchanged() {
    let folder = Folder::new("rust");
    let program = folder.path().join("program");
    let compiler = std::env::var("RUSTC").unwrap_or("rustc".into());
    let compiled = Command::new(compiler)
        .args(["--edition", "2021", "-O", "-o"])
        .args([program.as_os_str(), script_path("everyday.rs").as_ref()])
        .env_remove("LD_PRELOAD")
        .status();
    assert!(compiled.expect("rustc starts").success(), "everyday.rs does not compile");
    assert_unchanged(&Subject::new(program));
}

#[test]
fn a_failing_program_keeps_its_exit_status() {
    let subject = Subject::new("bash").args(["-c", "echo out; echo err >&2; exit 42"]);
    let plain = subject.run_plain();
    assert_eq!(plain.status.code(), Some(42));
    subject.run_tapped(EVERY_ALLOCATION).assert_same_as(&plain);
}

#[test]
fn a_program_that_kills_itself_keeps_its_signal() {
    let subject = Subject::new("bash").args(["-c", "echo before; kill -TERM $$; echo after"]);
    let plain = subject.run_plain();
    assert!(plain.status.code().is_none(), "bash did not die of its signal: {}", plain.status);
    subject.run_tapped(EVERY_ALLOCATION).assert_same_as(&plain);
}

#[test]
fn stdin_reaches_the_program() {
    let subject = Subject::new("sort").stdin("pear\napple\nplum\n");
    assert_eq!(subject.run_plain().stdout, "apple\npear\nplum\n");
    assert_unchanged(&subject);
}

#[test]
#[ignore = "full mode: other language runtimes"]
fn ruby_is_unchanged() {
    if needs("ruby") {
        assert_unchanged(&interpreter("ruby", "everyday.rb"));
    }
}

#[test]
#[ignore = "full mode: other language runtimes"]
fn php_is_unchanged() {
    if needs("php") {
        assert_unchanged(&interpreter("php", "everyday.php"));
    }
}

#[test]
#[ignore = "full mode: other language runtimes"]
fn node_is_unchanged() {
    if needs("node") {
        assert_unchanged(&interpreter("node", "everyday.js"));
    }
}

#[test]
#[ignore = "full mode: other language runtimes"]
fn go_with_cgo_is_unchanged() {
    if needs("go") {
        let folder = Folder::new("go");
        let program = folder.path().join("program");
        let compiled = Command::new("go")
            .args([OsStr::new("build"), OsStr::new("-o"), program.as_os_str(), script_path("everyday.go").as_ref()])
            .envs([("CGO_ENABLED", "1"), ("GOFLAGS", "-mod=mod"), ("GOTOOLCHAIN", "local")])
            .env("GOCACHE", folder.subfolder("cache"))
            .env_remove("LD_PRELOAD")
            .status();
        assert!(compiled.expect("go starts").success(), "everyday.go does not compile");
        // Go ends its processes by a system call of its own, which nobody hears of: dumps on the way, none at the end.
        let recorded = assert_same(&Subject::new(program));
        assert!(recorded.dumps.iter().any(|dump| dump.pid == recorded.pid && dump.totals().0 > 0), "no dump");
    }
}

/// The compiler itself, and then what it has compiled under each collector.
#[test]
#[ignore = "full mode: other language runtimes"]
fn javac_and_a_jvm_with_three_collectors_are_unchanged() {
    if needs("javac") {
        let folder = Folder::new("java");
        let classes = folder.path().to_str().expect("temporary folders have plain names");
        // Debian's javac and java are the JDK's own programs, reached by links.
        let javac = ["-J-XX:-UsePerfData", "-d", classes, &script_path("Everyday.java")];
        assert_unchanged(&Subject::new("javac").args(javac));
        for collector in ["-XX:+UseSerialGC", "-XX:+UseParallelGC", "-XX:+UseG1GC"] {
            let java = [collector, "-Xmx256m", "-XX:-UsePerfData", "-cp", classes, "Everyday", "echo", "child"];
            assert_unchanged(&Subject::new("java").args(java));
        }
    }
}

/// Where the program's malloc is somebody else's, the tap says so and stands back; under an emulator it works.
#[test]
#[ignore = "full mode: instruments"]
fn valgrind_is_unchanged() {
    if needs("valgrind") && needs("g++") {
        let folder = Folder::new("valgrind");
        let program = compile_cxx(&folder, "everyday.cpp");
        for tool in ["memcheck", "none"] {
            let subject = Subject::new("valgrind").args(["-q", &format!("--tool={tool}")]).args([program.program()]);
            let plain = subject.run_plain();
            assert!(plain.status.success(), "it fails without the tap: {}", plain.stderr);
            let tapped = subject.run_tapped(DEFAULT);
            assert_eq!((tapped.status, &tapped.stdout), (plain.status, &plain.stdout), "{tool}: {}", tapped.stderr);
            let stands_back = tapped.stderr.contains("heaptap: this program has a malloc of its own");
            assert_eq!(stands_back, tool == "memcheck", "{}", tapped.stderr);
        }
    }
}

#[test]
#[ignore = "full mode: servers"]
fn postgresql_is_unchanged() {
    if Path::new("/usr/lib/postgresql").is_dir() {
        assert_unchanged(&interpreter("bash", "postgres.bash"));
    } else {
        eprintln!("skipped: PostgreSQL is not installed");
    }
}

#[test]
#[ignore = "full mode: servers"]
fn sqlite_is_unchanged() {
    if needs("sqlite3") {
        let script = "create table t(a integer primary key, b text);
            with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)
            insert into t select i, hex(i * 7919) from n;
            select count(*), sum(length(b)), max(b) from t;
            create index t_b on t(b); pragma integrity_check;\n";
        assert_unchanged(&Subject::new("sqlite3").args(["words.db"]).stdin(script));
    }
}

#[test]
#[ignore = "full mode: servers"]
fn redis_is_unchanged() {
    if needs("redis-server") {
        assert_unchanged(&interpreter("bash", "redis.bash"));
    }
}
