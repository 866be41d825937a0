//! Payloads that wait: on the disk, oldest first, within a bound.
//!
//! A file is named by the time of its profile. Before it is sent it is renamed to `.sending`: what bears that name
//! when the agent begins was on its way when an earlier one ended, may have arrived, and is not sent again. When the
//! bound is met the oldest goes. Where the disk takes nothing, a few payloads wait in memory.

use super::payload::Payload;
use crate::cli::open;
use crate::wire::whole_file;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const WAITING: &str = "push";
const SENDING: &str = "sending";
/// Bytes that wait in memory, at most.
const MOST_IN_MEMORY: u64 = 4 << 20;

/// What waits.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    most_bytes: u64,
    /// By time and number.
    waiting: BTreeMap<(u64, u64), Item>,
    bytes: u64,
    next: u64,
    /// Payloads that went because the bound was met.
    pub(crate) dropped: u64,
}

/// One that waits.
#[derive(Debug)]
struct Item {
    bytes: u64,
    /// Not on the disk.
    held: Option<Payload>,
}

/// One that was taken out to be sent.
#[derive(Debug)]
pub(crate) struct Taken {
    key: (u64, u64),
    is_held: bool,
    /// What is sent.
    pub(crate) payload: Payload,
}

impl Spool {
    /// Opens the spool in a folder, and makes that. Also: how many payloads an earlier agent was sending when it ended.
    pub(crate) fn open(folder: &Path, most_bytes: u64) -> Result<(Spool, u64)> {
        let cannot = || format!("cannot use {} as the spool", folder.display());
        DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(cannot)?;
        let (folder, waiting) = (folder.to_owned(), BTreeMap::new());
        let mut spool = Spool { folder, most_bytes, waiting, bytes: 0, next: 0, dropped: 0 };
        let mut unclear = 0;
        for entry in fs::read_dir(&spool.folder).with_context(cannot)? {
            let path = entry.with_context(cannot)?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            match (extension, key_of(&path)) {
                (Some(WAITING), Some(key)) => {
                    let bytes = path.metadata().map_or(0, |meta| meta.len());
                    spool.add(key, Item { bytes, held: None });
                }
                (Some(SENDING), Some(_)) => {
                    fs::remove_file(&path).with_context(cannot)?;
                    unclear += 1;
                }
                (Some("tmp"), _) => drop(fs::remove_file(&path)),
                _ => {}
            }
        }
        spool.next = spool.waiting.keys().map(|(_, number)| number + 1).max().unwrap_or(0);
        Ok((spool, unclear))
    }

    fn add(&mut self, key: (u64, u64), item: Item) {
        self.bytes += item.bytes;
        self.waiting.insert(key, item);
    }

    /// Payloads that wait, and their bytes.
    pub(crate) fn waiting(&self) -> (usize, u64) {
        (self.waiting.len(), self.bytes)
    }

    /// Names in the cursor of those that wait: an agent may have ended between putting and noting.
    pub(crate) fn keys(&self) -> Vec<(String, u64)> {
        let on_disk = self.waiting.iter().filter(|(_, item)| item.held.is_none());
        let read = on_disk.filter_map(|(key, _)| whole_file::read(&self.path(*key, WAITING)).ok());
        let heads = read.filter_map(|bytes| Some(Payload::of_bytes(&bytes)?.head));
        heads.filter_map(|head| Some((head.key?, head.time_ns))).collect()
    }

    /// Puts one on the disk; the oldest make room for it. Then `note` is done; if that fails, the payload goes again.
    pub(crate) fn put_and(&mut self, payload: &Payload, note: impl FnOnce() -> Result<()>) -> Result<()> {
        let key = self.put(payload)?;
        let noted = note();
        if noted.is_err() {
            self.remove(key);
        }
        noted
    }

    /// Puts one on the disk; the oldest make room for it.
    pub(crate) fn put(&mut self, payload: &Payload) -> Result<(u64, u64)> {
        let (key, file) = (self.key(payload), payload.to_bytes());
        let bytes = file.len() as u64;
        if bytes > self.most_bytes {
            bail!("{}: {bytes} bytes are more than the spool may hold", payload.head.what);
        }
        self.make_room(self.most_bytes - bytes);
        let path = self.path(key, WAITING);
        let written = whole_file::replace(&path, &mut |out| out.write_all(&file));
        written.with_context(|| format!("cannot write {}", path.display()))?;
        self.add(key, Item { bytes, held: None });
        Ok(key)
    }

