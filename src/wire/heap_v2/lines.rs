//! Lines of our own behind the maps of a dump: exact sums, and the history.
//!
//!     # exact: 17 85931622 146856 343726488 587424 0/85931622/146856
//!                                   the 18th stack: objects and bytes that live, objects and bytes ever allocated,
//!                                   and of what lives thread/objects/bytes. Objects are in 65,536ths
//!     # observed_since: 1764367385123456789
//!                                   since when samples are taken (all times: nanoseconds since 1970)
//!     # moment: 1764367386123456789 146856 85931622 9000000 131072 20480000 - - 4 12 - -
//!                                   the process: live bytes and objects, bytes requested so far, period, resident
//!                                   memory, use and limit of its control group, threads, descriptors, use and size of
//!                                   the Java heap; `-`: not known. Further numbers are twelve of resident memory, by
//!                                   class (`wire/resident/class`) and swapped out, zeros where nobody looked; then
//!                                   what of it is anonymous, files, shared, and the pages of malloc
//!     # event: 1764367387123456789 governor 262144
//!     # past_times: 1764367386123456789 1764367388123456789 1764367390000000000
//!                                   when stacks were looked at; the last is the moment of the dump
//!     # past: 17 0/85931622/146856/0/0 1/171863244/293712/85931622/146856
//!                                   the 18th stack: at which of those times objects and bytes were born, and objects
//!                                   and bytes had died, since the time before. A stack without such a line: not known
//!     # past_other: 0/0/0/0 …       at each of those times what no stack's line has: live objects and bytes, and ever
//!
//! Births and deaths wrap around as counters do, so that a damaged row is written and read like any other.

use super::contents::{Part, Row};
use crate::wire::live::history::{CLASSES, EventKind, Incident, Moment};
use crate::wire::live::totals::Totals;
use std::fmt::{self, Display, Formatter};
use std::str::{FromStr, SplitAsciiWhitespace};

/// The exact sums of a stack, with its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exact {
    /// Its number in the dump.
    pub(crate) stack: usize,
    /// Its sums.
    pub(crate) totals: Totals,
    /// Of what lives, (thread, objects, bytes).
    pub(crate) threads: Vec<(u64, u64, u64)>,
}

impl Exact {
    /// Those of a row.
    pub(crate) fn of(stack: usize, row: &Row<'_>) -> Exact {
        let part = |part: &Part| (part.thread as u64, part.objects, part.bytes);
        Exact { stack, totals: row.totals, threads: row.threads.iter().map(part).collect() }
    }

    /// Reads what its `Display` wrote.
    pub(crate) fn parse(text: &str) -> Option<Exact> {
        let mut words = text.split_ascii_whitespace();
        let stack = next(&mut words)?;
        let [live_objects, live_bytes, ever_objects, ever_bytes] = four(|| next(&mut words))?;
        let totals = Totals { live_objects, live_bytes, ever_objects, ever_bytes };
        let threads = words.map(|word| {
            let mut parts = word.split('/').map(|part| part.parse().ok());
            Some((parts.next()??, parts.next()??, parts.next()??))
        });
        Some(Exact { stack, totals, threads: threads.collect::<Option<_>>()? })
    }
}

impl Display for Exact {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Totals { live_objects, live_bytes, ever_objects, ever_bytes } = self.totals;
        write!(f, "{} {live_objects} {live_bytes} {ever_objects} {ever_bytes}", self.stack)?;
        self.threads.iter().try_for_each(|(thread, objects, bytes)| write!(f, " {thread}/{objects}/{bytes}"))
    }
}

/// A moment, with its wall clock.
pub(crate) struct MomentLine<'a>(pub(crate) u64, pub(crate) &'a Moment);

impl MomentLine<'_> {
    /// Reads what its `Display` wrote. What is not written is not there.
    pub(crate) fn parse(text: &str) -> Option<(u64, Moment)> {
        let mut words = text.split_ascii_whitespace();
        let wall_ns = next(&mut words)?;
        let mut moment = Moment {
            live_bytes: next(&mut words)?,
            live_objects: next(&mut words)?,
            allocated_bytes: next(&mut words)?,
            period: next(&mut words)?,
            resident_bytes: known(&mut words)?,
            group_used_bytes: known(&mut words)?,
            group_limit_bytes: known(&mut words)?,
            threads: known(&mut words)?,
            descriptors: known(&mut words)?,
            java_used_bytes: known(&mut words)?,
            java_committed_bytes: known(&mut words)?,
            ..Moment::default()
        };
        for class in &mut moment.classes {
            let Some(word) = words.next() else { return Some((wall_ns, moment)) };
            *class = word.parse().ok()?;
        }
        for part in
            [&mut moment.anonymous_bytes, &mut moment.file_bytes, &mut moment.shared_bytes, &mut moment.malloc_bytes]
        {
            *part = known(&mut words).unwrap_or_default();
        }
        Some((wall_ns, moment))
    }
}

