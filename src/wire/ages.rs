//! How old the live objects of a stack are, and how long its freed ones lived: metadata lines of a dump.
//!
//!     # ages: 1520                                   stacks of the dump; a reader that has another number of
//!                                                    them does not know which is which, and ignores the rest
//!     # age: 17 53/1311/146856 60/1/4000 | 0/12 1/40 the 18th stack: bin/objects/bytes of what lives,
//!                                                    then bin/samples of what was freed
//!
//! Live ages are in quarters of powers of two (known to 25 % at worst), freed ones in the region's powers of two. Both
//! count nanoseconds from 2^16 on; what is younger is in the first bin. Only bins that hold something are written.

use super::live::records::AGE_BINS;
use std::fmt;

/// Exponent of the youngest age that is told from 0.
const FIRST: u32 = 16;
/// Bins that live ages can have.
pub(crate) const LIVE_BINS: usize = 4 * (64 - FIRST as usize);

/// Live objects of about one age.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LiveBin {
    /// Its number (see [`live_bin`]).
    pub(crate) bin: u8,
    /// Objects, estimated.
    pub(crate) objects: f64,
    /// Bytes, estimated.
    pub(crate) bytes: f64,
}

/// The ages of one stack, or of several.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ages {
    /// Live objects, youngest first; no empty bin.
    pub(crate) live: Vec<LiveBin>,
    /// Samples that were freed, by [`age_bin`](super::live::records::age_bin), youngest first; no empty bin.
    pub(crate) freed: Vec<(u8, u64)>,
}

/// The bin of a live object's age.
pub(crate) fn live_bin(age_ns: u64) -> u8 {
    let log2 = 63 - (age_ns | 1).leading_zeros();
    if log2 < FIRST {
        return 0;
    }
    let quarter = (age_ns >> (log2 - 2)) & 3;
    (4 * (log2 - FIRST) + quarter as u32) as u8
}

/// The youngest age of a bin of live ages, nanoseconds.
pub(crate) fn live_bin_start(bin: u8) -> u64 {
    match (u32::from(bin) / 4, u64::from(bin) % 4) {
        (0, 0) => 0,
        (octave, quarter) if octave + FIRST < 64 => (4 + quarter) << (octave + FIRST - 2),
        _ => u64::MAX,
    }
}

/// The youngest age of a bin of lifetimes, nanoseconds.
pub(crate) fn freed_bin_start(bin: u8) -> u64 {
    if bin == 0 { 0 } else { 1 << (FIRST + u32::from(bin)).min(63) }
}

impl Ages {
    /// Counts a live object, or what a sample stands for.
    pub(crate) fn add_live(&mut self, bin: u8, objects: f64, bytes: f64) {
        match self.live.binary_search_by_key(&bin, |known| known.bin) {
            Ok(at) => {
                if let Some(known) = self.live.get_mut(at) {
                    known.objects += objects;
                    known.bytes += bytes;
                }
            }
            Err(at) => self.live.insert(at, LiveBin { bin, objects, bytes }),
        }
    }

    /// Counts freed samples.
    pub(crate) fn add_freed(&mut self, bin: u8, samples: u64) {
        match self.freed.binary_search_by_key(&bin, |(known, _)| *known) {
            Ok(at) => self.freed.get_mut(at).into_iter().for_each(|(_, sum)| *sum = sum.saturating_add(samples)),
            Err(at) => self.freed.insert(at, (bin, samples)),
        }
    }

    /// Counts the freed samples of a stack's record.
    pub(crate) fn add_record(&mut self, ages: &[u32; AGE_BINS]) {
        for (bin, &samples) in ages.iter().enumerate().filter(|(_, samples)| **samples > 0) {
            self.add_freed(bin as u8, u64::from(samples));
        }
    }

    /// Counts all that another one holds.
    pub(crate) fn add(&mut self, other: &Ages) {
        other.live.iter().for_each(|bin| self.add_live(bin.bin, bin.objects, bin.bytes));
        other.freed.iter().for_each(|&(bin, samples)| self.add_freed(bin, samples));
    }

    /// Rounds to the whole objects and bytes that a line has: at least one object.
    pub(crate) fn round(&mut self) {
        for bin in &mut self.live {
            (bin.objects, bin.bytes) = (bin.objects.round().max(1.0), bin.bytes.round());
        }
    }

    /// Whether it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.live.is_empty() && self.freed.is_empty()
    }

    /// Reads what its `Display` wrote.
    pub(crate) fn parse(text: &str) -> Option<Ages> {
        let (live, freed) = text.split_once('|')?;
        let mut ages = Ages::default();
        for word in live.split_ascii_whitespace() {
            let mut parts = word.split('/');
            let bin = parts.next()?.parse().ok().filter(|&bin| usize::from(bin) < LIVE_BINS)?;
            let (objects, bytes): (u64, u64) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            ages.add_live(bin, objects as f64, bytes as f64);
        }
        for word in freed.split_ascii_whitespace() {
            let (bin, samples) = word.split_once('/')?;
            ages.add_freed(bin.parse().ok().filter(|&bin| usize::from(bin) < AGE_BINS)?, samples.parse().ok()?);
        }
        Some(ages)
    }
}

impl fmt::Display for Ages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for LiveBin { bin, objects, bytes } in &self.live {
            write!(f, "{bin}/{}/{} ", objects.round().max(1.0) as u64, bytes.round() as u64)?;
        }
        f.write_str("|")?;
        self.freed.iter().try_for_each(|(bin, samples)| write!(f, " {bin}/{samples}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::live::records::age_bin;

    #[test]
    fn bins_begin_where_they_say() {
        for bin in 1..LIVE_BINS as u8 {
            let start = live_bin_start(bin);
            assert_eq!((live_bin(start), live_bin(start - 1)), (bin, bin - 1), "{bin}");
        }
        assert_eq!((live_bin(0), live_bin(u64::MAX), live_bin_start(0)), (0, LIVE_BINS as u8 - 1, 0));
        for bin in 1..AGE_BINS as u8 {
            let start = freed_bin_start(bin);
            assert_eq!((age_bin(start), age_bin(start - 1)), (usize::from(bin), usize::from(bin) - 1), "{bin}");
        }
        assert_eq!((live_bin_start(u8::MAX), freed_bin_start(u8::MAX)), (u64::MAX, 1 << 63));
    }

    #[test]
    fn lines_survive() {
        let mut ages = Ages::default();
        for (bin, objects, bytes) in [(60, 1.0, 4000.0), (53, 1311.0, 146_856.0), (60, 2.0, 1.0)] {
            ages.add_live(bin, objects, bytes);
        }
        let mut record = [0; AGE_BINS];
        (record[0], record[31]) = (12, u32::MAX);
        ages.add_record(&record);
        assert_eq!(ages.to_string(), "53/1311/146856 60/3/4001 | 0/12 31/4294967295");
        assert_eq!(Ages::parse(&ages.to_string()), Some(ages.clone()));
        let mut twice = ages.clone();
        twice.add(&ages);
        assert_eq!((twice.live[1].bytes, twice.freed[0]), (8002.0, (0, 24)));
        assert_eq!(Ages::parse("|"), Some(Ages::default()));
    }

    #[test]
    fn damaged_lines_are_refused() {
        for text in ["", "53/1/2", "53/1 |", "999/1/2 |", "192/1/2 |", "1/x/2 |", "| 32/1", "| 1", "| 1/-1", "-1/1/1 |"]
        {
            assert_eq!(Ages::parse(text), None, "{text}");
        }
    }
}
