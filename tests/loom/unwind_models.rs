//! The model of the cache of unwind rules.

use super::pair::{self, Pair};
use crate::models::explore;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;

/// Halves of two writes of a rule are no rule: what is found under a key is what was stored under it.
#[test]
fn a_rule_is_found_under_its_own_key_only() {
    explore(3, || {
        let pair = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        pair::put(&pair, 0x1000, 10);
        let put_and_look = |pair: &Pair, key: u64, rule: u64| {
            pair::put(pair, key, rule);
            for (key, stored) in [(0x1000, 10), (0x2000, 20), (0x3000, 30)] {
                assert!(pair::get(pair, key).is_none_or(|found| found == stored));
            }
        };
        let other = Arc::clone(&pair);
        let thread = thread::spawn(move || put_and_look(&other, 0x2000, 20));
        put_and_look(&pair, 0x3000, 30);
        thread.join().unwrap();
        pair::put(&pair, 0x1000, 10);
        assert_eq!(pair::get(&pair, 0x1000), Some(10));
    });
}
