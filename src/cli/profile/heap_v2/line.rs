//! Lines of a dump and what stands in them: addresses, counts, names.
//!
//! A big dump is nearly all addresses, so that these are read as bytes, digit by digit from a table.

use super::ParseError;
use crate::cli::profile::Thread;
use crate::cli::profile::sample::Counts;
use std::io::{self, Read};
use std::ops::Range;

/// Longest line: a name of a megabyte is read and cut where it is shown. More is the next line.
const MOST_LINE: usize = 16 << 20;
/// Bytes that are read at once: they stay in a processor's cache until they are taken apart.
const BLOCK: usize = 128 << 10;

/// Lines as bytes, numbered from 1, without their ends. They are not copied: each lies in the block that was read.
pub(super) struct Lines<R> {
    input: R,
    block: Vec<u8>,
    /// Where in the block the line lies.
    place: Range<usize>,
    /// Where in the block that begins and ends which no line has yet.
    rest: Range<usize>,
    /// Number of the line.
    pub(super) number: u64,
    /// Whether it had its newline: a cut number looks like a smaller number.
    pub(super) is_whole: bool,
}

impl<R: Read> Lines<R> {
    /// Before the first line.
    pub(super) fn new(input: R) -> Lines<R> {
        Lines { input, block: vec![0; BLOCK], place: 0..0, rest: 0..0, number: 0, is_whole: true }
    }

    /// The line.
    #[inline]
    pub(super) fn line(&self) -> &[u8] {
        self.block.get(self.place.clone()).unwrap_or_default()
    }

    /// Goes on to the next line; `false` at the end.
    pub(super) fn advance(&mut self) -> Result<bool, ParseError> {
        self.number += 1;
        let mut searched = 0;
        let length = loop {
            let rest = self.block.get(self.rest.clone()).unwrap_or_default();
            let unknown = rest.get(searched..).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', unknown).map(|at| searched + at).filter(|at| *at < MOST_LINE) {
                self.is_whole = true;
                break at + 1;
            }
            searched = rest.len();
            let read = if searched < MOST_LINE { self.read_on() } else { Ok(0) };
            if read.map_err(|error| ParseError::Read { line: self.number, error })? == 0 {
                self.is_whole = false;
                break searched.min(MOST_LINE);
            }
        };
        let start = self.rest.start;
        self.rest.start += length;
        self.place = start..self.rest.start;
        let text = self.line();
        let end = text.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
        self.place = start..start + end;
        Ok(length > 0)
    }

    /// Reads more behind the rest; 0 at the end of the input.
    fn read_on(&mut self) -> io::Result<usize> {
        self.block.copy_within(self.rest.clone(), 0);
        self.rest = 0..self.rest.len();
        if self.rest.end == self.block.len() {
            self.block.resize(2 * self.block.len(), 0);
        }
        loop {
            match self.input.read(self.block.get_mut(self.rest.end..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read.inspect(|read| self.rest.end += read),
            }
        }
    }
}

/// `t*: 22: 9366 [0: 0] name`, taken apart.
pub(super) struct CountLine<'a> {
    /// Which thread; `None` for all of them together.
    pub(super) uid: Option<u64>,
    /// Its numbers.
    pub(super) counts: Counts,
    name: &'a str,
}

impl<'a> CountLine<'a> {
    /// `None` if it is of another shape.
    pub(super) fn parse(text: &'a str) -> Option<CountLine<'a>> {
        let (uid, rest) = text.strip_prefix('t')?.split_once(':')?;
        let uid = if uid == "*" { None } else { Some(uid.parse().ok()?) };
        let end = rest.find(']')? + 1;
        let (counts, name) = rest.split_at_checked(end)?;
        Some(CountLine { uid, counts: counts_of(counts.trim())?, name: name.trim() })
    }

    /// As [`CountLine::parse`], for the form that jemalloc writes, without a name: nearly all lines of
    /// a big dump, which it reads seven times faster. `None`: look closer.
    pub(super) fn plain(line: &[u8]) -> Option<CountLine<'static>> {
        let rest = line.trim_ascii_start().strip_prefix(b"t")?;
        let (uid, rest) = match rest.strip_prefix(b"*") {
            Some(rest) => (None, rest),
            None => leading_number(rest).map(|(uid, rest)| (Some(uid), rest))?,
        };
        let (objects, rest) = leading_number(rest.strip_prefix(b": ")?)?;
        let (bytes, rest) = leading_number(rest.strip_prefix(b": ")?)?;
        let (accum_objects, rest) = leading_number(rest.strip_prefix(b" [")?)?;
        let (accum_bytes, rest) = leading_number(rest.strip_prefix(b": ")?)?;
        let counts = Counts { objects, bytes, accum_objects, accum_bytes };
        (rest == b"]").then_some(CountLine { uid, counts, name: "" })
    }

