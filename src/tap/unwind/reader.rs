//! A cursor over the bytes of an unwind table: fixed integers, LEB128 and encoded pointers.
//!
//! Every read is bounds-checked and yields `None` past the end, so tables that lie are refused and
//! never followed out of their segment. No allocation, no unsafe.

use crate::tap::os::faults;

/// Pointer encoding "absent" (`DW_EH_PE_omit`, LSB Core, chapter 10.5).
pub(super) const OMIT: u8 = 0xff;

/// Bytes of one mapped segment and the address at which the first of them lies.
#[derive(Clone, Copy)]
pub(super) struct Segment<'a> {
    /// The segment's bytes.
    pub(super) bytes: &'a [u8],
    /// Where the first byte lies, in the addresses of the process (or, in tests, of the file).
    pub(super) address: usize,
}

impl<'a> Segment<'a> {
    /// A reader from `address` to the end of the segment.
    pub(super) fn reader_at(self, address: usize) -> Option<Reader<'a>> {
        let offset = address.checked_sub(self.address)?;
        Some(Reader { bytes: self.bytes.get(offset..)?, address })
    }
}

/// The bytes left to read, and the address of its first byte (pointers may be relative to it).
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    address: usize,
}

impl<'a> Reader<'a> {
    /// Address of the next byte.
    pub(super) fn address(&self) -> usize {
        self.address
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes that are left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Splits off the next `count` bytes as a reader of their own.
    pub(super) fn take(&mut self, count: usize) -> Option<Reader<'a>> {
        let (head, rest) = self.bytes.split_at_checked(count)?;
        let taken = Reader { bytes: head, address: self.address };
        self.bytes = rest;
        self.address = self.address.wrapping_add(count);
        Some(taken)
    }

    /// The bytes up to the next zero, which is skipped.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.bytes.iter().position(|byte| *byte == 0)?;
        let text = self.take(length)?.bytes;
        self.u8().map(|_| text)
    }

    /// The next `count` pairs of 32-bit words, not yet decoded.
    pub(super) fn pairs(&self, count: usize) -> Option<&'a [[u8; 8]]> {
        self.bytes.get(..count.checked_mul(8)?).map(|bytes| bytes.as_chunks().0)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        self.address = self.address.wrapping_add(N);
        let mut value = *head;
        faults::spoil(&mut value);
        if faults::is_refused() { None } else { Some(value) }
    }

    /// The next byte.
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next two bytes (all our targets are little-endian, as are their tables).
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next four bytes.
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes.
    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// An unsigned LEB128 number of at most 64 bits.
    pub(super) fn uleb(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A signed LEB128 number of at most 64 bits.
    pub(super) fn sleb(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let negative = byte & 0x40 != 0 && shift + 7 < 64;
                return Some((if negative { value | (u64::MAX << (shift + 7)) } else { value }) as i64);
            }
        }
        None
    }

    /// A pointer in one of the encodings of `DW_EH_PE_*`; `data` is the base of data-relative ones.
    ///
    /// `None` for what needs memory or bases that we do not have: indirect, text- or function-relative.
    pub(super) fn pointer(&mut self, encoding: u8, data: usize) -> Option<usize> {
        let base = match encoding & 0xf0 {
            0x00 => 0,
            0x10 => self.address,
            0x30 => data,
            _ => return None,
        };
        Some(base.wrapping_add(self.offset(encoding)?))
    }

    /// The number of an encoded pointer without its base: lengths, and pointers to be skipped.
    pub(super) fn offset(&mut self, encoding: u8) -> Option<usize> {
        Some(match encoding & 0x0f {
            0x00 | 0x04 | 0x0c => self.u64()? as usize,
            0x01 => self.uleb()? as usize,
            0x02 => usize::from(self.u16()?),
            0x03 => self.u32()? as usize,
            0x09 => self.sleb()? as usize,
            0x0a => self.u16()? as i16 as usize,
            0x0b => self.u32()? as i32 as usize,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> Reader<'_> {
        Segment { bytes, address: 0x1000 }.reader_at(0x1000).expect("starts inside")
    }

    #[test]
    fn leb128_numbers_are_read_as_dwarf_writes_them() {
        assert_eq!(reader(&[0xe5, 0x8e, 0x26]).uleb(), Some(624_485));
        assert_eq!(reader(&[0x80, 0x7f]).sleb(), Some(-128));
        assert_eq!(reader(&[0x78]).sleb(), Some(-8));
        assert_eq!(reader(&[0xff; 9]).uleb(), None);
        assert_eq!(reader(&[0x80; 11]).sleb(), None);
    }

    #[test]
    fn pointers_are_relative_to_where_they_stand() {
        let mut bytes = reader(&[0xf0, 0xff, 0xff, 0xff, 0x08, 0, 0, 0]);
        assert_eq!(bytes.pointer(0x1b, 0), Some(0xff0));
        assert_eq!(bytes.pointer(0x3b, 0x5000), Some(0x5008));
        assert_eq!(reader(&[0; 8]).pointer(0x9b, 0), None, "indirect pointers are refused");
    }

    #[test]
    fn nothing_is_read_past_the_end() {
        let mut short = reader(&[1, 2, 3]);
        assert!(short.u32().is_none() && short.take(4).is_none());
        assert_eq!((short.u16(), short.u8(), short.u8()), (Some(0x201), Some(3), None));
        assert!(Segment { bytes: &[0], address: 16 }.reader_at(18).is_none());
        assert!(Segment { bytes: &[0], address: 16 }.reader_at(15).is_none());
    }
}
