//! One pass over a process's memory: every word that points into one of the wanted blocks, and where it lies.
//!
//! Pieces of the pages that are there are read into a buffer that fits a processor's cache, and compared there, by as
//! many threads as there are processors. Nothing is kept of what does not match.

use super::ground::Ground;
use super::targets::Targets;
use crate::cli::analyze::holders::graph::NodeId;
use crate::cli::attach::peer_memory::{PAGE, PeerMemory};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Bytes that are read at once.
const PIECE: u64 = 256 << 10;
/// Pointers of one pass that are kept.
const MOST_POINTERS: usize = 4 << 20;
/// Threads that scan, at most.
const MOST_THREADS: usize = 4;
/// Time between two words to who waits.
const BEAT: Duration = Duration::from_millis(200);

/// A word that points into a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pointer {
    /// Where it lies.
    pub(super) at: u64,
    /// What it is.
    pub(super) value: u64,
    /// Into which block it points.
    pub(super) to: NodeId,
}

/// What a pass found.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// In the order of their addresses.
    pub(super) pointers: Vec<Pointer>,
    /// Bytes read.
    pub(super) bytes: u64,
    /// Bytes that could not be read although they are there: swapped out.
    pub(super) unread_bytes: u64,
    /// Blocks with more pointers than were kept.
    pub(super) crowded: Vec<NodeId>,
}

/// How to look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct How {
    /// Also at words that do not lie at multiples of eight.
    pub(super) unaligned: bool,
}

/// Scans all of it; `progress` hears how many bytes of how many are done.
pub(super) fn pass(
    memory: &PeerMemory,
    ground: &Ground,
    targets: &Targets,
    how: How,
    progress: &mut dyn FnMut(u64, u64),
) -> Pass {
    let mut pieces: Vec<Range<u64>> = Vec::new();
    let mut unread = 0;
    for area in ground.read() {
        let met = memory.present(area.range.clone(), area.wanted, &mut |run| {
            let starts = (run.start..run.end).step_by(PIECE as usize);
            pieces.extend(starts.map(|start| start..run.end.min(start + PIECE)));
        });
        unread += met.swapped * PAGE;
    }
    let all: u64 = pieces.iter().map(|piece| piece.end - piece.start).sum();
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let work = || {
        let mut worker =
            Worker { memory, targets, how, buffer: vec![0; (PIECE / 8) as usize + 1], found: Pass::default() };
        while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            worker.look(piece);
            done.fetch_add(piece.end - piece.start, Ordering::Relaxed);
        }
        worker.found
    };
    let threads = thread::available_parallelism().map_or(1, |count| count.get()).min(MOST_THREADS);
    let mut whole = Pass { unread_bytes: unread, ..Pass::default() };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            progress(done.load(Ordering::Relaxed), all);
            wait_for(&workers);
        }
        // A worker that ended early found less: all is then in doubt.
        for found in
            workers.into_iter().map(|worker| worker.join().unwrap_or(Pass { unread_bytes: all, ..Pass::default() }))
        {
            whole.add(found);
        }
    });
    whole.pointers.sort_unstable();
    whole
}

fn wait_for<T>(workers: &[thread::ScopedJoinHandle<'_, T>]) {
    let mut left = BEAT;
    let step = Duration::from_millis(2);
    while !left.is_zero() && workers.iter().any(|worker| !worker.is_finished()) {
        thread::sleep(step);
        left = left.saturating_sub(step);
    }
}

impl Pass {
    fn add(&mut self, mut other: Pass) {
        self.pointers.append(&mut other.pointers);
        self.crowded.append(&mut other.crowded);
        self.bytes += other.bytes;
        self.unread_bytes += other.unread_bytes;
    }
}

/// One thread's part.
struct Worker<'a> {
    memory: &'a PeerMemory,
    targets: &'a Targets,
    how: How,
    buffer: Vec<u64>,
    found: Pass,
}

impl Worker<'_> {
    fn look(&mut self, piece: &Range<u64>) {
        // One word more, for those that end behind it.
        let words = ((piece.end - piece.start) / 8) as usize;
        let more = words + usize::from(self.how.unaligned);
        let Some(buffer) = self.buffer.get_mut(..more) else { return };
        let mut read = self.memory.read(piece.start, buffer);
        if read == 0 && more > words {
            read = self.memory.read(piece.start, buffer.get_mut(..words).unwrap_or_default());
        }
        // What was unmapped meanwhile holds nothing.
        let Some(read) = self.buffer.get(..read) else { return };
        let found = &mut self.found;
        found.bytes += (read.len().min(words) * 8) as u64;
        let aligned = read.get(..words).unwrap_or(read);
        let at = |index: usize| piece.start + index as u64 * 8;
        self.targets.find(aligned, &mut |index, value, to| found.keep(Pointer { at: at(index), value, to }));
        if self.how.unaligned {
            self.targets.find_shifted(read, &mut |index, shift, value, to| {
                found.keep(Pointer { at: at(index) + u64::from(shift), value, to });
            });
        }
    }
}

impl Pass {
    fn keep(&mut self, pointer: Pointer) {
        if self.pointers.len() < MOST_POINTERS {
            self.pointers.push(pointer);
        } else if self.crowded.last() != Some(&pointer.to) && self.crowded.len() < MOST_POINTERS {
            self.crowded.push(pointer.to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_pointers_are_found_wherever_they_lie() {
        let target = vec![1u8; 64];
        let first = target.as_ptr() as u64;
        let mut holder = vec![0u64; 100_000];
        holder[77_777] = first + 8;
        let bytes = (first + 16).to_ne_bytes();
        let mut odd = vec![0u8; 64];
        odd[13..21].copy_from_slice(&bytes);
        std::hint::black_box((&target, &holder, &odd));
        let maps = open_maps();
        let ground = Ground::of(&maps);
        let memory = PeerMemory::open(std::process::id(), ground.probe()).unwrap();
        let targets = Targets::of(vec![(first, first + 63, 3)]);
        let found = |unaligned| pass(&memory, &ground, &targets, How { unaligned }, &mut |_, _| ());
        let places = |pass: &Pass| pass.pointers.iter().map(|pointer| pointer.at).collect::<Vec<_>>();
        let (plain, all) = (found(false), found(true));
        let (aligned, other) = (&raw const holder[77_777] as u64, &raw const odd[13] as u64);
        assert!(places(&plain).contains(&aligned) && places(&all).contains(&aligned));
        assert!(other.is_multiple_of(8) || !places(&plain).contains(&other));
        assert!(places(&all).contains(&other) && plain.bytes > 50_000);
    }

    fn open_maps() -> Vec<u8> {
        crate::cli::open::maps(std::process::id()).unwrap().into_bytes()
    }
}
