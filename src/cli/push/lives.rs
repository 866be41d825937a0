//! The lives that are followed: found in `/proc` and on tmpfs, held open, and missed when they end.
//!
//! A region stays readable through its open file after its process, its container and its name are gone. So an end is
//! read whole whatever it was, if it is seen within a second or two; what is missed is at most the memory of one
//! region, for that long.

use crate::cli::analyze::gauges::Findings;
use crate::cli::attach::discovery::{self, Found};
use crate::cli::attach::openat;
use crate::cli::attach::process::Process;
use crate::cli::open;
use crate::cli::send::labels;
use crate::wire::identity::Identity;
use crate::wire::liveness::Liveness;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Instant;

/// Owner and token.
pub(super) type Key = (u32, u64);

/// One life.
#[derive(Debug)]
pub(super) struct Life {
    /// Where its profile is.
    pub(super) found: Found,
    /// Its region. Mirrors are replaced whenever they are written, so none is held.
    file: Option<File>,
    /// The kernel's word on its memory, held open: it speaks of this process alone, whoever gets its pid.
    memory: Option<File>,
    /// Times of the first and last profile that was handed over, nanoseconds since 1970.
    pub(super) sent: Option<(u64, u64)>,
    /// Whether its end was handed over, as a dump.
    pub(super) is_over: bool,
    /// What its environment and its control group say that labels want to know: at its end nobody can ask.
    pub(super) told: BTreeMap<String, String>,
    /// The last verdict, and when the next one is due.
    pub(super) judged: Option<(Findings, Instant)>,
}

impl Life {
    fn of(found: Found, names: &[String]) -> Life {
        let is_mirror = Identity::of_mirror(&found.path).is_some();
        let file = (!is_mirror).then(|| openat::open(&found.path, false).ok()).flatten();
        let memory = found.process.and_then(|pid| open::kernel_file(&Process { pid }.path("statm")).ok());
        let told = found.process.map_or_else(BTreeMap::new, |pid| told(Process { pid }, names));
        Life { found, file, memory, sent: None, is_over: false, told, judged: None }
    }

    /// Who it is among all.
    pub(super) fn key(&self) -> Key {
        (self.found.owner, self.found.token)
    }

    /// Its region, if that is held.
    pub(super) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// One small read as long as it lives.
    fn is_gone(&self) -> bool {
        let Some(pid) = self.found.process else { return discovery::of_file(&self.found.path).is_dead() };
        // Where the main thread alone has ended, the others show what is mapped.
        !self.memory.as_ref().is_some_and(has_memory) && discovery::maps(pid).map_or(true, |maps| maps.is_empty())
    }
}

/// Whether the process of a `statm` has memory; one that ended has none, also while nobody has waited for it.
fn has_memory(statm: &File) -> bool {
    let mut bytes = [0; 2];
    statm.read_at(&mut bytes, 0).is_ok_and(|read| read == bytes.len() && bytes != *b"0 ")
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Lives {
    /// What labels want to know.
    names: Vec<String>,
    lives: BTreeMap<Key, Life>,
}

/// What a look at the machine brings.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Those that ended since the last one.
    pub(super) ended: Vec<Life>,
    /// Those that ended before we came, and left a region or a mirror.
    pub(super) dead: Vec<Found>,
}

impl Lives {
    /// None yet. `names`: variables that labels want to know, and `unit`.
    pub(super) fn new(names: Vec<String>) -> Lives {
        Lives { names, lives: BTreeMap::new() }
    }

    /// Looks through the machine.
    pub(super) fn look(&mut self, folders: &[PathBuf]) -> Look {
        let mut look = Look::default();
        let mut before = std::mem::take(&mut self.lives);
        for found in discovery::all(folders) {
            if found.process == Some(std::process::id()) {
                continue; // this command, where the variables are exported in a shell
            }
            let key = (found.owner, found.token);
            match (before.remove(&key), found.is_dead()) {
                // The region's path may lead through a thread's or another process's root now.
                (Some(life), false) => drop(self.lives.insert(key, Life { found, ..life })),
                (Some(life), true) => look.ended.push(dead(life)),
                (None, false) => drop(self.lives.insert(key, Life::of(found, &self.names))),
                (None, true) => look.dead.push(found),
            }
        }
        look.ended.extend(before.into_values().map(dead));
        look
    }

    /// Those that have ended, seen by a cheap look at each.
    pub(super) fn ended(&mut self) -> Vec<Life> {
        let gone: Vec<Key> = self.lives.iter().filter(|(_, life)| life.is_gone()).map(|(key, _)| *key).collect();
        gone.iter().filter_map(|key| self.lives.remove(key)).map(dead).collect()
    }

    /// Those that live, by pid: mostly in the order in which they began, and in the same one for the next agent.
    pub(super) fn all(&mut self) -> Vec<&mut Life> {
        let mut all: Vec<_> = self.lives.values_mut().collect();
        all.sort_by_key(|life| (life.found.process, life.found.pid));
        all
    }

    /// The one of that token.
    pub(super) fn of_token(&mut self, token: u64) -> Option<&mut Life> {
        self.lives.iter_mut().find(|((_, its), _)| *its == token).map(|(_, life)| life)
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.lives.len()
    }
}

fn dead(mut life: Life) -> Life {
    (life.found.state, life.found.process) = (Liveness::Dead, None);
    life
}

fn told(process: Process, names: &[String]) -> BTreeMap<String, String> {
    let value = |name: &String| match name.as_str() {
        labels::UNIT => process.container(),
        name => process.variable(name)?.into_string().ok().filter(|value| !value.is_empty()),
    };
    names.iter().filter_map(|name| Some((name.clone(), value(name)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_has_memory_until_it_ends() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let statm = open::kernel_file(&Process { pid: child.id() }.path("statm")).unwrap();
        assert!(has_memory(&statm));
        child.kill().unwrap();
        while has_memory(&statm) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!has_memory(&statm));
    }
}
