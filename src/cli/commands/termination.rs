//! The verdict on a process that has ended, as one line where operators look: the termination log of a container, which
//! `kubectl describe pod` shows, or any file. It is appended: what the program itself left there stays.

use super::inputs::{Inputs, Opened};
use super::view::View;
use crate::cli::analyze::report::Report;
use crate::cli::inert::say;
use crate::cli::open;
use crate::cli::render::termination;
use crate::wire::dump_name::DumpName;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where Kubernetes reads a container's last words, unless its pod says otherwise.
const USUAL: &str = "/dev/termination-log";

/// That it ended by itself, in words.
pub(super) const ENDED: &str = "ended";

/// Where the line goes.
pub(crate) struct TerminationLog {
    path: PathBuf,
    is_asked_for: bool,
}

impl TerminationLog {
    /// The file that the user named, else the container's, if we are in one. `None`: nowhere.
    pub(super) fn new(given: Option<&Path>) -> Option<TerminationLog> {
        match given {
            Some(path) => Some(TerminationLog { path: path.to_path_buf(), is_asked_for: true }),
            None if Path::new(USUAL).exists() => Some(TerminationLog { path: USUAL.into(), is_asked_for: false }),
            None => None,
        }
    }

    /// Whether the user named it.
    pub(super) fn is_asked_for(&self) -> bool {
        self.is_asked_for
    }

    /// Writes what these dumps say of a process. `end`: how it ended, in words, and whether that was its own way. Where
    /// nobody asked for it, a good end without a finding leaves no word. What goes wrong is told: the end of a program
    /// must not depend on it.
    pub(super) fn write(&self, sources: &[PathBuf], end: &str, is_good: bool) {
        if let Err(error) = self.try_write(sources, end, is_good) {
            say(&format!("no verdict in {}: {error:#}", self.path.display()));
        }
    }

    fn try_write(&self, sources: &[PathBuf], end: &str, is_good: bool) -> Result<()> {
        let line = match newest(sources) {
            sources if sources.is_empty() => termination::without_dump(end),
            sources => {
                let Opened { series, modules } = Inputs { files: sources, ..Inputs::default() }.open()?;
                let report = Report::by(&series, &modules, View::default().rows());
                if !self.is_asked_for && is_good && !report.outlook.is_finding() {
                    return Ok(());
                }
                // Another process may have written its final dump in its place.
                let was_killed = report.dumps.last().is_some_and(|dump| dump.reason.as_deref() == Some("killed"));
                termination::line(&report, if was_killed && end == ENDED { "was killed" } else { end })
            }
        };
        let writing = || format!("cannot write to it as user {}", open::reader());
        let mut file = open::append(&self.path).with_context(writing)?;
        file.write_all(format!("{line}\n").as_bytes()).with_context(writing)
    }
}

/// The last dump of each process: it has the history of all before it.
fn newest(sources: &[PathBuf]) -> Vec<PathBuf> {
    let mut newest: BTreeMap<(PathBuf, u32), (u64, PathBuf)> = BTreeMap::new();
    let mut others = Vec::new();
    for path in sources {
        match DumpName::parse(path) {
            Some(name) => {
                let entry = newest.entry((name.prefix, name.pid)).or_insert_with(|| (name.seq, path.clone()));
                if entry.0 <= name.seq {
                    *entry = (name.seq, path.clone());
                }
            }
            None => others.push(path.clone()),
        }
    }
    newest.into_values().map(|(_, path)| path).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_dump_of_each_process_is_read() {
        let paths = ["/x.7.9.i9.heap", "/x.7.10.f.heap", "/x.8.0.f.heap", "/dev/shm/r"].map(PathBuf::from);
        assert_eq!(newest(&paths), ["/x.7.10.f.heap", "/x.8.0.f.heap", "/dev/shm/r"].map(PathBuf::from));
    }
}
