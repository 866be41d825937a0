//! `.eh_frame_hdr`: the sorted table that leads from a pc to its frame description entry.
//!
//! Layout (LSB Core, chapter 10.6.2): version, three pointer encodings, pointer to `.eh_frame`,
//! count, then pairs (function start, entry), both as signed 32-bit offsets from the header.
//! Objects whose table is absent or encoded otherwise are refused: every linker since 2004 writes it.

use super::pivots::Pivots;
use super::reader::{OMIT, Segment};
use super::refusal::Refusal;
use super::windows::Windows;

/// Pairs of signed 32-bit offsets from the start of the header (`DW_EH_PE_datarel | sdata4`).
const SORTED_PAIRS: u8 = 0x3b;

/// The unwind tables of one loaded object.
#[derive(Clone, Copy)]
pub(super) struct Tables<'a> {
    /// The segment that holds `.eh_frame_hdr` and `.eh_frame`.
    pub(super) segment: Segment<'a>,
    /// Address of `.eh_frame_hdr` in it.
    pub(super) header: usize,
}

/// A table of pairs as its header describes it.
struct Pairs {
    /// Address of the first.
    start: usize,
    count: usize,
}

impl Pairs {
    /// Reads the header, which begins at `header`.
    fn of(segment: Segment<'_>, header: usize) -> Result<Pairs, Refusal> {
        let mut reader = segment.reader_at(header).ok_or(Refusal::Truncated)?;
        let fields = reader.u32().ok_or(Refusal::Truncated)?.to_le_bytes();
        let [1, frame_encoding, count_encoding, SORTED_PAIRS] = fields else { return Err(Refusal::NoTable) };
        if count_encoding == OMIT {
            return Err(Refusal::NoTable);
        }
        if frame_encoding != OMIT {
            reader.offset(frame_encoding).ok_or(Refusal::Format)?;
        }
        let count = reader.offset(count_encoding).ok_or(Refusal::Format)?;
        Ok(Pairs { start: reader.address(), count })
    }

    /// The same, read through the kernel, if it was not seen before.
    fn through(windows: &mut Windows, header: usize, pivots: Option<Pivots>) -> Result<Pairs, Refusal> {
        /// A place that no pair has.
        const COUNT: usize = usize::MAX;
        /// Where the pairs begin behind nearly every header: its fields have four bytes each.
        const USUAL: usize = 12;
        if let Some(count) = pivots.and_then(|pivots| usize::try_from(pivots.get(COUNT)?).ok()) {
            return Ok(Pairs { start: header.wrapping_add(USUAL), count });
        }
        let pairs = Pairs::of(windows.search(header)?, header)?;
        if let (Some(pivots), Ok(count)) = (pivots, i32::try_from(pairs.count))
            && pairs.start.wrapping_sub(header) == USUAL
        {
            pivots.put(COUNT, count);
        }
        Ok(pairs)
    }

    /// The pairs from `from` on that lie in `segment`.
    fn within<'a>(&self, segment: Segment<'a>, from: usize) -> Option<&'a [[u8; 8]]> {
        let left = self.count.checked_sub(from)?;
        let reader = segment.reader_at(self.start.wrapping_add(from.checked_mul(PAIR)?))?;
        reader.pairs(left.min(reader.rest().len() / PAIR))
    }
}

/// Bytes of a pair.
const PAIR: usize = 8;

/// Address of the only entry that can cover `pc`, in tables that are read through the kernel. The first steps go by
/// what earlier searches have seen; then it takes as many as a search in windows of 512 pairs.
pub(super) fn entry_through(windows: &mut Windows, header: usize, pc: usize) -> Result<usize, Refusal> {
    let pivots = windows.pivots(header);
    let pairs = Pairs::through(windows, header, pivots)?;
    let target = target(header, pc)?;
    // The pair that is looked for is the last whose function starts at or before the pc.
    let (mut low, mut high) = (0, pairs.count);
    // A damaged table must not hold a search up.
    for _ in 0..MOST_STEPS {
        if low >= high {
            break;
        }
        let middle = low + (high - low) / 2;
        let seen_before = pivots.filter(|_| high - low > WINDOW_PAIRS / 2).and_then(|pivots| pivots.get(middle));
        if let Some(number) = seen_before {
            if number <= target {
                low = middle;
            } else {
                high = middle;
            }
            continue;
        }
        // A window begins somewhat below, if that is still of interest. What an older one has left reaches it.
        let from = middle.saturating_sub(WINDOW_PAIRS / 2 - 8).max(low);
        let segment = windows.search(pairs.start.wrapping_add(from.wrapping_mul(PAIR)))?;
        let seen = pairs.within(segment, from).filter(|seen| !seen.is_empty()).ok_or(Refusal::Truncated)?;
        if let (Some(pivots), Some(pair)) = (pivots, seen.get(middle - from)) {
            pivots.put(middle, first(pair));
        }
        let after = seen.partition_point(|pair| first(pair) <= target);
        let seen_all = from + seen.len() >= high;
        match after.checked_sub(1).and_then(|index| seen.get(index)) {
            Some(pair) if after < seen.len() || seen_all => {
                return Ok(header.wrapping_add_signed(second(pair) as isize));
            }
            // Not what the window showed beyond it: every search has the same middles.
            Some(_) => low = middle.min(from + seen.len() - 1),
            None if from == low => return Err(Refusal::NoEntry),
            None => high = middle,
        }
    }
    Err(Refusal::NoEntry)
}