impl Display for MomentLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let MomentLine(wall_ns, moment) = self;
        let Moment { live_bytes, live_objects, allocated_bytes, period, .. } = moment;
        write!(f, "{wall_ns} {live_bytes} {live_objects} {allocated_bytes} {period}")?;
        let known = [
            moment.resident_bytes,
            moment.group_used_bytes,
            moment.group_limit_bytes,
            moment.threads,
            moment.descriptors,
            moment.java_used_bytes,
            moment.java_committed_bytes,
        ];
        known.into_iter().try_for_each(|value| write_known(f, value))?;
        let parts = [moment.anonymous_bytes, moment.file_bytes, moment.shared_bytes, moment.malloc_bytes];
        if moment.classes == [0; CLASSES] && parts == [None; 4] {
            return Ok(());
        }
        moment.classes.iter().try_for_each(|bytes| write!(f, " {bytes}"))?;
        parts.into_iter().try_for_each(|value| write_known(f, value))
    }
}

fn write_known(f: &mut Formatter<'_>, value: Option<u64>) -> fmt::Result {
    match value {
        Some(value) => write!(f, " {value}"),
        None => f.write_str(" -"),
    }
}

/// An event, with its wall clock.
pub(crate) struct EventLine(pub(crate) u64, pub(crate) Incident);

impl EventLine {
    /// Reads what its `Display` wrote: the wall clock, what it was, its number.
    pub(crate) fn parse(text: &str) -> Option<(u64, EventKind, u64)> {
        let mut words = text.split_ascii_whitespace();
        Some((next(&mut words)?, EventKind::of_word(words.next()?)?, next(&mut words)?))
    }
}

impl Display for EventLine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.0, self.1.kind.word(), self.1.value)
    }
}

/// What a stack was at each of the times but the last, as births and deaths; with its number.
pub(crate) struct PastLine<'a>(pub(crate) usize, pub(crate) &'a [Totals]);

impl PastLine<'_> {
    /// Reads what its `Display` wrote, for so many times.
    pub(crate) fn parse(text: &str, times: usize) -> Option<(usize, Vec<Totals>)> {
        let mut words = text.split_ascii_whitespace();
        let stack = next(&mut words)?;
        let mut past = Vec::with_capacity(times);
        let mut now = Totals::default();
        for word in words {
            let mut parts = word.split('/').map(|part| part.parse().ok());
            let at = usize::try_from(parts.next()??).ok().filter(|&at| at >= past.len() && at < times)?;
            let [born_objects, born_bytes, died_objects, died_bytes] = four(|| parts.next()?)?;
            past.resize(at, now);
            now = Totals {
                live_objects: now.live_objects.wrapping_add(born_objects).wrapping_sub(died_objects),
                live_bytes: now.live_bytes.wrapping_add(born_bytes).wrapping_sub(died_bytes),
                ever_objects: now.ever_objects.wrapping_add(born_objects),
                ever_bytes: now.ever_bytes.wrapping_add(born_bytes),
            };
            past.push(now);
        }
        past.resize(times, now);
        Some((stack, past))
    }
}

impl Display for PastLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let PastLine(stack, past) = self;
        write!(f, "{stack}")?;
        let mut before = Totals::default();
        for (at, now) in past.iter().enumerate().filter(|(at, now)| match at.checked_sub(1) {
            Some(last) => past.get(last) != Some(now),
            None => **now != Totals::default(),
        }) {
            let born_objects = now.ever_objects.wrapping_sub(before.ever_objects);
            let born_bytes = now.ever_bytes.wrapping_sub(before.ever_bytes);
            let died_objects = before.live_objects.wrapping_add(born_objects).wrapping_sub(now.live_objects);
            let died_bytes = before.live_bytes.wrapping_add(born_bytes).wrapping_sub(now.live_bytes);
            write!(f, " {at}/{born_objects}/{born_bytes}/{died_objects}/{died_bytes}")?;
            before = *now;
        }
        Ok(())
    }
}

/// What at each of the times no stack's line has.
pub(crate) struct OtherLine<'a>(pub(crate) &'a [Totals]);

