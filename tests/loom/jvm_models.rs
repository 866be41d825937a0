//! The models of the walker's cache of methods and compiled frames.

use super::cache::{Cache, CompiledFrame, Known, Owner, Pushed};
use crate::models::explore;
use crate::tap::code_address::ReturnAddress;
use crate::tap::stack::StackTrace;
use loom::sync::Arc;
use loom::thread;

/// A method is known under what it was stored with, and never by halves of two entries.
#[test]
fn a_cached_method_is_one_write() {
    explore(3, || {
        let cache = Arc::new(Cache::new().unwrap());
        cache.insert_method(77, 1, 0, 100);
        let other = Arc::clone(&cache);
        let reader = thread::spawn(move || [1, 2].map(|identity| other.method(77, 0, || Some(identity))));
        cache.insert_method(77, 2, 0, 200);
        for (known, pc) in reader.join().unwrap().into_iter().zip([100, 200]) {
            assert!([Known::Pc(pc), Known::Changed].contains(&known), "{known:?}");
        }
        assert_eq!(cache.method(77, 0, || Some(2)), Known::Pc(200));
    });
}

/// The same for a compiled frame, whose place another compilation takes.
#[test]
fn a_cached_frame_is_one_write() {
    explore(2, || {
        let cache = Arc::new(Cache::new().unwrap());
        insert(&cache, 1);
        let other = Arc::clone(&cache);
        let reader = thread::spawn(move || compile_id_at(&other));
        insert(&cache, 2);
        reader.join().unwrap();
        assert_eq!(compile_id_at(&cache), Some(2));
    });
}

const PC: ReturnAddress = ReturnAddress::new(0x4100);

/// Remembers a frame of one compilation: as many methods as its number says, all of them with that number.
fn insert(cache: &Cache, compile_id: u32) {
    let mut frame = CompiledFrame::new(Owner { blob: 0x4000, compile_id }, 16 * compile_id as usize);
    assert!((0..compile_id).all(|_| frame.push(u64::from(compile_id))));
    cache.insert_frame(PC, 0, &frame);
}

/// The compilation whose frame is found. All of it must be that one's.
fn compile_id_at(cache: &Cache) -> Option<u32> {
    let (mut trace, mut found) = (StackTrace::new(4), 0);
    let pushed = cache.push_frame(PC, 0, &mut trace, |owner| {
        found = owner.compile_id;
        true
    });
    match pushed {
        Pushed::Frame { count, bytes } => {
            assert_eq!((count, bytes), (found as usize, 16 * found as usize));
            assert_eq!(trace.pcs(), vec![u64::from(found); count]);
            Some(found)
        }
        Pushed::Nothing => {
            assert!(trace.pcs().is_empty());
            None
        }
        Pushed::Full => unreachable!("there is room"),
    }
}
