//! The store as a whole: what snapshots find, what full tables do, and threads at once.

pub(crate) mod fixture;

use fixture::{sampled, store, trace};

use super::*;
use crate::tap::os::tls;
use crate::wire::java_pc;
use crate::wire::live::layout::MIN_BYTES;
use crate::wire::live::snapshot::Snapshot;
use crate::wire::live::words::Words;
use std::collections::HashSet;

fn live(snapshot: &Snapshot) -> Vec<(u64, Vec<u64>)> {
    let frames = |stack: u32| snapshot.frames(&snapshot.stacks[&stack]).to_vec();
    let mut live: Vec<_> = snapshot.samples.iter().map(|s| (s.address, frames(s.stack))).collect();
    live.sort();
    live
}

#[test]
fn threads_that_meet_the_same_methods_agree_on_their_numbers() {
    let store = store(MIN_BYTES);
    let methods = || (0..400_u32).map(|n| (format!("org/example/Class{}", n % 40), format!("method{n}")));
    let intern = || -> Vec<u64> {
        methods().map(|(class, method)| store.intern_method(class.as_bytes(), method.as_bytes(), 7).unwrap()).collect()
    };
    let all = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(intern)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(all.iter().all(|pcs| *pcs == all[0]));
    let snapshot = Snapshot::take(store.region()).unwrap();
    for (pc, (class, method)) in all[0].iter().zip(methods()) {
        let (number, line) = java_pc::parts(*pc).unwrap();
        let known = &snapshot.java_methods[&number];
        assert_eq!((&known.class[..], &known.method[..], line), (class.as_bytes(), method.as_bytes(), 7));
    }
}

#[test]
fn a_snapshot_holds_what_is_live_with_its_stacks() {
    let store = store(MIN_BYTES);
    let deep: Vec<u64> = (1..=100).collect();
    let first = store.insert(&sampled(64), &trace([1, 2, 3]), tls::thread(), None).unwrap();
    store.insert(&sampled(128), &trace(deep.clone()), tls::thread(), None).unwrap();
    store.insert(&sampled(192), &trace([1, 2, 3]), tls::thread(), None).unwrap();
    assert!(
        !store.retire(first, 65, 0, None)
            && store.retire(first, 64, 1 << 20, None)
            && !store.retire(first, 64, 0, None)
    );
    let snapshot = Snapshot::take(store.region()).unwrap();
    assert_eq!(live(&snapshot), [(128, deep), (192, vec![1, 2, 3])]);
    assert_eq!((snapshot.stacks.len(), snapshot.torn), (2, 0));
    let counts = [Counter::Samples, Counter::Retired, Counter::LiveBytes].map(|c| snapshot.counter(c));
    assert_eq!(counts, [3, 1, 2000]);
    assert_eq!(store.find(192).map(|slot| store.retire(slot, 192, 0, None)), Some(true));
}

#[test]
fn methods_are_interned_once_and_snapshots_name_them() {
    let store = store(MIN_BYTES);
    let names = |n: u32| (format!("org/example/Class{}", n % 50), format!("method{n}"));
    let intern = |n: u32, line: u32| {
        let (class, method) = names(n);
        store.intern_method(class.as_bytes(), method.as_bytes(), line).unwrap()
    };
    let pcs: Vec<u64> = (0..200).map(|n| intern(n, n)).collect();
    assert_eq!(pcs, (0..200).map(|n| intern(n, n)).collect::<Vec<_>>());
    let snapshot = Snapshot::take(store.region()).unwrap();
    assert_eq!(snapshot.java_methods.len(), 201);
    for (n, pc) in (0..).zip(pcs) {
        let (number, line) = java_pc::parts(pc).unwrap();
        let (class, method) = names(n);
        let found = &snapshot.java_methods[&number];
        assert_eq!((line, &found.class[..], &found.method[..]), (n, class.as_bytes(), method.as_bytes()));
    }
    let full = (0..1_000_000u32).find(|n| store.intern_method(b"x", &n.to_le_bytes(), 1).is_none());
    assert!(full.is_some());
    assert!(store.intern_method(b"org/example/Class7", b"method7", 9).is_some());
}

#[test]
fn full_tables_lose_samples_and_recycle_dead_stacks() {
    let store = store(MIN_BYTES);
    let stacks = store.region().section(SectionId::Stacks).capacity as u64;
    for round in 0..stacks * 3 {
        let slot = store.insert(&sampled(64), &trace([round + 1]), tls::thread(), None).expect("recycled");
        assert!(store.retire(slot, 64, 0, None));
    }
    let mut kept = 0;
    while store.insert(&sampled(64 + kept), &trace([u64::MAX - kept]), tls::thread(), None).is_some() {
        kept += 1;
    }
    assert_eq!(kept, stacks);
    assert_eq!(store.region().counter(Counter::LostStacks), 1);
    assert_eq!(Snapshot::take(store.region()).unwrap().samples.len() as u64, stacks);
}

#[test]
fn lost_samples_keep_their_stack_and_weight_until_a_reset() {
    let store = store(MIN_BYTES);
    let thread = tls::thread();
    store.insert(&sampled(64), &trace([9]), thread, None).unwrap();
    (0..3).for_each(|_| store.count_lost(Counter::LostRange, 700, Some(&trace([1, 2])), thread));
    store.count_lost(Counter::LostNested, 50, None, thread);
    let snapshot = Snapshot::take(store.region()).unwrap();
    let lost: Vec<_> = snapshot.stacks.values().filter(|stack| stack.record.lost_bytes > 0).collect();
    assert_eq!((lost.len(), lost[0].record.lost_bytes, snapshot.frames(lost[0])), (1, 2100, &[1, 2][..]));
    let counts = [Counter::LostRange, Counter::LostNested, Counter::UnfollowedBytes].map(|c| snapshot.counter(c));
    assert_eq!((counts, snapshot.samples.len()), ([3, 1, 2150], 1));
    store.clear();
    let snapshot = Snapshot::take(store.region()).unwrap();
    assert_eq!((snapshot.samples.len(), snapshot.stacks.len(), snapshot.torn), (0, 0, 0));
    assert!(counters::NAMED.iter().all(|(counter, _)| snapshot.counter(*counter) == 0));
}