    /// Keeps one in memory, where the disk takes nothing.
    pub(crate) fn hold(&mut self, payload: Payload) {
        let (key, bytes) = (self.key(&payload), payload.pprof.len() as u64);
        let most = MOST_IN_MEMORY.saturating_sub(bytes);
        while self.held_bytes() > most {
            let oldest = self.waiting.iter().find(|(_, item)| item.held.is_some()).map(|(key, _)| *key);
            let Some(oldest) = oldest else { break };
            self.forget(oldest);
        }
        self.add(key, Item { bytes, held: Some(payload) });
    }

    fn held_bytes(&self) -> u64 {
        self.waiting.values().filter(|item| item.held.is_some()).map(|item| item.bytes).sum()
    }

    fn key(&mut self, payload: &Payload) -> (u64, u64) {
        self.next += 1;
        (payload.head.time_ns, self.next - 1)
    }

    /// Takes the oldest out.
    pub(crate) fn take(&mut self) -> Option<Taken> {
        loop {
            let (key, item) = self.waiting.pop_first()?;
            self.bytes -= item.bytes;
            if let Some(payload) = item.held {
                return Some(Taken { key, is_held: true, payload });
            }
            let path = self.path(key, WAITING);
            let payload = whole_file::read(&path).ok().and_then(|bytes| Payload::of_bytes(&bytes));
            let is_marked = fs::rename(&path, self.path(key, SENDING)).is_ok();
            match payload.filter(|_| is_marked) {
                Some(payload) => return Some(Taken { key, is_held: false, payload }),
                // Damaged, or taken away by somebody.
                None => {
                    let _ = fs::remove_file(&path);
                    let _ = fs::remove_file(self.path(key, SENDING));
                    self.dropped += 1;
                }
            }
        }
    }

    /// The server did not take it: it waits again.
    pub(crate) fn put_back(&mut self, taken: Taken) {
        let bytes = taken.payload.to_bytes().len() as u64;
        let is_back = taken.is_held || fs::rename(self.path(taken.key, SENDING), self.path(taken.key, WAITING)).is_ok();
        if !is_back {
            self.dropped += 1;
            return;
        }
        self.add(taken.key, Item { bytes, held: taken.is_held.then_some(taken.payload) });
        self.make_room(self.most_bytes);
    }

    /// It is not to be sent any more.
    pub(crate) fn done(&mut self, taken: &Taken) {
        if !taken.is_held {
            let _ = fs::remove_file(self.path(taken.key, SENDING));
        }
    }

    fn make_room(&mut self, most: u64) {
        while self.bytes > most {
            let Some(oldest) = self.waiting.keys().next().copied() else { break };
            self.forget(oldest);
        }
    }

    fn forget(&mut self, key: (u64, u64)) {
        self.dropped += u64::from(self.remove(key));
    }

    fn remove(&mut self, key: (u64, u64)) -> bool {
        let Some(item) = self.waiting.remove(&key) else { return false };
        self.bytes -= item.bytes;
        if item.held.is_none() {
            let _ = fs::remove_file(self.path(key, WAITING));
        }
        true
    }

    fn path(&self, (time, number): (u64, u64), kind: &str) -> PathBuf {
        self.folder.join(format!("{time:020}-{number}.{kind}"))
    }
}

fn key_of(path: &Path) -> Option<(u64, u64)> {
    let (time, number) = path.file_stem()?.to_str()?.split_once('-')?;
    Some((time.parse().ok()?, number.parse().ok()?))
}

/// The folder of an agent's state: spool and cursor; no two agents share one.
#[derive(Debug)]
pub(crate) struct State {
    /// Where it is.
    pub(crate) folder: PathBuf,
    _lock: fs::File,
}

