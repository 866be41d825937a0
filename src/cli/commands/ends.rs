//! `heaptap recover --wait`: watches tapped processes until one of them has come to its end, as the container beside a
//! server does. A process that ends well and leaves others alive is waited past: a server's workers come and go.

use crate::cli::attach::discovery::{self, Found};
use crate::cli::attach::worth::is_worth_a_file;
use crate::cli::attach::{child, memory};
use crate::wire::dump_name::{DumpKind, DumpName};
use crate::wire::liveness::Liveness;
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks: `kubectl describe` is to tell within five seconds.
const PAUSE: Duration = Duration::from_secs(1);

/// What happened to one of the processes.
pub(super) enum Event {
    /// It was killed, and its profile is left.
    Killed { found: Found, for_memory: bool },
    /// It ended by itself, and this is its final dump.
    Ended { dump: PathBuf },
    /// The kernel killed something in its control group for want of memory; it lives.
    OthersKilled { found: Found },
    /// We were asked to stop, and none of them lives.
    Nothing,
}

/// A process that is waited for.
struct Life {
    found: Found,
    prefix: Option<PathBuf>,
    kills: Option<u64>,
}

/// The processes that are waited for, as far as they were seen.
#[derive(Default)]
pub(super) struct Ends {
    living: BTreeMap<(u32, u64), Life>,
    /// Dead ones that are not worth a file.
    dismissed: BTreeSet<(u32, u64)>,
    last: Option<PathBuf>,
}

impl Ends {
    /// Waits for the next event. `look`: the processes that are meant, alive and dead; `folders`: where dumps may lie
    /// if they do not where the process wrote them, by its own words.
    pub(super) fn next(&mut self, look: &dyn Fn() -> Result<Vec<Found>>, folders: &[PathBuf]) -> Result<Event> {
        let signals = child::hold_signals()?;
        let mut is_asked_to_stop = false;
        loop {
            if let Some(event) = self.look(look()?, folders) {
                return Ok(event);
            }
            if is_asked_to_stop && self.living.is_empty() {
                return Ok(Event::Nothing);
            }
            is_asked_to_stop |= signals.pause(PAUSE);
        }
    }

    fn look(&mut self, seen: Vec<Found>, folders: &[PathBuf]) -> Option<Event> {
        let key = |found: &Found| (found.owner, found.token);
        let alive: Vec<_> = seen.iter().filter(|found| found.state != Liveness::Dead).map(key).collect();
        // What was alive and is no more, first: it has the counter of kills from before.
        for found in seen.iter().filter(|found| found.is_dead()) {
            if self.dismissed.contains(&key(found)) {
                continue;
            }
            let life = self.living.remove(&key(found));
            if is_worth_a_file(found) {
                let for_memory = life.is_some_and(|life| life.has_more_kills());
                return Some(Event::Killed { found: found.clone(), for_memory });
            }
            self.dismissed.insert(key(found));
        }
        for found in seen.into_iter().filter(Found::is_alive) {
            let life = self.living.entry(key(&found)).or_insert_with(|| Life::of(found));
            if life.has_more_kills() {
                life.kills = life.kills_now();
                return Some(Event::OthersKilled { found: life.found.clone() });
            }
        }
        let gone: Vec<_> = self.living.keys().filter(|key| !alive.contains(key)).copied().collect();
        for life in gone.iter().filter_map(|key| self.living.remove(key)) {
            self.last = life.final_dump(folders).or(self.last.take());
        }
        if self.living.is_empty() { self.last.take().map(|dump| Event::Ended { dump }) } else { None }
    }
}

impl Life {
    fn of(found: Found) -> Life {
        let prefix = discovery::claim(&found).ok().and_then(|claim| Some(claim.life()?.prefix));
        let mut life = Life { found, prefix, kills: None };
        life.kills = life.kills_now();
        life
    }

    fn kills_now(&self) -> Option<u64> {
        self.found.process.and_then(memory::kills)
    }

    /// A process that is gone has no control group that could be asked for: then it is not known.
    fn has_more_kills(&self) -> bool {
        self.kills.zip(self.kills_now()).is_some_and(|(before, now)| now > before)
    }

    /// The newest final dump of that process, where it wrote it or where that folder is seen from here.
    fn final_dump(&self, folders: &[PathBuf]) -> Option<PathBuf> {
        let prefix = self.prefix.as_deref()?;
        let name = prefix.file_name()?;
        let places = prefix.parent().map(Path::to_path_buf).into_iter().chain(folders.iter().cloned());
        let entries = places.filter_map(|place| place.read_dir().ok()).flatten().filter_map(Result::ok);
        let dumps = entries.filter_map(|entry| {
            let its = DumpName::parse(&entry.path())?;
            let is_its =
                its.pid == self.found.pid && its.kind == DumpKind::Final && its.prefix.file_name() == Some(name);
            is_its.then(|| (entry.metadata().and_then(|meta| meta.modified()).ok(), entry.path()))
        });
        dumps.max().map(|(_, path)| path)
    }
}