    /// The thread that a line of the header tells.
    pub(super) fn thread(&self) -> Option<Thread> {
        let name = (!self.name.is_empty()).then(|| self.name.to_owned());
        self.uid.map(|uid| Thread { uid, name })
    }
}

/// `22: 9366 [0: 0]`.
pub(super) fn counts_of(text: &str) -> Option<Counts> {
    let (live, accumulated) = text.strip_suffix(']')?.split_once('[')?;
    let (objects, bytes) = pair(live)?;
    let (accum_objects, accum_bytes) = pair(accumulated)?;
    Some(Counts { objects, bytes, accum_objects, accum_bytes })
}

fn pair(text: &str) -> Option<(u64, u64)> {
    let (objects, bytes) = text.split_once(':')?;
    Some((objects.trim().parse().ok()?, bytes.trim().parse().ok()?))
}

/// The decimal number that `bytes` begins with, and what follows it.
fn leading_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = bytes.split_at_checked(length).filter(|_| length > 0)?;
    let add = |value: u64, digit: &u8| value.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    Some((digits.iter().try_fold(0, add)?, rest))
}

/// What each byte is worth as a hexadecimal digit; 0xff: none.
const DIGITS: [u8; 256] = {
    let mut digits = [0xff; 256];
    let mut digit = 0u8;
    while digit < 16 {
        let letters = if digit < 10 { [b'0' + digit; 2] } else { [b'a' + digit - 10, b'A' + digit - 10] };
        digits[letters[0] as usize] = digit;
        digits[letters[1] as usize] = digit;
        digit += 1;
    }
    digits
};

/// The `0x…` that `bytes` begins with, and what follows it. It must end at a blank or the line's end.
pub(super) fn leading_hex(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut rest = bytes.strip_prefix(b"0x")?;
    let mut value = 0u64;
    let before = rest.len();
    // Eight at once and then four, as nearly all addresses have twelve digits.
    if let Some((eight, after)) = rest.split_first_chunk::<8>()
        && let Some(digits) = eight_digits(*eight)
    {
        (value, rest) = (u64::from(digits), after);
    }
    while let Some((&[a, b, c, d], after)) = rest.split_first_chunk::<4>() {
        let (a, b) = (DIGITS[usize::from(a)], DIGITS[usize::from(b)]);
        let (c, d) = (DIGITS[usize::from(c)], DIGITS[usize::from(d)]);
        if (a | b | c | d) > 15 {
            break;
        }
        if value >> 48 != 0 {
            return None;
        }
        value = value << 16 | u64::from(a) << 12 | u64::from(b) << 8 | u64::from(c) << 4 | u64::from(d);
        rest = after;
    }
    while let Some((&byte, after)) = rest.split_first() {
        let digit = DIGITS[usize::from(byte)];
        if digit > 15 {
            break;
        }
        if value >> 60 != 0 {
            return None;
        }
        value = value << 4 | u64::from(digit);
        rest = after;
    }
    let is_end = rest.first().is_none_or(u8::is_ascii_whitespace);
    (rest.len() < before && is_end).then_some((value, rest))
}

/// The number that eight hexadecimal digits are, in one register: each byte is checked and worked out beside the
/// others.
fn eight_digits(letters: [u8; 8]) -> Option<u32> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    const CASE: u64 = 0x20 * EACH;
    let word = u64::from_le_bytes(letters);
    // Letters become small ones; what has neither bit of a digit or letter would become a digit.
    let is_text = word & HIGH == 0 && (word | (word >> 1)) & CASE == CASE;
    let small = word | CASE;
    // The high bit of a byte tells: not less than that, when the rest up to 0x80 is added.
    let from = |least: u8| small.wrapping_add(u64::from(0x80 - least) * EACH);
    let is_digit = from(b'0') & !from(b'9' + 1);
    let is_letter = from(b'a') & !from(b'f' + 1);
    if !is_text || (is_digit | is_letter) & HIGH != HIGH {
        return None;
    }
    let nibbles = (small & (0x0f * EACH)) + 9 * ((small >> 6) & EACH);
    let bytes = ((nibbles << 4) | (nibbles >> 8)) & 0x00ff_00ff_00ff_00ff;
    let pairs = ((bytes << 8) | (bytes >> 16)) & 0x0000_ffff_0000_ffff;
    Some(((pairs << 16) | (pairs >> 32)) as u32)
}

