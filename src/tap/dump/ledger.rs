//! The dumps that the keeper has written and that are still there, so that their number and bytes stay bounded.
//!
//! The first, the last and the one with the most live bytes stay whatever the bounds. Of the others, that one goes
//! which leaves the smallest gap in time, so that what remains spans the whole life of the process evenly.
//! Dumps that were asked for count, and stay.

use std::path::PathBuf;

/// One dump.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its file.
    pub(crate) path: PathBuf,
    /// When it was written, nanoseconds.
    pub(crate) at_ns: u64,
    /// Bytes that were live then.
    pub(crate) live_bytes: u64,
    /// Size of the file.
    pub(crate) bytes: u64,
    /// Whether it was asked for.
    pub(crate) is_asked_for: bool,
}

/// The dumps, in the order they were written.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: Vec<Entry>,
}

impl Ledger {
    /// Adds the newest one; returns those that have to go (bounds of 0: none).
    pub(crate) fn add(&mut self, entry: Entry, most: u64, most_bytes: u64) -> Vec<PathBuf> {
        self.entries.push(entry);
        let mut gone = Vec::new();
        while self.is_over(most, most_bytes) {
            let Some(index) = self.most_dispensable() else { break };
            gone.push(self.entries.remove(index).path);
        }
        gone
    }

    fn is_over(&self, most: u64, most_bytes: u64) -> bool {
        let bytes: u64 = self.entries.iter().map(|entry| entry.bytes).sum();
        (most > 0 && self.entries.len() as u64 > most) || (most_bytes > 0 && bytes > most_bytes)
    }

    fn most_dispensable(&self) -> Option<usize> {
        let peak = self.entries.iter().map(|entry| entry.live_bytes).max()?;
        let peak = self.entries.iter().position(|entry| entry.live_bytes == peak)?;
        let gaps = self.entries.windows(3).enumerate().filter_map(|(before, three)| {
            let [first, middle, last] = three else { return None };
            let may_go = before + 1 != peak && !middle.is_asked_for;
            may_go.then(|| (last.at_ns.saturating_sub(first.at_ns), before + 1))
        });
        gaps.min().map(|(_, index)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64, live_bytes: u64) -> Entry {
        let path = PathBuf::from(number.to_string());
        Entry { path, at_ns: number * 10, live_bytes, bytes: 100, is_asked_for: false }
    }

    fn left(ledger: &Ledger) -> Vec<u64> {
        ledger.entries.iter().map(|entry| entry.at_ns / 10).collect()
    }

    #[test]
    fn first_last_and_peak_stay_and_the_rest_is_spread() {
        let mut ledger = Ledger::default();
        for number in 0..1000 {
            let live = if number == 37 { 1 << 40 } else { number };
            ledger.add(entry(number, live), 8, 0);
        }
        let left = left(&ledger);
        assert_eq!(left.len(), 8);
        assert!(left.starts_with(&[0]) && left.ends_with(&[999]) && left.contains(&37), "{left:?}");
        let widest = left.windows(2).map(|two| two[1] - two[0]).max();
        assert!(widest.is_some_and(|gap| gap < 500), "{left:?}");
    }

    #[test]
    fn bytes_are_bounded_and_three_always_stay() {
        let mut ledger = Ledger::default();
        let gone: usize = (0..10).map(|number| ledger.add(entry(number, 50 - number), 0, 450).len()).sum();
        assert_eq!((gone, left(&ledger).len()), (6, 4));
        for number in 10..20 {
            ledger.add(entry(number, number), 1, 1);
        }
        assert_eq!(left(&ledger), [0, 19]);
    }

    #[test]
    fn what_was_asked_for_stays() {
        let mut ledger = Ledger::default();
        for number in 0..10 {
            ledger.add(Entry { is_asked_for: number % 2 == 1, ..entry(number, 1) }, 3, 0);
        }
        assert_eq!(left(&ledger), [0, 1, 3, 5, 7, 9]);
    }
}
