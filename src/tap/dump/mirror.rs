//! The mirror (`wire::live::mirror`): what is left of the live profile when the container goes with its tmpfs.
//!
//! Written by the keeper, whole or not at all, if anything was sampled or freed since. It costs at most a fiftieth
//! of one processor: the more the last one took, the later the next.

use super::destination;
use crate::tap::os::tls;
use crate::wire::live::mirror;
use crate::wire::live::snapshot::Snapshot;
use crate::wire::liveness::lock;
use crate::wire::whole_file;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Pause after one that could not be written.
const TROUBLE_NS: u64 = 60_000_000_000;
/// So many times as long as writing took is paused.
const PAUSE: u64 = 50;

/// When the next one is due, and the lock on the last one.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    next_ns: u64,
    /// Samples taken and retired, as the last one has them.
    seen: Option<(u64, u64)>,
    /// Held open: its lock says that we live.
    last: Option<File>,
    path: Option<PathBuf>,
}

impl Mirror {
    /// Whether it is time for one.
    pub(crate) fn is_due(&self, now_ns: u64, changes: (u64, u64)) -> bool {
        now_ns >= self.next_ns && self.seen != Some(changes)
    }

    /// Remembers that one was written, or could not be; returns the pause in nanoseconds.
    pub(super) fn note(&mut self, written: Option<(u64, u64)>, began_ns: u64, ended_ns: u64, seconds: u64) -> u64 {
        let took = ended_ns.saturating_sub(began_ns);
        let mut pause = seconds.saturating_mul(1_000_000_000).max(took.saturating_mul(PAUSE));
        match written {
            Some(changes) => self.seen = Some(changes),
            None => pause = pause.max(TROUBLE_NS),
        }
        self.next_ns = ended_ns.saturating_add(pause);
        pause
    }

    /// Writes one in place of the last.
    pub(super) fn write(&mut self, snapshot: &mut Snapshot, prefix: &Path, floor: u64) -> io::Result<()> {
        destination::check_room(prefix, floor)?;
        let path = snapshot.life(prefix).mirror();
        // In the program's own descriptor table nothing may stay open.
        let may_lock = tls::thread().has_own_descriptors.get();
        let file = whole_file::replace(&path, &mut |file| {
            snapshot.is_guarded = may_lock && lock::take(file);
            let mut out = BufWriter::with_capacity(1 << 16, file);
            mirror::write(snapshot, &mut out)?;
            out.flush()
        })?;
        self.last = may_lock.then_some(file);
        self.path = Some(path);
        Ok(())
    }

    /// Removes it: without its lock it would say that the process is dead. The next one is due when it would have been.
    pub(crate) fn pause(&mut self) {
        if let Some(path) = self.path.take() {
            let _ = fs::remove_file(path);
        }
        *self = Mirror { next_ns: self.next_ns, ..Mirror::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::stack::StackTrace;
    use crate::tap::store::tests::fixture;
    use crate::tap::store::{Sampled, Store};
    use crate::wire::crc::Crc;
    use crate::wire::heap_v2::{self, Surroundings};
    use crate::wire::live::copy;
    use crate::wire::live::layout::{LayoutError, MIN_BYTES};

    /// A store with 100 samples of 100 stacks in 30 Java methods, half of them freed again.
    fn store() -> Store {
        let store = fixture::store(MIN_BYTES);
        for n in 0..100u64 {
            let mut trace = StackTrace::new(512);
            let method = store.intern_method(b"org/example/A", format!("m{}", n % 30).as_bytes(), n as u32).unwrap();
            assert!(trace.push(method));
            (0..n % 100).for_each(|pc| assert!(trace.push(4096 + pc)));
            let sampled =
                Sampled { address: 64 * n, usable: 112, requested: 100, birth_ns: n, weight_bytes: 1000, period: 1024 };
            let slot = store.insert(&sampled, &trace, tls::thread(), None).unwrap();
            if n % 2 == 0 {
                assert!(store.retire(slot, 64 * n, n, None));
            }
        }
        store.region().set_text(b"1-2 r-xp 0 00:00 0 /a\n\nexe: /bin/x\nprefix: /tmp/jeprof\n");
        store
    }

    fn heap_v2(snapshot: &Snapshot) -> String {
        let around = Surroundings { maps: &snapshot.text.maps, metadata: &snapshot.text.metadata, accumulated: true };
        let mut bytes = Vec::new();
        heap_v2::write(snapshot, &around, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<Result<Snapshot, LayoutError>> {
        let words = copy::words(bytes.len() as u64, bytes.len() as u64, &mut |at, piece| {
            let at = at as usize;
            piece.copy_from_slice(bytes.get(at..at + piece.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })?;
        Ok(Snapshot::take(words.as_slice()))
    }

    #[test]
    fn a_mirror_says_what_its_region_says_in_less_space() {
        let store = store();
        let snapshot = Snapshot::take(store.region()).unwrap();
        let mut bytes = Vec::new();
        mirror::write(&snapshot, &mut bytes).unwrap();
        assert!(bytes.len() < MIN_BYTES / 3, "{}", bytes.len());
        let mirrored = read(&bytes).unwrap().unwrap();
        assert!(mirrored.is_mirror && mirrored.samples.len() == 50);
        assert_eq!(heap_v2(&mirrored), heap_v2(&snapshot));
    }

    /// A process that can write the file can write its checksum, too: its contents are checked as if there were none.
    #[test]
    fn damaged_mirrors_with_a_right_checksum_are_refused_or_read_but_no_panic() {
        let store = store();
        let mut sound = Vec::new();
        mirror::write(&Snapshot::take(store.region()).unwrap(), &mut sound).unwrap();
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as usize % below
        };
        let mut readable = 0;
        for round in 0..300 {
            let mut bytes = sound.clone();
            for _ in 0..1 + random(20) {
                let at = if round % 3 == 0 { 8 + random(1000) } else { 8 + random(bytes.len() - 16) };
                bytes[at] = if round % 2 == 0 { random(256) as u8 } else { 0xff };
            }
            if round % 5 == 0 {
                bytes.truncate(bytes.len() - 8 * random(bytes.len() / 16));
            }
            let end = bytes.len() - 8;
            let mut crc = Crc::new();
            crc.add(&bytes[..end]);
            bytes[end..end + 4].copy_from_slice(&crc.value().to_ne_bytes());
            if let Ok(Ok(snapshot)) = read(&bytes) {
                readable += 1;
                let mut out = Vec::new();
                let around = Surroundings { maps: b"", metadata: &[], accumulated: true };
                heap_v2::write(&snapshot, &around, &mut out).unwrap();
                let _ = crate::wire::sidecar::bytes(&snapshot, &[]);
                mirror::write(&snapshot, &mut io::sink()).unwrap();
            }
        }
        assert!(readable > 50, "{readable}: the damage is so great that nothing is tried");
    }

    #[test]
    fn pauses_grow_with_the_cost_and_nothing_new_is_not_written() {
        let mut mirror = Mirror::default();
        assert!(mirror.is_due(0, (0, 0)));
        assert_eq!(mirror.note(Some((5, 3)), 0, 1_000_000, 10), 10_000_000_000);
        assert!(!mirror.is_due(10_000_999_999, (6, 3)) && mirror.is_due(10_001_000_000, (6, 3)));
        assert!(!mirror.is_due(u64::MAX, (5, 3)));
        assert_eq!(mirror.note(Some((6, 3)), 0, 1_000_000_000, 10), 50_000_000_000);
        assert_eq!(mirror.note(None, 0, 0, 1), TROUBLE_NS);
    }
}