impl State {
    /// Makes the folder and takes it for this agent.
    pub(crate) fn open(folder: &Path) -> Result<State> {
        let cannot = || format!("cannot use {} for what is to be sent (--state)", folder.display());
        DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(cannot)?;
        let lock = open::append(&folder.join("lock")).with_context(cannot)?;
        if !crate::wire::liveness::lock::claim(&lock) {
            bail!("another agent uses {}: give each its own --state", folder.display());
        }
        Ok(State { folder: folder.to_owned(), _lock: lock })
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::Head;
    use super::*;

    struct Room(PathBuf);

    impl Room {
        fn new(name: &str) -> Room {
            let path = std::env::temp_dir().join(format!("heaptap-spool-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Room(path)
        }

        fn open(&self, most: u64) -> (Spool, u64) {
            Spool::open(&self.0, most).unwrap()
        }
    }

    impl Drop for Room {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn payload(time_ns: u64) -> Payload {
        let pprof = [vec![0x1f, 0x8b], vec![0; 98]].concat();
        Payload { head: Head::new(time_ns, Vec::new(), String::new()), pprof }
    }

    fn next(spool: &mut Spool) -> Option<u64> {
        let taken = spool.take()?;
        spool.done(&taken);
        Some(taken.payload.head.time_ns)
    }

    #[test]
    fn the_oldest_goes_first_also_after_a_restart() {
        let room = Room::new("order");
        let (mut spool, _) = room.open(1 << 20);
        for time in [3, 1, 2] {
            spool.put(&payload(time)).unwrap();
        }
        let taken = spool.take().unwrap();
        assert_eq!(taken.payload.head.time_ns, 1);
        spool.put_back(taken);
        drop(spool);
        let (mut spool, unclear) = room.open(1 << 20);
        assert_eq!((unclear, spool.waiting().0), (0, 3));
        spool.put(&payload(1)).unwrap();
        assert_eq!([(); 5].map(|()| next(&mut spool)), [Some(1), Some(1), Some(2), Some(3), None]);
        assert_eq!((spool.waiting(), fs::read_dir(&room.0).unwrap().count()), ((0, 0), 0));
    }

    #[test]
    fn what_was_on_its_way_when_the_agent_ended_is_not_sent_again() {
        let room = Room::new("sending");
        let (mut spool, _) = room.open(1 << 20);
        for time in [1, 2] {
            spool.put(&payload(time)).unwrap();
        }
        spool.take().unwrap();
        let (mut spool, unclear) = room.open(1 << 20);
        assert_eq!((unclear, next(&mut spool), next(&mut spool)), (1, Some(2), None));
    }

    #[test]
    fn the_oldest_make_room_for_the_newest() {
        let room = Room::new("bound");
        let one = payload(1).to_bytes().len() as u64;
        let (mut spool, _) = room.open(3 * one);
        for time in 1..=8 {
            spool.put(&payload(time)).unwrap();
        }
        assert_eq!((spool.dropped, spool.waiting()), (5, (3, 3 * one)));
        assert_eq!(fs::read_dir(&room.0).unwrap().count(), 3);
        let taken = spool.take().unwrap();
        spool.put(&payload(9)).unwrap();
        spool.put_back(taken);
        assert_eq!((next(&mut spool), spool.dropped), (Some(7), 6));
        let (mut small, _) = room.open(one - 1);
        assert!(small.put(&payload(1)).unwrap_err().to_string().contains("more than the spool"));
    }

    #[test]
    fn damaged_files_and_a_disk_that_takes_nothing_stop_nobody() {
        let room = Room::new("damaged");
        let (mut spool, _) = room.open(1 << 20);
        spool.put(&payload(2)).unwrap();
        fs::write(room.0.join(format!("{:020}-7.push", 1)), "nonsense").unwrap();
        fs::write(room.0.join("strange"), "").unwrap();
        let (mut spool, _) = room.open(1 << 20);
        assert_eq!((next(&mut spool), spool.dropped), (Some(2), 1));
        fs::remove_dir_all(&room.0).unwrap();
        assert!(spool.put(&payload(3)).is_err());
        spool.hold(payload(3));
        let taken = spool.take().unwrap();
        spool.put_back(taken);
        assert_eq!((next(&mut spool), next(&mut spool)), (Some(3), None));
    }

    #[test]
    fn what_cannot_be_noted_is_not_there_and_what_is_there_can_be_noted_later() {
        let room = Room::new("note");
        let (mut spool, _) = room.open(1 << 20);
        let mut keyed = payload(1);
        keyed.head.key = Some("dump x".into());
        assert!(spool.put_and(&keyed, || bail!("full")).is_err());
        assert_eq!((spool.waiting(), spool.dropped, spool.keys()), ((0, 0), 0, Vec::new()));
        spool.put_and(&keyed, || Ok(())).unwrap();
        spool.put(&payload(2)).unwrap();
        assert_eq!(room.open(1 << 20).0.keys(), [("dump x".to_owned(), 1)]);
    }

    #[test]
    fn two_agents_do_not_share_a_state() {
        let room = Room::new("lock");
        let state = State::open(&room.0).unwrap();
        assert!(State::open(&room.0).unwrap_err().to_string().contains("another agent"));
        drop(state);
        State::open(&room.0).unwrap();
    }
}
