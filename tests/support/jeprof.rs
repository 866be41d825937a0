//! Stock jeprof (package libjemalloc-dev) as the independent reader of our dumps.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use super::{Dump, which};

/// One line of `jeprof --text --show_bytes`: what a function allocated itself, and with those it called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Bytes allocated by the function itself.
    pub(crate) flat: u64,
    /// Bytes allocated by it and below it.
    pub(crate) cumulative: u64,
    /// Its name as jeprof prints it.
    pub(crate) name: String,
}

impl Row {
    /// Columns: flat, share, running share, cumulative, share, name (which may hold blanks).
    fn from_line(line: &str) -> Option<Row> {
        let mut words = line.split_whitespace();
        let flat = words.next()?.parse().ok()?;
        let cumulative = words.nth(2)?.parse().ok()?;
        let name = words.skip(1).collect::<Vec<_>>().join(" ");
        Some(Row { flat, cumulative, name })
    }
}

/// True when jeprof can be asked; says so when not.
pub(crate) fn have_jeprof() -> bool {
    super::needs("jeprof")
}

/// `jeprof --text --show_bytes` of one dump, as rows, largest first.
pub(crate) fn jeprof_text(program: &Path, dump: &Dump) -> Vec<Row> {
    run(["--text", "--show_bytes"], program, dump).lines().filter_map(Row::from_line).collect()
}

/// `jeprof --collapsed` of one dump: one line a stack, outermost function first.
pub(crate) fn jeprof_collapsed(program: &Path, dump: &Dump) -> String {
    run(["--collapsed", "--show_bytes"], program, dump)
}

/// Runs jeprof untapped and insists that it succeeds.
fn run<const N: usize>(options: [&str; N], program: &Path, dump: &Dump) -> String {
    let jeprof = which("jeprof").expect("jeprof is in PATH: ask have_jeprof() first");
    let output = Command::new(&jeprof)
        .args(options)
        .args([program.as_os_str(), OsStr::new(&dump.path)])
        .env_remove("LD_PRELOAD")
        .output()
        .unwrap_or_else(|error| panic!("starting {}: {error}", jeprof.display()));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "jeprof {} failed: {complaint}", dump.path.display());
    String::from_utf8_lossy(&output.stdout).into_owned()
}
