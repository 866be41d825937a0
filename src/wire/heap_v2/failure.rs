//! A failure as a line of a dump:
//!
//!     # failure: 1764367386123456789 thread 11 4711 1048576 96 - … 0x7f0011223344 0x…
//!                                   when, what was asked for, errno, kernel id of the thread, bytes, twelve
//!                                   circumstances (`wire/live/failures`; `-`: not known), the call stack, leaf first

use crate::wire::live::failures::{CIRCUMSTANCES, Circumstances, Failure, Wish};
use std::fmt::{self, Display, Formatter};

/// A failure with its wall clock (nanoseconds since 1970) and its stack.
pub(crate) struct FailureLine<'a>(pub(crate) u64, pub(crate) Failure, pub(crate) &'a [u64]);

/// What a line was read as.
pub(crate) type Read = (u64, Failure, Vec<u64>);

/// Most frames that are believed.
const MOST_FRAMES: usize = 1024;

impl FailureLine<'_> {
    /// Reads what its `Display` wrote.
    pub(crate) fn parse(text: &str) -> Option<Read> {
        let mut words = text.split_ascii_whitespace();
        let wall_ns = words.next()?.parse().ok()?;
        let wish = Wish::of_word(words.next()?)?;
        let (errno, thread) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let bytes = words.next()?.parse().ok()?;
        let mut all = [None; CIRCUMSTANCES];
        for place in &mut all {
            *place = match words.next()? {
                "-" => None,
                number => Some(number.parse().ok()?),
            };
        }
        let frame = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
        let frames = words.take(MOST_FRAMES).map(frame).collect::<Option<Vec<u64>>>()?;
        let circumstances = Circumstances::of_array(all);
        let failure = Failure { at_ns: 0, wish, errno, thread, bytes, stack: None, circumstances };
        Some((wall_ns, failure, frames))
    }
}

impl Display for FailureLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let FailureLine(wall_ns, failure, frames) = self;
        let Failure { wish, errno, thread, bytes, .. } = failure;
        write!(f, "{wall_ns} {} {errno} {thread} {bytes}", wish.word())?;
        failure.circumstances.to_array().into_iter().try_for_each(|value| match value {
            Some(value) => write!(f, " {value}"),
            None => f.write_str(" -"),
        })?;
        frames.iter().try_for_each(|frame| write!(f, " {frame:#x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_and_damage_is_refused() {
        let circumstances = Circumstances { threads: Some(3), overcommit: Some(2), ..Circumstances::default() };
        let failure =
            Failure { at_ns: 0, wish: Wish::Thread, errno: 11, thread: 7, bytes: 8, stack: None, circumstances };
        let text = FailureLine(9, failure, &[0x10, u64::MAX]).to_string();
        assert_eq!(FailureLine::parse(&text), Some((9, failure, vec![0x10, u64::MAX])));
        for cut in ["", "1", "1 what 3 4 5", "1 thread 11 7 8 1 2 3", &format!("{text} 12"), &format!("{text} 0xg")] {
            assert!(FailureLine::parse(cut).is_none(), "{cut}");
        }
    }
}
