//! What was handed over for sending: each dump once, each life's end once, over restarts of the agent.
//!
//! One line each: its time, and `dump <modified, ns> <bytes> <name>` or `life <token>`. A dump is known by its name,
//! length and time rather than by its folder: the same volume is mounted here and there. Dumps that are older than the
//! engine takes are never sent, so their lines go.

use crate::wire::whole_file;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

const FILE: &str = "cursor";
/// What the first line says.
const HEAD: &str = "heaptap push cursor 1";

/// What is known by the file.
#[derive(Debug)]
pub(crate) struct Cursor {
    path: PathBuf,
    /// What it is, and its time.
    done: BTreeMap<String, u64>,
}

/// The name of a dump in the cursor.
pub(crate) fn dump(name: &str, modified_ns: u64, bytes: u64) -> String {
    format!("dump {modified_ns} {bytes} {}", name.replace(['\n', '\r'], "?"))
}

/// The name of a life's end.
pub(crate) fn life(token: u64) -> String {
    format!("life {token:016x}")
}

impl Cursor {
    /// Reads the cursor of a state; none is an empty one.
    pub(crate) fn open(state: &Path) -> Result<Cursor> {
        let path = state.join(FILE);
        let text = match whole_file::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let done = text.lines().skip(1).filter_map(|line| {
            let (time, what) = line.split_once(' ')?;
            Some((what.to_owned(), time.parse().ok()?))
        });
        Ok(Cursor { path, done: done.collect() })
    }

    /// Whether it was handed over.
    pub(crate) fn has(&self, what: &str) -> bool {
        self.done.contains_key(what)
    }

    /// Notes that it is handed over, and forgets what is older than `oldest_ns`. If the file cannot be written, nothing
    /// is noted.
    pub(crate) fn note(&mut self, what: String, time_ns: u64, oldest_ns: u64) -> Result<()> {
        let before = self.done.insert(what.clone(), time_ns);
        let mut text = format!("{HEAD}\n");
        let kept = self.done.iter().filter(|(_, time)| **time >= oldest_ns);
        kept.for_each(|(what, time)| text += &format!("{time} {what}\n"));
        let written = whole_file::replace(&self.path, &mut |out| {
            out.write_all(text.as_bytes())?;
            out.sync_data()
        });
        if written.is_err() && before.is_none() {
            self.done.remove(&what);
        }
        written.with_context(|| format!("cannot write {}", self.path.display()))?;
        self.done.retain(|_, time| *time >= oldest_ns);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_noted_is_known_after_a_restart_until_it_is_too_old() {
        let state = std::env::temp_dir().join(format!("heaptap-cursor-{}", std::process::id()));
        fs::create_dir_all(&state).unwrap();
        let mut cursor = Cursor::open(&state).unwrap();
        let (first, second) = (dump("a b.1.0.f.heap", 5, 100), life(0xfeed));
        cursor.note(first.clone(), 5, 0).unwrap();
        cursor.note(second.clone(), 9, 0).unwrap();
        let mut cursor = Cursor::open(&state).unwrap();
        assert!(cursor.has(&first) && cursor.has(&second) && !cursor.has(&dump("a b.1.0.f.heap", 6, 100)));
        cursor.note(dump("c", 10, 1), 10, 6).unwrap();
        let cursor = Cursor::open(&state).unwrap();
        assert!(!cursor.has(&first) && cursor.has(&second));
        fs::remove_dir_all(&state).unwrap();
        // A full disk: it was not noted, so it is tried again.
        let mut cursor = Cursor::open(&state).unwrap();
        assert!(cursor.note(first.clone(), 5, 0).is_err() && !cursor.has(&first));
    }
}
