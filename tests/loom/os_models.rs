//! The model of the range's end.

use super::range_end::move_end;
use crate::models::explore;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

/// Whoever sees the end behind a block sees the limit behind it, too, while the range grows and shrinks.
#[test]
fn the_limit_is_never_below_the_end() {
    const BLOCK: usize = 12;
    explore(3, || {
        let words = Arc::new([AtomicUsize::new(10), AtomicUsize::new(10)]);
        let grower = {
            let words = Arc::clone(&words);
            thread::spawn(move || {
                let [end, limit] = &*words;
                move_end(end, limit, 20, 0);
                move_end(end, limit, 14, 0);
            })
        };
        let [end, limit] = &*words;
        if end.load(Ordering::Acquire) > BLOCK {
            assert!(limit.load(Ordering::Relaxed) > BLOCK, "a block in the range passes for a plain one");
        }
        grower.join().unwrap();
    });
}
