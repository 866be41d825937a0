//! The places of addresses by their text.
//!
//! A big dump has millions of addresses, of some thousand places. One that was read before is found again by its
//! twelve digits as they stand: to compare them takes a fifth of what it takes to read them and to look the number up.

use crate::cli::profile::location::LocationId;

/// Binary digits of the number of sets: a MiB, of which as much is touched as a dump has places.
const LG_SETS: u32 = 15;
/// Bytes of an address: `0x` and twelve digits. Nearly all have as many; others are not kept.
const BYTES: usize = 14;
/// Spreads the digits.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The text of addresses with their places. One that falls on another's entry takes it.
pub(super) struct Seen {
    /// Sets of two entries, the younger one first: twelve letters, and the place's number plus one; 0: nothing.
    sets: Vec<[u128; 2]>,
}

/// The letters of an address that a text begins with, and where they are kept.
#[derive(Clone, Copy)]
pub(super) struct Digits {
    letters: u128,
    set: usize,
}

impl Digits {
    /// `None` if there are fewer or more of them, or something else.
    #[inline]
    pub(super) fn of(text: &[u8]) -> Option<Digits> {
        let (address, rest) = text.split_first_chunk::<BYTES>()?;
        let [b'0', b'x', a, b, c, d, e, f, g, h, i, j, k, l] = *address else { return None };
        if rest.first().is_some_and(|end| *end != b' ') {
            return None;
        }
        let eight = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let four = u32::from_le_bytes([i, j, k, l]);
        let set = (eight ^ (u64::from(four) << 13)).wrapping_mul(ODD) >> (u64::BITS - LG_SETS);
        Some(Digits { letters: u128::from(eight) << 32 | u128::from(four), set: set as usize })
    }
}

impl Seen {
    /// Nothing yet.
    pub(super) fn new() -> Seen {
        Seen { sets: vec![[0; 2]; 1 << LG_SETS] }
    }

    /// The place of an address, and the text behind it.
    #[inline]
    pub(super) fn find<'a>(&self, digits: Digits, text: &'a [u8]) -> Option<(LocationId, &'a [u8])> {
        let [younger, older] = self.sets.get(digits.set)?;
        let entry = if younger >> 32 == digits.letters { younger } else { older };
        let place = (*entry as u32).checked_sub(1).filter(|_| entry >> 32 == digits.letters)?;
        // Behind the blank, if there is one.
        Some((LocationId(place), text.get(BYTES + 1..).unwrap_or_default()))
    }

    /// Keeps a place that was read, in the place of the oldest of its set.
    pub(super) fn keep(&mut self, digits: Digits, place: LocationId) {
        if let (Some(set), Some(number)) = (self.sets.get_mut(digits.set), place.0.checked_add(1)) {
            *set = [digits.letters << 32 | u128::from(number), set[0]];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_again_and_no_other_is() {
        let mut seen = Seen::new();
        let text = b"0x7f3a00123456 0x1";
        let digits = Digits::of(text).unwrap();
        assert!(seen.find(digits, text).is_none());
        seen.keep(digits, LocationId(0));
        assert_eq!(seen.find(digits, text), Some((LocationId(0), &b"0x1"[..])));
        let last = &text[..BYTES];
        assert_eq!(seen.find(Digits::of(last).unwrap(), last), Some((LocationId(0), &b""[..])));
        for at in 2..BYTES {
            let mut other = *text;
            other[at] ^= 1;
            assert_eq!(seen.find(Digits::of(&other).unwrap(), &other), None, "{at}");
        }
        // The last two stay where three fall on one set.
        let others = [7, 8].map(|letters| Digits { letters, ..digits });
        let found = |seen: &Seen, digits| seen.find(digits, text).map(|(place, _)| place.0);
        seen.keep(others[0], LocationId(1));
        assert_eq!((found(&seen, digits), found(&seen, others[0])), (Some(0), Some(1)));
        seen.keep(others[1], LocationId(2));
        assert_eq!((found(&seen, digits), others.map(|other| found(&seen, other))), (None, [Some(1), Some(2)]));
    }

    #[test]
    fn other_text_is_read_digit_by_digit() {
        for text in ["", "0x", "0x7f3a0012345", "0x7f3a001234567", "1x7f3a00123456", "0x7f3a00123456\t0x1"] {
            assert!(Digits::of(text.as_bytes()).is_none(), "{text}");
        }
        let nothing = [b'0', b'x', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(Seen::new().find(Digits::of(&nothing).unwrap(), &nothing).is_none());
    }
}
