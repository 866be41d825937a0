//! Lines of a dump and what stands in them: addresses, counts, names.
//!
//! A big dump is nearly all addresses, so that these are read as bytes, digit by digit from a table.

use super::ParseError;
use crate::cli::profile::Thread;
use crate::cli::profile::sample::Counts;
use std::io::BufRead;

/// Lines as bytes, numbered from 1, without their ends.
pub(super) struct Lines<R> {
    input: R,
    /// Number of the line in `buffer`.
    pub(super) number: u64,
    /// The line.
    pub(super) buffer: Vec<u8>,
    /// Whether it had its newline: a cut number looks like a smaller number.
    pub(super) is_whole: bool,
}

impl<R: BufRead> Lines<R> {
    /// Before the first line.
    pub(super) fn new(input: R) -> Lines<R> {
        Lines { input, number: 0, buffer: Vec::new(), is_whole: true }
    }

    /// Reads the next line into `buffer`; `false` at the end.
    pub(super) fn advance(&mut self) -> Result<bool, ParseError> {
        self.buffer.clear();
        self.number += 1;
        let read = self.input.read_until(b'\n', &mut self.buffer);
        let read = read.map_err(|error| ParseError::Read { line: self.number, error })?;
        self.is_whole = self.buffer.last() == Some(&b'\n');
        while matches!(self.buffer.last(), Some(b'\n' | b'\r')) {
            self.buffer.pop();
        }
        Ok(read > 0)
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
    let digits = bytes.strip_prefix(b"0x")?;
    let mut value = 0u64;
    let mut length = 0;
    for &byte in digits {
        let digit = DIGITS[usize::from(byte)];
        if digit > 15 {
            break;
        }
        if value >> 60 != 0 {
            return None;
        }
        value = value << 4 | u64::from(digit);
        length += 1;
    }
    let rest = digits.get(length..)?;
    let is_end = rest.first().is_none_or(u8::is_ascii_whitespace);
    (length > 0 && is_end).then_some((value, rest))
}

/// What is shown of a line in a message: short, and without control characters.
pub(super) fn beginning(text: &str) -> String {
    text.chars().take(40).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_to_the_bit() {
        let read = |text: &'static str| leading_hex(text.as_bytes()).map(|(value, rest)| (value, rest.len()));
        assert_eq!(read("0x7fE0 0x1"), Some((0x7fe0, 4)));
        assert_eq!(read("0xffffffffffffffff"), Some((u64::MAX, 0)));
        assert!(["0x", "0x ", "7fe0", "0x1g", "0x10000000000000000", ""].iter().all(|text| read(text).is_none()));
    }
}