/// What is shown of a line in a message: short, and without control characters.
pub(super) fn beginning(text: &str) -> String {
    text.chars().take(40).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_digits_are_what_the_library_reads_and_nothing_else_is() {
        let read = |letters: &[u8; 8]| {
            let text = std::str::from_utf8(letters).ok().filter(|text| !text.contains('+'))?;
            u32::from_str_radix(text, 16).ok()
        };
        for at in 0..8 {
            for byte in 0..=255u8 {
                let mut letters = *b"7f90aB3c";
                letters[at] = byte;
                assert_eq!(eight_digits(letters), read(&letters), "{letters:?}");
            }
        }
    }

    /// An input that gives a few bytes at a time.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let (now, later) = self.0.split_at(self.1.min(buffer.len()).min(self.0.len()));
            buffer[..now.len()].copy_from_slice(now);
            self.0 = later;
            Ok(now.len())
        }
    }

    fn all_lines(input: impl Read) -> Vec<(u64, Vec<u8>, bool)> {
        let mut lines = Lines::new(input);
        let next = || lines.advance().unwrap().then(|| (lines.number, lines.line().to_vec(), lines.is_whole));
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        let long = "x".repeat(3 * BLOCK);
        for text in ["", "\n", "a", "a\n", "a\r\n\n b\r\r\nlast\r", &format!("a\n{long}\nb\n"), &long] {
            let ends = |line: &str| line.trim_end_matches(['\r', '\n']).as_bytes().to_vec();
            let expected: Vec<_> =
                text.split_inclusive('\n').zip(1..).map(|(line, n)| (n, ends(line), line.ends_with('\n'))).collect();
            for drop in [1, 7, BLOCK - 1, usize::MAX] {
                assert_eq!(all_lines(Drops(text.as_bytes(), drop)), expected, "{} in {drop}", text.len());
            }
        }
    }

    #[test]
    fn what_is_too_long_for_a_line_is_the_next_one() {
        let text = "x".repeat(MOST_LINE + 5) + "\ny\n";
        let lengths = |lines: Vec<(u64, Vec<u8>, bool)>| -> Vec<_> {
            lines.into_iter().map(|(number, line, is_whole)| (number, line.len(), is_whole)).collect()
        };
        let expected = [(1, MOST_LINE, false), (2, 5, true), (3, 1, true)];
        assert_eq!(lengths(all_lines(text.as_bytes())), expected);
    }

    #[test]
    fn the_fast_way_reads_what_the_slow_way_reads() {
        let numbers = |line: &CountLine<'_>| (line.uid, line.counts, line.name.to_owned());
        for text in [
            "  t*: 22: 9366 [0: 0]",
            "t7: 18446744073709551615: 1 [2: 3]",
            "  t1: 22: 9366 [0: 0] name of thread",
            "t1: 18446744073709551616: 1 [2: 3]",
            "t: 1: 2 [3: 4]",
            "t1: 1: 2 [3: 4",
            "t1:1:2[3:4]",
            "t+1: +1: 2 [3: 4]",
        ] {
            let slow = CountLine::parse(text.trim());
            if let Some(fast) = CountLine::plain(text.as_bytes()) {
                assert_eq!(Some(numbers(&fast)), slow.as_ref().map(numbers), "{text}");
            }
        }
        assert!(CountLine::plain(b"  t*: 22: 9366 [0: 0]").is_some());
    }

    #[test]
    fn addresses_are_read_to_the_bit() {
        let read = |text: &'static str| leading_hex(text.as_bytes()).map(|(value, rest)| (value, rest.len()));
        assert_eq!(read("0x7fE0 0x1"), Some((0x7fe0, 4)));
        assert_eq!(read("0xffffffffffffffff"), Some((u64::MAX, 0)));
        assert_eq!(read("0x00007f1234567890 0x1"), Some((0x7f12_3456_7890, 4)));
        assert_eq!(read("0x0000000000000000001"), Some((1, 0)));
        assert_eq!(read("0x12345 x"), Some((0x12345, 2)));
        assert!(["0x", "0x ", "7fe0", "0x1g", "0x10000000000000000", ""].iter().all(|text| read(text).is_none()));
    }
}
