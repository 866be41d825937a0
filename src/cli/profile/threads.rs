//! Threads as frames: each stack once for each thread that allocated on it, with the thread as its outermost frame.
//!
//! So whatever groups, filters or draws by frames does so by threads. The frame's address lies where no code can, and
//! is made of the thread's name: threads of one name are one, and the dumps of a series agree.

use super::location::{Function, FunctionId, Line, Location, LocationId, Origin};
use super::sample::{Sample, ThreadCounts};
use super::{Profile, Thread};
use rustc_hash::{FxHashMap, FxHasher};
use std::hash::Hasher;

/// First address of the threads' frames: beyond what any processor calls an address.
const FIRST: u64 = 0xffff_fff0_0000_0000;

/// Divides every stack by thread. Ages stay with undivided stacks only: they are not known of threads.
pub(super) fn split(profile: &mut Profile) {
    let places: FxHashMap<u64, u64> = profile.threads.iter().map(|thread| (thread.uid, address(thread))).collect();
    let mut known: FxHashMap<u64, LocationId> = FxHashMap::default();
    for sample in std::mem::take(&mut profile.samples) {
        if sample.threads.is_empty() {
            profile.samples.push(sample);
            continue;
        }
        let shares = shares(&sample);
        for (thread, share) in sample.threads.iter().zip(shares) {
            let address = places.get(&thread.uid).copied().unwrap_or(FIRST | thread.uid & 0xffff_ffff);
            let locations = &mut profile.locations;
            let place = *known.entry(address).or_insert_with(|| {
                locations.push(Location { address, ..Location::default() });
                LocationId(u32::try_from(locations.len() - 1).unwrap_or(u32::MAX))
            });
            profile.samples.push(part(&sample, *thread, share, place));
        }
    }
}

/// What part of a stack's bytes each of its threads has. Each line is estimated by itself, and the estimates of lines
/// do not quite sum up to that of the stack.
fn shares(sample: &Sample) -> Vec<f64> {
    let bytes: Vec<f64> = sample.threads.iter().map(|thread| thread.value.bytes).collect();
    let all: f64 = bytes.iter().sum();
    let even = 1.0 / bytes.len().max(1) as f64;
    bytes.into_iter().map(|bytes| if all > 0.0 { bytes / all } else { even }).collect()
}

fn part(sample: &Sample, thread: ThreadCounts, share: f64, place: LocationId) -> Sample {
    let mut value = sample.value;
    for amount in [&mut value.objects, &mut value.bytes, &mut value.accum_objects, &mut value.accum_bytes] {
        *amount *= share;
    }
    Sample {
        stack: sample.stack.iter().copied().chain([place]).collect(),
        counts: thread.counts,
        value,
        threads: Box::new([thread]),
        ages: sample.ages.clone().filter(|_| sample.threads.len() == 1),
        past: sample.past.iter().map(|past| *past * share).collect(),
    }
}

fn address(thread: &Thread) -> u64 {
    match &thread.name {
        Some(name) => {
            let mut hasher = FxHasher::default();
            hasher.write(name.as_bytes());
            FIRST | hasher.finish() >> 32
        }
        None => FIRST | thread.uid & 0xffff_ffff,
    }
}

/// Names the threads' frames, once all others have theirs.
pub(crate) fn name(profile: &mut Profile) {
    let names: FxHashMap<u64, String> = profile.threads.iter().map(|thread| (address(thread), label(thread))).collect();
    for location in profile.locations.iter_mut().filter(|location| location.address >= FIRST) {
        let Some(name) = names.get(&location.address) else { continue };
        let id = FunctionId(u32::try_from(profile.functions.len()).unwrap_or(u32::MAX));
        profile.functions.push(Function { name: name.clone(), origin: Origin::Thread, ..Function::default() });
        location.lines = vec![Line { function: id, line: 0 }];
    }
}

fn label(thread: &Thread) -> String {
    match &thread.name {
        Some(name) => format!("thread {name}"),
        None => format!("thread {}", thread.uid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::heap_v2;

    #[test]
    fn stacks_are_divided_by_thread_and_nothing_is_lost() {
        let text = "heap_v2/1024\n  t*: 30: 3000 [0: 0]\n  t0: 10: 1000 [0: 0] main\n  t1: 20: 2000 [0: 0] worker\n\
            \x20 t2: 1: 10 [0: 0] worker\n  t3: 1: 10 [0: 0]\n\
            @ 0x10 0x20\n  t*: 30: 3000 [0: 0]\n  t0: 10: 1000 [0: 0]\n  t1: 20: 2000 [0: 0]\n\
            @ 0x10\n  t*: 2: 20 [0: 0]\n  t2: 1: 10 [0: 0]\n  t3: 1: 10 [0: 0]\n\nMAPPED_LIBRARIES:\n";
        let mut profile = heap_v2::parse(text.as_bytes()).unwrap();
        let whole = profile.total();
        split(&mut profile);
        name(&mut profile);
        assert_eq!(profile.samples.len(), 4);
        assert!((profile.total().bytes - whole.bytes).abs() < 1e-6);
        let root = |sample: &Sample| {
            let last = sample.stack.last().copied().unwrap();
            profile.function(profile.location(last).lines[0].function).unwrap().name.clone()
        };
        let roots: Vec<String> = profile.samples.iter().map(root).collect();
        assert_eq!(roots, ["thread main", "thread worker", "thread worker", "thread 3"]);
        // One frame for both workers.
        assert_eq!(profile.samples[1].stack.last(), profile.samples[2].stack.last());
        assert!((profile.samples[1].value.bytes / profile.samples[0].value.bytes - 2.0).abs() < 1e-9);
    }
}
