//! HotSpot's UNSIGNED5: the variable-length integers of its debug records and line tables.
//!
//! A number is one to five bytes, least significant digit first. A byte below 192 (counting from the lowest
//! byte in use) ends the number, a byte above gives six bits and goes on, and a fifth byte always ends it. Since JDK 20
//! byte 0 is not in use, so that a zero can end a stream: every digit is stored one higher
//! (`share/utilities/unsigned5.hpp`).

/// Number of codes that go on: the radix of a digit.
const HIGH_CODES: u32 = 64;
/// Position of the last possible byte.
const LAST: u32 = 4;

/// The encoding of one virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsigned5 {
    lowest: u8,
}

impl Unsigned5 {
    /// The encoding whose digits start at `lowest`: 0 up to JDK 19, 1 since.
    pub(super) const fn with_lowest(lowest: u8) -> Unsigned5 {
        Unsigned5 { lowest }
    }

    /// Takes the next number from `bytes`.
    #[inline]
    pub(super) fn read(self, bytes: &mut impl Iterator<Item = u8>) -> Option<u32> {
        let ends_below = 256 - HIGH_CODES - u32::from(self.lowest);
        let mut sum = 0_u32;
        for position in 0..=LAST {
            let digit = u32::from(bytes.next()?.checked_sub(self.lowest)?);
            sum = sum.wrapping_add(digit << (6 * position));
            if digit < ends_below {
                break;
            }
        }
        Some(sum)
    }

    /// Takes the next signed number: the sign stands in the lowest bit.
    pub(super) fn read_signed(self, bytes: &mut impl Iterator<Item = u8>) -> Option<i32> {
        let code = self.read(bytes)?;
        Some((code >> 1).cast_signed() ^ -(code & 1).cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition turned round: digits that end are below 192 - lowest, others carry six bits.
    fn write(mut number: u32, lowest: u8) -> Vec<u8> {
        let ends_below = 192 - u32::from(lowest);
        let mut bytes = Vec::new();
        while bytes.len() < 4 && number >= ends_below {
            number -= ends_below;
            bytes.push((ends_below + number % 64) as u8 + lowest);
            number /= 64;
        }
        bytes.push(number as u8 + lowest);
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        for lowest in [0, 1] {
            let interesting = (0..70_000).chain((17..32).map(|bit| 1 << bit)).chain([u32::MAX, u32::MAX - 1]);
            for number in interesting {
                let mut bytes = write(number, lowest).into_iter();
                assert_eq!(Unsigned5::with_lowest(lowest).read(&mut bytes), Some(number));
                assert_eq!(bytes.next(), None, "{number} leaves bytes");
            }
        }
    }

    #[test]
    fn worked_examples_of_both_encodings() {
        let read = |lowest, bytes: &[u8]| Unsigned5::with_lowest(lowest).read(&mut bytes.iter().copied());
        assert_eq!((read(0, &[191]), read(0, &[192, 0]), read(0, &[192, 1])), (Some(191), Some(192), Some(256)));
        assert_eq!((read(1, &[191]), read(1, &[192, 1]), read(1, &[192, 2])), (Some(190), Some(191), Some(255)));
        assert_eq!((read(1, &[0]), read(0, &[200]), read(0, &[])), (None, None, None));
    }

    #[test]
    fn the_sign_is_in_the_lowest_bit() {
        let read = |code: u8| Unsigned5::with_lowest(0).read_signed(&mut [code].into_iter());
        assert_eq!([0, 1, 2, 3, 5].map(read), [Some(0), Some(-1), Some(1), Some(-2), Some(-3)]);
    }
}
