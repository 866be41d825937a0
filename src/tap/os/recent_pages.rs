//! Pages that the kernel found readable a moment ago, for any thread that would ask again.
//!
//! The question is a system call, 0.1 to 0.2 us, and one interpreted Java frame lies on six pages: the method, its
//! parts, their names. What was readable stays so until it is unmapped. So an answer counts until the program unmaps
//! anything ([`RecentPages::forget`]), and no longer than the clock's tick: the loader and libc's stacks of threads
//! unmap past us. A walk that asks once and then reads is no safer against an unmap between the two.
//!
//! No lock: a word is a page with the mark of its answer, so whatever a race leaves there is an answer or none.

use super::clock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Pages that are known, each at the place of its number.
const PLACES: usize = 256;
/// Bits of a word that hold the mark; the others hold the page, of 48 bits of addresses.
const MARK_BITS: u32 = 28;
/// The clock's ticks are further apart than 2^18 ns.
const LG_TICK_NS: u32 = 18;
/// Odd, so that each unmap changes the mark.
const STEP: u64 = 0x9e3_779b;

/// The pages.
pub(crate) struct RecentPages {
    unmaps: AtomicU32,
    known: [AtomicU64; PLACES],
}

/// Those of the process.
pub(crate) static RECENT_PAGES: RecentPages = RecentPages::new();

/// What answers of one moment have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl RecentPages {
    const fn new() -> RecentPages {
        RecentPages { unmaps: AtomicU32::new(0), known: [const { AtomicU64::new(0) }; PLACES] }
    }

    /// The mark of now: to be taken before the kernel is asked.
    pub(crate) fn mark(&self) -> Mark {
        self.mark_at(clock::tick_ns())
    }

    fn mark_at(&self, tick_ns: u64) -> Mark {
        // Acquire: what was unmapped before is unmapped.
        let unmaps = u64::from(self.unmaps.load(Ordering::Acquire));
        Mark((tick_ns >> LG_TICK_NS).wrapping_add(unmaps.wrapping_mul(STEP)) & ((1 << MARK_BITS) - 1))
    }

    /// Whether a page is readable: as the kernel found under this mark, or as `ask` finds now.
    #[inline]
    pub(crate) fn is_readable(&self, page: usize, mark: Mark, ask: impl FnOnce() -> bool) -> bool {
        let Some(known) = self.known.get(page % PLACES) else { return false };
        let word = word(page, mark);
        if known.load(Ordering::Relaxed) == word {
            return true;
        }
        let is_readable = ask();
        if is_readable {
            known.store(word, Ordering::Relaxed);
        }
        is_readable
    }

    /// Something was unmapped.
    #[inline]
    pub(crate) fn forget(&self) {
        // Release: who sees it asks a kernel that has unmapped.
        self.unmaps.fetch_add(1, Ordering::Release);
    }
}

fn word(page: usize, Mark(mark): Mark) -> u64 {
    (page as u64) << MARK_BITS | mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_until_the_next_tick_or_unmap() {
        static PAGES: RecentPages = RecentPages::new();
        let (tick, page) = (7_000_000_000, 0x7_f123_4567);
        let knows = |page, mark| PAGES.is_readable(page, mark, || false);
        let note = |page, mark| assert!(PAGES.is_readable(page, mark, || true));
        let mark = PAGES.mark_at(tick);
        assert!(!knows(page, mark));
        note(page, mark);
        assert!(knows(page, PAGES.mark_at(tick)) && !knows(page + PLACES, mark));
        assert!(!knows(page, PAGES.mark_at(tick + 1_000_000)));
        PAGES.forget();
        let later = PAGES.mark_at(tick);
        assert!(!knows(page, later));
        note(page, later);
        note(page + PLACES, later);
        assert!(!knows(page, later) && knows(page + PLACES, later));
    }
}
