//! The compressed line table of a method: bytecode index to source line.
//!
//! Pairs of differences, one byte each where they are small (five bits of index, three of line), else an escape byte
//! and two signed UNSIGNED5 numbers; a zero byte ends the table (`share/code/compressedStream`, `oops/method.cpp`). It
//! is read once for each new pair of method and bytecode index.

use super::unsigned5::Unsigned5;

const END: u8 = 0;
const ESCAPE: u8 = 0xff;

/// The line of `bci`: of the entry for exactly that index, else of the nearest one before. 0: none.
pub(super) fn line_of(bci: i32, bytes: &mut impl Iterator<Item = u8>, numbers: Unsigned5) -> u32 {
    let (mut at, mut line) = (0_i32, 0_i32);
    let (mut best_at, mut best_line) = (0, 0);
    while let Some((at_step, line_step)) = next_pair(bytes, numbers) {
        (at, line) = (at.wrapping_add(at_step), line.wrapping_add(line_step));
        if at == bci {
            best_line = line;
            break;
        }
        if at < bci && at >= best_at {
            (best_at, best_line) = (at, line);
        }
    }
    u32::try_from(best_line).unwrap_or(0)
}

fn next_pair(bytes: &mut impl Iterator<Item = u8>, numbers: Unsigned5) -> Option<(i32, i32)> {
    match bytes.next()? {
        END => None,
        ESCAPE => Some((numbers.read_signed(bytes)?, numbers.read_signed(bytes)?)),
        both => Some((i32::from(both >> 3), i32::from(both & 7))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// bci 0 line 5, bci 4 line 6, bci 9 line 4 (backwards: escaped), then the end and rubbish.
    const TABLE: [u8; 8] = [5, 4 << 3 | 1, ESCAPE, 5 << 1, 3, END, 0x55, 0x55];

    fn line(bci: i32) -> u32 {
        line_of(bci, &mut TABLE.into_iter(), Unsigned5::with_lowest(0))
    }

    #[test]
    fn a_line_holds_from_its_index_to_the_next() {
        assert_eq!([0, 3, 4, 8, 9, 60_000].map(line), [5, 5, 6, 6, 4, 4]);
    }

    #[test]
    fn an_empty_or_cut_table_knows_no_line_beyond_it() {
        assert_eq!(line_of(3, &mut [END].into_iter(), Unsigned5::with_lowest(0)), 0);
        assert_eq!(line_of(9, &mut [5, ESCAPE, 200].into_iter(), Unsigned5::with_lowest(0)), 5);
    }
}
