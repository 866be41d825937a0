//! `.eh_frame_hdr`: the sorted table that leads from a pc to its frame description entry.
//!
//! Layout (LSB Core, chapter 10.6.2): version, three pointer encodings, pointer to `.eh_frame`,
//! count, then pairs (function start, entry), both as signed 32-bit offsets from the header.
//! Objects whose table is absent or encoded otherwise are refused: every linker since 2004 writes it.

use super::reader::{OMIT, Segment};
use super::refusal::Refusal;

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

impl Tables<'_> {
    /// Address of the only entry that can cover `pc`.
    pub(super) fn entry_for(&self, pc: usize) -> Result<usize, Refusal> {
        let mut header = self.segment.reader_at(self.header).ok_or(Refusal::Truncated)?;
        let fields = header.u32().ok_or(Refusal::Truncated)?.to_le_bytes();
        let [1, frame_encoding, count_encoding, SORTED_PAIRS] = fields else { return Err(Refusal::NoTable) };
        if count_encoding == OMIT {
            return Err(Refusal::NoTable);
        }
        if frame_encoding != OMIT {
            header.offset(frame_encoding).ok_or(Refusal::Format)?;
        }
        let count = header.offset(count_encoding).ok_or(Refusal::Format)?;
        let pairs = header.pairs(count).ok_or(Refusal::Truncated)?;
        let target = i32::try_from(pc.wrapping_sub(self.header) as isize).map_err(|_| Refusal::NoEntry)?;
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
