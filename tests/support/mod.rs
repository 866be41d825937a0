//! What the black-box tests share: find the artefacts, run a program with and without the tap, collect
//! the dumps, ask stock jeprof.
//!
//! The artefacts are those of the test's own profile (`target/<profile>/`), unless `HEAPTAP_LIB` and `HEAPTAP_CLI`
//! name others (`scripts/test` names the release build: what ships is what is tested). cargo builds the command line
//! with the tests; the library, which nothing links, is built when the first test of a process asks for it.
//! Every program runs in a folder of its own, with a deadline, and never inherits a preload from outside.

// Each test file is a crate of its own and uses its own part of this module.
#![allow(dead_code, unused_imports)]

pub(crate) mod churn;
mod dumps;
pub(crate) mod engine;
mod folder;
mod group;
mod heap_v2;
pub(crate) mod java;
pub(crate) mod java_copy;
pub(crate) mod java_dump;
mod jeprof;
mod judges;
mod pprof;
mod schema;
mod subject;
pub(crate) mod talker;

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

pub(crate) use dumps::{Dump, collect as collect_dumps};
pub(crate) use folder::Folder;
pub(crate) use group::Group;
pub(crate) use heap_v2::{HeapV2, Stack};
pub(crate) use jeprof::{Row, have_jeprof, jeprof_collapsed, jeprof_text};
pub(crate) use judges::{chromium, npm_package, python_with};
pub(crate) use pprof::Pprof;
pub(crate) use schema::Schema;
pub(crate) use subject::{Outcome, Subject, under_tap, wait_or_kill};

/// Every allocation sampled, a dump at the end: the harshest setting a program can be run under.
pub(crate) const EVERY_ALLOCATION: &str = "prof:true,lg_prof_sample:0,prof_final:true";

/// Makes the shortest process leave its files, as jemalloc does (`profiler/life.rs`: significant processes).
pub(crate) const HOWEVER_SHORT: &str = "prof_min_seconds:0,prof_min_bytes:0";

/// The preload library under test.
pub(crate) fn library() -> PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| named("HEAPTAP_LIB").unwrap_or_else(built_library)).clone()
}

/// The command-line program under test.
pub(crate) fn cli() -> PathBuf {
    named("HEAPTAP_CLI").unwrap_or_else(|| env!("CARGO_BIN_EXE_heaptap").into())
}

/// True when a program of that name stands in `PATH`.
pub(crate) fn is_installed(program: &str) -> bool {
    which(program).is_some()
}

/// The absolute path of a program in `PATH`.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// Says aloud why a test does nothing, or not all: past the test harness, which hides what passing tests print.
/// `scripts/test` counts these lines.
pub(crate) fn skip(why: &str) {
    let _ = std::io::stderr().write_all(format!("skipped: {why}\n").as_bytes());
}

/// Whether a program is there, and a word if not, so that a test can say `if !needs("git") { return; }`.
pub(crate) fn needs(program: &str) -> bool {
    let there = is_installed(program);
    if !there {
        skip(&format!("{program} is not installed"));
    }
    there
}

/// The file that a variable names.
fn named(variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env::var_os(variable)?);
    Some(path.canonicalize().unwrap_or_else(|trouble| panic!("{variable} names {}: {trouble}", path.display())))
}

/// Has cargo build the library as this test was built, where nothing has changed in no time.
fn built_library() -> PathBuf {
    let test = env::current_exe().expect("the test knows its path");
    // target/<profile>/deps/<test>
    let above = |count: usize| test.ancestors().nth(count).expect("a test lies three folders deep").to_owned();
    let (profile, target) = (above(2), above(3));
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--lib", "--target-dir"]).arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo starts").success(), "the library could not be built");
    profile.join("libheaptap.so")
}