#[test]
fn resets_during_churn_leave_nothing_behind() {
    let store = store(MIN_BYTES);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in 1..=3u64 {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                let mut held = std::collections::VecDeque::new();
                for round in 0..20_000u64 {
                    let key = (worker << 32) | round;
                    held.push_back((key, store.insert(&sampled(key), &trace([key, key + 1]), tls::thread(), None)));
                    if held.len() > 100
                        && let Some((key, Some(slot))) = held.pop_front()
                    {
                        store.retire(slot, key, 0, None);
                    }
                }
                // A table that is full while another thread sweeps it costs a sample.
                let held = held.into_iter().filter_map(|(key, slot)| Some((key, slot?)));
                held.for_each(|(key, slot)| _ = store.retire(slot, key, 0, None));
                done.store(true, Ordering::Relaxed);
            });
        }
        while !done.load(Ordering::Relaxed) {
            store.clear();
            for (key, frames) in live(&Snapshot::take(store.region()).unwrap()) {
                assert_eq!(frames, [key, key + 1]);
            }
        }
    });
    store.clear();
    assert_eq!(store.region().counter(Counter::LiveBytes), 0);
    // Every record can be had again.
    let stacks = store.region().section(SectionId::Stacks).capacity as u64;
    let kept = (0..).take_while(|&n| store.insert(&sampled(64 + n), &trace([n + 1]), tls::thread(), None).is_some());
    assert_eq!(kept.count() as u64, stacks);
}

#[test]
fn words_without_memory_read_as_nothing() {
    let store = store(MIN_BYTES);
    let region = store.region();
    (0..Words::len(region)).for_each(|at| _ = Words::word(region, at));
    assert!(!store.retire(u32::MAX, 64, 0, None) && !store.retire(4000, 64, 0, None));
}

#[test]
fn snapshots_during_churn_never_mix_stacks() {
    let store = store(MIN_BYTES);
    let (done, inserted) = (std::sync::atomic::AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for worker in 1..=3u64 {
            let (store, done, inserted) = (&store, &done, &inserted);
            // The third has none.
            let lane = (worker < 3).then(|| Lane::held(worker as usize));
            scope.spawn(move || {
                for round in 0..30_000u64 {
                    let key = (worker << 32) | (round % 3000);
                    let slot = store.insert(&sampled(key), &trace([key, key + 1, key + 2]), tls::thread(), lane);
                    if let Some(slot) = slot {
                        assert!(store.retire(slot, key, 0, lane));
                        inserted.fetch_add(1, Ordering::Relaxed);
                    }
                }
                done.store(true, Ordering::Relaxed);
            });
        }
        while !done.load(Ordering::Relaxed) {
            for (key, frames) in live(&Snapshot::take(store.region()).unwrap()) {
                assert_eq!(frames, [key, key + 1, key + 2]);
            }
        }
    });
    let counts = [Counter::LiveBytes, Counter::Samples, Counter::Retired].map(|c| store.region().counter(c));
    assert_eq!(counts, [0, inserted.load(Ordering::Relaxed), inserted.load(Ordering::Relaxed)]);
}

#[test]
fn a_reset_takes_off_what_each_lane_has_counted() {
    let store = store(MIN_BYTES);
    let lanes = || (0..5).map(Lane::held).map(Some).chain([None]);
    let sample = |key: u64, lane| store.insert(&sampled(key), &trace([key]), tls::thread(), lane).unwrap();
    let counts = || [Counter::Samples, Counter::Retired, Counter::LiveBytes].map(|c| store.region().counter(c));
    let slots: Vec<_> = (1..).zip(lanes()).map(|(key, lane)| (key, sample(key, lane))).collect();
    // Each is freed by another one than it was allocated by.
    for ((key, slot), lane) in slots.iter().zip(lanes().skip(1)) {
        assert!(store.retire(*slot, *key, 0, lane));
    }
    assert_eq!(counts(), [6, 5, 1000]);
    store.clear();
    assert_eq!(counts(), [0, 0, 0]);
    let slots: HashSet<_> = (9..).zip(lanes()).map(|(key, lane)| sample(key, lane)).collect();
    assert_eq!((slots.len(), counts()), (6, [6, 0, 6000]));
}

#[test]
fn an_interval_is_over_once_whichever_threads_fill_it() {
    let store = store(MIN_BYTES);
    let fill = |lanes: usize, rounds: u32| {
        let turns = (0..rounds).flat_map(|_| 0..lanes).map(|lane| Some(Lane::held(lane)));
        turns.filter(|&lane| store.count_allocated(100, 14, lane)).count()
    };
    assert_eq!(fill(1, 163), 0);
    assert_eq!((fill(1, 1), fill(1, 163), fill(1, 1)), (1, 0, 1));
    // 32,800 bytes so far; eight times 32,800 more are 16 intervals and a rest.
    assert_eq!(fill(8, 328), 16);
    assert_eq!(store.region().counter(Counter::AllocatedBytes), 9 * 32_800);
    assert!(!store.count_allocated(u64::from(u32::MAX), u64::BITS, None));
}
