//! Complaints about an option string: what is wrong, and which value holds instead. Allocates nothing.

/// One thing that is wrong with an option string. Worded like jemalloc's messages where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Complaint<'a> {
    /// A value that the key does not take: in jemalloc's words, what it takes, and what holds instead.
    BadValue { words: &'static str, key: &'a [u8], value: &'a [u8], allowed: &'static str, used: Used },
    /// No pair of key and value; skipped.
    Malformed(&'a [u8]),
    /// A key of jemalloc's profiler that heaptap does not act on.
    Unsupported { key: &'a [u8] },
    /// No key at all, but nearly one of the profiler's. It is passed on, and jemalloc complains, too.
    Mistyped { key: &'a [u8], meant: &'static [u8] },
}

/// Whether who writes a key that does not exist means this one: after one slip, or without `prof_` before it.
pub(super) fn is_meant(key: &[u8], other: &[u8]) -> bool {
    is_slip(key, other) || other.strip_prefix(b"prof_") == Some(key)
}

/// Whether one slip of the pen leads from one key to the other: a letter more, less, changed, or two exchanged.
fn is_slip(key: &[u8], other: &[u8]) -> bool {
    let same = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let start = same(key, other);
    let (key, other) = (key.get(start..).unwrap_or_default(), other.get(start..).unwrap_or_default());
    let end = key.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count();
    let rest = |text: &'_ [u8]| -> usize { text.len().saturating_sub(end) };
    match (key, other) {
        ([a, b, ..], [c, d, ..]) if rest(key) == 2 && rest(other) == 2 => (a, b) == (d, c),
        _ => rest(key) <= 1 && rest(other) <= 1,
    }
}

/// The value that a key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Used {
    /// Of a switch.
    Bool(bool),
    /// Of most others.
    Number(i64),
    /// Of what may be a share.
    Percent(i64),
    /// Of a choice.
    Word(&'static str),
}

impl Used {
    /// As one would write it; `room` is for its text.
    pub(crate) fn text(self, room: &mut [u8; TEXT_BYTES]) -> &[u8] {
        let (number, unit) = match self {
            Used::Bool(true) => return b"true",
            Used::Bool(false) => return b"false",
            Used::Word(word) => return word.as_bytes(),
            Used::Number(number) => (number, ""),
            Used::Percent(number) => (number, "%"),
        };
        let mut at = room.len();
        let mut put = |byte| {
            at -= 1;
            room.get_mut(at).into_iter().for_each(|place| *place = byte);
        };
        unit.bytes().for_each(&mut put);
        let mut rest = number.unsigned_abs();
        loop {
            put(b'0' + (rest % 10) as u8);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            put(b'-');
        }
        room.get(at..).unwrap_or_default()
    }
}

/// Room for the longest number, its sign and a unit.
pub(crate) const TEXT_BYTES: usize = 21;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_one_would_write_them() {
        let text = |number| String::from_utf8(Used::Number(number).text(&mut [0; TEXT_BYTES]).to_vec()).unwrap();
        for number in [0, 7, -1, 1_234_567, i64::MAX, i64::MIN] {
            assert_eq!(text(number), number.to_string());
        }
    }
}
