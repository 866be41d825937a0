//! What the black-box tests share: find the artefacts, run a program with and without the tap, collect
//! the dumps, ask stock jeprof.
//!
//! The artefacts are the ones that cargo has just built beside the test (`target/<profile>/`), unless
//! `HEAPTAP_LIB` and `HEAPTAP_CLI` name others (`scripts/test` names the release build: what ships is what
//! is tested). Nothing here links the crate: whoever did would define `malloc` in the test itself.
//! Every program runs in a folder of its own, with a deadline, and never inherits a preload from outside.

// Each test file is a crate of its own and uses its own part of this module.
#![allow(dead_code, unused_imports)]

pub(crate) mod churn;
mod dumps;
mod folder;
mod heap_v2;
pub(crate) mod java;
pub(crate) mod java_dump;
mod jeprof;
mod judges;
mod pprof;
mod schema;
mod subject;

use std::env;
use std::io::Write;
use std::path::PathBuf;

pub(crate) use dumps::{Dump, collect as collect_dumps};
pub(crate) use folder::Folder;
pub(crate) use heap_v2::{HeapV2, Stack};
pub(crate) use jeprof::{Row, have_jeprof, jeprof_collapsed, jeprof_text};
pub(crate) use judges::{chromium, npm_package};
pub(crate) use pprof::Pprof;
pub(crate) use schema::Schema;
pub(crate) use subject::{Outcome, Subject, under_tap, wait_or_kill};

/// Every allocation sampled, a dump at the end: the harshest setting a program can be run under.
pub(crate) const EVERY_ALLOCATION: &str = "prof:true,lg_prof_sample:0,prof_final:true";

/// Makes the shortest process leave its files, as jemalloc does (DESIGN: significant processes).
pub(crate) const HOWEVER_SHORT: &str = "prof_min_seconds:0,prof_min_bytes:0";

/// The preload library under test.
pub(crate) fn library() -> PathBuf {
    artefact("HEAPTAP_LIB", "libheaptap.so")
}

/// The command-line program under test.
pub(crate) fn cli() -> PathBuf {
    artefact("HEAPTAP_CLI", "heaptap")
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

/// The file that `variable` names, else `name` where cargo puts it: `target/<profile>/deps/` for a library
/// that was built for a test, `target/<profile>/` for a program. The test itself lies in the former.
fn artefact(variable: &str, name: &str) -> PathBuf {
    let named = env::var_os(variable).map(PathBuf::from);
    let path = named.or_else(|| beside_the_test(name)).filter(|path| path.is_file());
    let path = path.unwrap_or_else(|| panic!("no {name}: build it first, or let {variable} name it"));
    path.canonicalize().unwrap_or(path)
}

/// `name` in the folder of the running test, or in the one above.
fn beside_the_test(name: &str) -> Option<PathBuf> {
    let test = env::current_exe().ok()?;
    test.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file())
}
