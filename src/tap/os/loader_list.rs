//! The loader's list of objects, and forks: never both at once.
//!
//! `dl_iterate_phdr` holds a lock that glibc's fork does not reset in the child (`_dl_load_write_lock`, 2.36): a child
//! made while another thread walks the list could never walk it itself. The helper thread walks it, behind the
//! program's back; so fork waits until nobody does, and who wants to waits until no fork is going on. Both waits are
//! bounded: a fork out of a callback of the list holds that lock itself and must go on.
//!
//! Statics, because fork's handlers are told nothing.

use super::clock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Threads of ours that walk the list.
static WALKERS: AtomicU32 = AtomicU32::new(0);
/// Forks that are going on.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// Between two looks.
const STEP_NS: u64 = 20_000;
/// Longest wait of a fork; a walk takes a hundredth of that.
const FORK_PATIENCE_NS: u64 = 100_000_000;
/// Longest wait of a walk: forks of large processes copy page tables for that long.
const WALK_PATIENCE_NS: u64 = 1_000_000_000;

/// Runs `walk` while nobody forks; `None`: somebody does so all the time.
pub(crate) fn walk<T>(walk: impl FnOnce() -> T) -> Option<T> {
    // SeqCst here and below: of a walk and a fork that begin at once, one at least sees the other.
    let enter = || {
        WALKERS.fetch_add(1, Ordering::SeqCst);
        let is_free = FORKS.load(Ordering::SeqCst) == 0;
        if !is_free {
            WALKERS.fetch_sub(1, Ordering::SeqCst);
        }
        is_free
    };
    if !wait_for(enter, WALK_PATIENCE_NS) {
        return None;
    }
    let walked = walk();
    WALKERS.fetch_sub(1, Ordering::SeqCst);
    Some(walked)
}

/// Before a fork, first of all that is done for it.
pub(crate) fn before_fork() {
    FORKS.fetch_add(1, Ordering::SeqCst);
    wait_for(|| WALKERS.load(Ordering::SeqCst) == 0, FORK_PATIENCE_NS);
}

/// After it, in the parent.
pub(crate) fn after_fork() {
    FORKS.fetch_sub(1, Ordering::SeqCst);
}

/// After it, in the child: nobody is there but the thread that forked.
pub(crate) fn begin_anew() {
    WALKERS.store(0, Ordering::SeqCst);
    FORKS.store(0, Ordering::SeqCst);
}

fn wait_for(mut is_so: impl FnMut() -> bool, patience_ns: u64) -> bool {
    let mut left = patience_ns / STEP_NS;
    while !is_so() {
        if left == 0 {
            return false;
        }
        left -= 1;
        clock::sleep_ns(STEP_NS);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_and_forks_exclude_each_other() {
        let walked = walk(|| {
            std::thread::scope(|scope| {
                let fork = scope.spawn(|| {
                    before_fork();
                    after_fork();
                });
                std::thread::sleep(std::time::Duration::from_millis(2));
                !fork.is_finished()
            })
        });
        assert_eq!(walked, Some(true), "a fork waits for a walk");
        before_fork();
        let walker = std::thread::spawn(|| walk(|| FORKS.load(Ordering::SeqCst)));
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(!walker.is_finished(), "a walk waits for a fork");
        after_fork();
        assert_eq!(walker.join().unwrap(), Some(0));
    }
}
