//! Sets of numbers that nearly every number which is asked for is not in: ids of objects, and addresses.

use rustc_hash::FxHashMap;

/// Bits of the filter before the table: 512 KiB, half of what a processor's cache has for itself.
const BITS: u64 = 1 << 22;

/// Ids, each with what belongs to it.
#[derive(Debug)]
pub(crate) struct Ids<T> {
    bits: Vec<u64>,
    table: FxHashMap<u64, T>,
}

impl<T> Ids<T> {
    /// None yet.
    pub(crate) fn new() -> Ids<T> {
        Ids { bits: vec![0; (BITS / 64) as usize], table: FxHashMap::default() }
    }

    /// Adds one.
    pub(crate) fn insert(&mut self, id: u64, value: T) {
        let (word, bit) = place(id);
        self.bits.get_mut(word).into_iter().for_each(|word| *word |= bit);
        self.table.insert(id, value);
    }

    /// What belongs to an id.
    #[inline]
    pub(crate) fn get(&self, id: u64) -> Option<&T> {
        let (word, bit) = place(id);
        if self.bits.get(word)? & bit == 0 { None } else { self.table.get(&id) }
    }
}

#[inline]
fn place(id: u64) -> (usize, u64) {
    // Objects lie at multiples of eight.
    let bit = (id >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 42;
    ((bit / 64) as usize, 1 << (bit % 64))
}

/// Ranges of addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    /// First and last address of each, and its number; sorted.
    ranges: Vec<(u64, u64, u32)>,
    low: u64,
    span: u64,
}

impl Addresses {
    /// Of ranges that do not overlap: first and last address, and a number.
    pub(crate) fn of(mut ranges: Vec<(u64, u64, u32)>) -> Addresses {
        ranges.sort_unstable();
        let low = ranges.first().map_or(0, |range| range.0);
        let high = ranges.iter().map(|range| range.1).max().unwrap_or(0);
        Addresses { span: high - low, low, ranges }
    }

    /// The range that an address lies in: its number, and how far from its beginning.
    #[inline]
    pub(crate) fn find(&self, address: u64) -> Option<(u32, u64)> {
        if address.wrapping_sub(self.low) > self.span || self.ranges.is_empty() {
            return None;
        }
        let after = self.ranges.partition_point(|range| range.0 <= address);
        let (first, last, number) = *self.ranges.get(after.checked_sub(1)?)?;
        (address <= last).then_some((number, address - first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_and_nothing_else() {
        let mut ids = Ids::new();
        (0..1000u64).for_each(|n| ids.insert(n * 24, n));
        assert!((0..1000).all(|n| ids.get(n * 24) == Some(&n)) && (0..1000).all(|n| ids.get(n * 24 + 8).is_none()));
        let addresses = Addresses::of(vec![(100, 109, 1), (10, 10, 0)]);
        assert_eq!(
            [10, 11, 100, 109, 110].map(|at| addresses.find(at)),
            [Some((0, 0)), None, Some((1, 0)), Some((1, 9)), None]
        );
        assert_eq!(Addresses::default().find(0), None);
    }
}