impl OtherLine<'_> {
    /// Reads what its `Display` wrote.
    pub(crate) fn parse(text: &str) -> Option<Vec<Totals>> {
        let totals = |word: &str| {
            let mut parts = word.split('/').map(|part| part.parse().ok());
            let [live_objects, live_bytes, ever_objects, ever_bytes] = four(|| parts.next()?)?;
            Some(Totals { live_objects, live_bytes, ever_objects, ever_bytes })
        };
        text.split_ascii_whitespace().map(totals).collect()
    }
}

impl Display for OtherLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut blank = "";
        self.0.iter().try_for_each(|totals| {
            let Totals { live_objects, live_bytes, ever_objects, ever_bytes } = totals;
            write!(f, "{}{live_objects}/{live_bytes}/{ever_objects}/{ever_bytes}", std::mem::replace(&mut blank, " "))
        })
    }
}

/// Times.
pub(crate) struct Times<'a>(pub(crate) &'a [u64]);

impl Times<'_> {
    /// Reads what its `Display` wrote.
    pub(crate) fn parse(text: &str) -> Option<Vec<u64>> {
        text.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
    }
}

impl Display for Times<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut blank = "";
        self.0.iter().try_for_each(|time| write!(f, "{}{time}", std::mem::replace(&mut blank, " ")))
    }
}

fn next<T: FromStr>(words: &mut SplitAsciiWhitespace<'_>) -> Option<T> {
    words.next()?.parse().ok()
}

/// A number or `-`; `None`: neither.
fn known(words: &mut SplitAsciiWhitespace<'_>) -> Option<Option<u64>> {
    match words.next()? {
        "-" => Some(None),
        word => word.parse().ok().map(Some),
    }
}

fn four(mut next: impl FnMut() -> Option<u64>) -> Option<[u64; 4]> {
    Some([next()?, next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(live: u64, ever: u64) -> Totals {
        Totals { live_objects: live << 16, live_bytes: live * 100, ever_objects: ever << 16, ever_bytes: ever * 100 }
    }

    #[test]
    fn lines_survive() {
        let exact = Exact { stack: 17, totals: totals(2, 5), threads: vec![(0, 1, 2), (7, u64::MAX, 0)] };
        assert_eq!(Exact::parse(&exact.to_string()), Some(exact));
        let mut moment = Moment { live_bytes: 1, live_objects: 2, allocated_bytes: 3, period: 4, ..Moment::default() };
        (moment.resident_bytes, moment.descriptors) = (Some(5), Some(0));
        assert_eq!(MomentLine(9, &moment).to_string(), "9 1 2 3 4 5 - - - 0 - -");
        for class in [0, 7] {
            (moment.classes[CLASSES - 1], moment.malloc_bytes) = (class, Some(class));
            assert_eq!(MomentLine::parse(&MomentLine(9, &moment).to_string()), Some((9, moment)));
        }
        let incident = Incident { at_ns: 0, kind: EventKind::Governor, value: 3 };
        assert_eq!(EventLine::parse(&EventLine(1, incident).to_string()), Some((1, EventKind::Governor, 3)));
        assert_eq!(Times::parse(&Times(&[1, u64::MAX]).to_string()), Some(vec![1, u64::MAX]));
    }

    #[test]
    fn a_past_is_births_and_deaths() {
        let past = [totals(0, 0), totals(2, 2), totals(2, 2), totals(1, 4)];
        assert_eq!(PastLine(3, &past).to_string(), "3 1/131072/200/0/0 3/131072/200/196608/300");
        // What a damaged region holds comes through, too.
        for past in [&past[..], &[], &[totals(0, 0); 3], &[totals(5, 9), totals(9, 5), totals(0, 1)]] {
            assert_eq!(PastLine::parse(&PastLine(3, past).to_string(), past.len()), Some((3, past.to_vec())));
            assert_eq!(OtherLine::parse(&OtherLine(past).to_string()).as_deref(), Some(past));
        }
    }

    #[test]
    fn damaged_lines_are_refused() {
        assert!(
            ["", "1", "1 2 3 4", "1 2 3 4 x", "1 2 3 4 5 6", "1 2 3 4 5 6/7"]
                .iter()
                .all(|text| Exact::parse(text).is_none())
        );
        assert!(
            ["", "1 2 3 4 5 - - - - -", "1 2 3 4 5 - - - - - - x y"]
                .iter()
                .all(|text| MomentLine::parse(text).is_none())
        );
        for text in ["", "x", "1 0", "1 0/1/2/3", "1 4/0/0/0/0", "1 2/0/0/0/0 2/0/0/0/0", "1 2/0/0/0/0 1/0/0/0/0"] {
            assert!(PastLine::parse(text, 4).is_none(), "{text}");
        }
        assert!(["1 what 3", "1 dump", "dump 1 2"].iter().all(|text| EventLine::parse(text).is_none()));
    }
}