/// Twice what a search in as many pairs as an address space has room for takes.
const MOST_STEPS: usize = 64;
/// Pairs in a window.
const WINDOW_PAIRS: usize = 512;

/// The table's number for a pc.
fn target(header: usize, pc: usize) -> Result<i32, Refusal> {
    i32::try_from(pc.wrapping_sub(header) as isize).map_err(|_| Refusal::NoEntry)
}

impl Tables<'_> {
    /// Address of the only entry that can cover `pc`.
    pub(super) fn entry_for(&self, pc: usize) -> Result<usize, Refusal> {
        let table = Pairs::of(self.segment, self.header)?;
        let reader = self.segment.reader_at(table.start).ok_or(Refusal::Truncated)?;
        let pairs = reader.pairs(table.count).ok_or(Refusal::Truncated)?;
        let target = target(self.header, pc)?;
        let after = pairs.partition_point(|pair| first(pair) <= target);
        let pair = after.checked_sub(1).and_then(|index| pairs.get(index)).ok_or(Refusal::NoEntry)?;
        Ok(self.header.wrapping_add_signed(second(pair) as isize))
    }
}

fn first(pair: &[u8; 8]) -> i32 {
    let [a, b, c, d, ..] = *pair;
    i32::from_le_bytes([a, b, c, d])
}

fn second(pair: &[u8; 8]) -> i32 {
    let [.., a, b, c, d] = *pair;
    i32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: usize = 0x1000;

    /// A header whose functions start at these offsets, with entries at 10 times the offset.
    fn header(starts: &[i32]) -> Vec<u8> {
        let mut bytes = vec![1, 0x1b, 0x03, SORTED_PAIRS, 0, 0, 0, 0];
        bytes.extend((starts.len() as u32).to_le_bytes());
        for start in starts {
            bytes.extend(start.to_le_bytes());
            bytes.extend((start * 10).to_le_bytes());
        }
        bytes
    }

    fn find(bytes: &[u8], pc: usize) -> Result<usize, Refusal> {
        Tables { segment: Segment { bytes, address: HEADER }, header: HEADER }.entry_for(pc)
    }

    #[test]
    fn the_last_function_that_starts_at_or_before_the_pc_is_found() {
        let bytes = header(&[-64, -16, 32]);
        assert_eq!(find(&bytes, HEADER - 65), Err(Refusal::NoEntry));
        assert_eq!(find(&bytes, HEADER - 64), Ok(HEADER - 640));
        assert_eq!(find(&bytes, HEADER - 17), Ok(HEADER - 640));
        assert_eq!(find(&bytes, HEADER + 31), Ok(HEADER - 160));
        assert_eq!(find(&bytes, HEADER + 4096), Ok(HEADER + 320));
        assert_eq!(find(&header(&[]), HEADER), Err(Refusal::NoEntry));
    }

    #[test]
    fn a_search_through_windows_finds_what_a_plain_one_finds() {
        let starts: Vec<i32> = (0..5000).map(|number| number * 24 - 60_000).collect();
        let counts = [0, 1, 2, 255, 256, 257, 511, 512, 513, 1024, 3000, 5000];
        for (number, (count, remembers)) in
            counts.into_iter().flat_map(|count| [(count, false), (count, true)]).enumerate()
        {
            let bytes = header(&starts[..count]);
            let base = bytes.as_ptr() as usize;
            let tables = Tables { segment: Segment { bytes: &bytes, address: base }, header: base };
            let mut windows = Box::new(Windows::new());
            for offset in (-60_100..61_000).step_by(97) {
                windows.begin();
                if remembers {
                    windows.remember(1 << 32 | number as u64);
                }
                let pc = base.wrapping_add_signed(offset);
                match entry_through(&mut windows, base, pc) {
                    Err(Refusal::Unchecked) => return,
                    found => assert_eq!(found, tables.entry_for(pc), "{count} pairs, {offset}"),
                }
            }
        }
    }

    #[test]
    fn a_second_search_looks_once() {
        let starts: Vec<i32> = (0..60_000).map(|number| number * 24 - 600_000).collect();
        let bytes = header(&starts);
        let base = bytes.as_ptr() as usize;
        let looks = |pc: usize, generation: u64| {
            let mut windows = Box::new(Windows::new());
            windows.remember(generation);
            entry_through(&mut windows, base, pc).map(|_| windows.copies())
        };
        let first = looks(base, 1 << 33);
        if first == Err(Refusal::Unchecked) {
            return;
        }
        assert!(first.is_ok_and(|looks| looks > 5), "{first:?}");
        assert_eq!([looks(base, 1 << 33), looks(base + 24, 1 << 33)], [Ok(1); 2]);
        assert_eq!(looks(base, 1 << 34), first, "another generation has seen nothing");
    }

    #[test]
    fn headers_that_lie_are_refused() {
        let mut bytes = header(&[0, 8]);
        assert_eq!(find(bytes.get(..20).expect("longer"), HEADER), Err(Refusal::Truncated));
        assert_eq!(find(&[], HEADER), Err(Refusal::Truncated));
        bytes.get_mut(8..12).expect("count").copy_from_slice(&[0xff; 4]);
        assert_eq!(find(&bytes, HEADER), Err(Refusal::Truncated), "more pairs than bytes");
        for (field, value) in [(0, 2), (2, OMIT), (3, 0x1b)] {
            let mut other = header(&[0]);
            *other.get_mut(field).expect("inside") = value;
            assert_eq!(find(&other, HEADER), Err(Refusal::NoTable), "field {field}");
        }
    }
}
