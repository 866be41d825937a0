//! Reads jemalloc's `heap_v2` text, ours and stock (5.0-5.3.1), and the flat form of gperftools.
//!
//!     heap_v2/131072                         mean sampling distance
//!       t*: 22: 9366 [0: 0]                  sums, then one line a thread, perhaps with its name
//!       t1: 22: 9366 [0: 0] name of thread
//!     @ 0x7f3269cb6e00 0x7f3269cb7533        a stack, leaf first
//!       t*: 1: 32 [0: 0]                     objects: bytes [accumulated objects: bytes]
//!       t1: 1: 32 [0: 0]
//!
//!     MAPPED_LIBRARIES:                      /proc/<pid>/maps as it stood, then our metadata
//!
//! The flat form has `heap profile: … @ heap_v2/131072` and lines `1: 32 [0: 0] @ 0x… 0x…`.
//! A damaged dump yields what is whole and a warning per kind of damage; only a file that is no
//! such profile at all is an error. Nothing panics on any input, whatever its bytes.

mod error;
mod line;
mod seen;

pub(crate) use error::ParseError;

use super::Profile;
use super::builder::Builder;
use super::location::LocationId;
use super::sample::Counts;
use line::{CountLine, Lines, beginning, counts_of, leading_hex};
use seen::{Digits, Seen};
use std::io::Read;

/// Reads one dump.
pub(crate) fn parse(input: impl Read) -> Result<Profile, ParseError> {
    let mut lines = Lines::new(input);
    let mut parser = Parser::new();
    parser.header(&mut lines)?;
    parser.body(&mut lines)?;
    Ok(parser.finish(lines.number))
}

/// Where in the file the parser stands.
#[derive(Default, PartialEq)]
enum Section {
    /// Thread sums, before the first stack.
    #[default]
    Threads,
    /// Stacks.
    Stacks,
    /// After `MAPPED_LIBRARIES:`.
    Mappings,
}

struct Parser {
    builder: Builder,
    seen: Seen,
    /// Memory for [`Parser::stack`], used again and again.
    places: Vec<LocationId>,
    section: Section,
    is_flat: bool,
    /// The stack whose lines are being read, and its return addresses' lines so far.
    open: Option<OpenStack>,
}

/// A stack whose count lines are still coming.
struct OpenStack {
    line: u64,
    stack: Box<[LocationId]>,
    counts: Option<Counts>,
    threads: Vec<(u64, Counts)>,
}

impl Parser {
    fn new() -> Parser {
        let (builder, seen, places) = (Builder::default(), Seen::new(), Vec::new());
        Parser { builder, seen, places, section: Section::default(), is_flat: false, open: None }
    }

    fn header<R: Read>(&mut self, lines: &mut Lines<R>) -> Result<(), ParseError> {
        while lines.advance()? {
            let text = String::from_utf8_lossy(lines.line());
            let text = text.trim();
            if let Some(message) = text.strip_prefix('%') {
                self.builder.profile.warnings.push(format!(
                    "line {}: {}",
                    lines.number,
                    message.trim_start_matches("warn ")
                ));
                continue;
            }
            let period = match text.strip_prefix("heap_v2/") {
                Some(period) => period,
                None if text.starts_with("heap profile:") => {
                    self.is_flat = true;
                    self.section = Section::Stacks;
                    text.rsplit_once("@ heap_v2/").map_or("", |(_, period)| period)
                }
                None if text.is_empty() && lines.number == 1 => return Err(ParseError::Empty),
                None => return Err(ParseError::NotAProfile { line: lines.number, text: beginning(text) }),
            };
            let bad = || ParseError::BadPeriod { line: lines.number, text: beginning(text) };
            self.builder.profile.period_bytes = period.parse().map_err(|_| bad())?;
            return Ok(());
        }
        Err(ParseError::Empty)
    }

    fn body<R: Read>(&mut self, lines: &mut Lines<R>) -> Result<(), ParseError> {
        while lines.advance()? {
            // A last line without a newline was cut in the middle of being written.
            if !lines.is_whole && self.section != Section::Mappings {
                self.builder.profile.warnings.push(format!("line {}: cut in the middle, ignored", lines.number));
                continue;
            }
            match lines.line().trim_ascii_start().strip_prefix(b"@") {
                Some(addresses) if self.section != Section::Mappings && !self.is_flat => {
                    self.close();
                    self.section = Section::Stacks;
                    self.open_stack(lines.number, addresses);
                }
                _ if self.section == Section::Stacks && !self.is_flat => match CountLine::plain(lines.line()) {
                    Some(line) => self.count(&line),
                    None => self.line(lines.number, String::from_utf8_lossy(lines.line()).trim()),
                },
                _ => self.line(lines.number, String::from_utf8_lossy(lines.line()).trim()),
            }
        }
        Ok(())
    }

    fn line(&mut self, number: u64, text: &str) {
        if self.section == Section::Mappings {
            return self.mapping_line(number, text);
        }
        if text.starts_with("MAPPED_LIBRARIES:") || text.starts_with("--- Memory map:") {
            self.close();
            self.section = Section::Mappings;
        } else if self.is_flat {
            self.flat_line(number, text);
        } else if text.starts_with('t') {
            self.count_line(number, text);
        } else if !text.is_empty() {
            self.builder.profile.warnings.push(format!("line {number}: `{}` ignored", beginning(text)));
        }
    }

    fn open_stack(&mut self, line: u64, addresses: &[u8]) {
        match self.stack(addresses) {
            Some(stack) => self.open = Some(OpenStack { line, stack, counts: None, threads: Vec::new() }),
            None => self.builder.profile.warnings.push(format!("line {line}: a damaged address, stack ignored")),
        }
    }

    /// The places of a line of addresses. The longest part of a big dump: bytes, not words.
    fn stack(&mut self, addresses: &[u8]) -> Option<Box<[LocationId]>> {
        let mut rest = addresses.trim_ascii_start();
        self.places.clear();
        while !rest.is_empty() {
            // The leaf's address means another place than a caller's, and is not kept.
            let digits = Digits::of(rest).filter(|_| !self.places.is_empty());
            if let Some((place, after)) = digits.and_then(|digits| self.seen.find(digits, rest)) {
                self.places.push(place);
                rest = after.trim_ascii_start();
                continue;
            }
            let (address, after) = leading_hex(rest)?;
            let place = self.builder.location(self.places.len(), address);
            digits.into_iter().for_each(|digits| self.seen.keep(digits, place));
            self.places.push(place);
            rest = after.trim_ascii_start();
        }
        Some(self.places.as_slice().into())
    }

    fn count_line(&mut self, number: u64, text: &str) {
        match CountLine::parse(text) {
            Some(line) => self.count(&line),
            None => self
                .builder
                .profile
                .warnings
                .push(format!("line {number}: damaged count `{}` ignored", beginning(text))),
        }
    }

    fn count(&mut self, line: &CountLine<'_>) {
        match (self.section == Section::Threads, &mut self.open) {
            (true, _) => self.builder.profile.threads.extend(line.thread()),
            (false, Some(open)) => match line.uid {
                None => open.counts = Some(line.counts),
                Some(uid) => open.threads.push((uid, line.counts)),
            },
            // Its `@` line was damaged and told already.
            (false, None) => {}
        }
    }

    fn flat_line(&mut self, number: u64, text: &str) {
        let Some((counts, addresses)) = text.split_once('@') else {
            if !text.is_empty() {
                self.builder.profile.warnings.push(format!("line {number}: `{}` ignored", beginning(text)));
            }
            return;
        };
        self.open_stack(number, addresses.as_bytes());
        match (self.open.as_mut(), counts_of(counts.trim())) {
            (Some(open), Some(counts)) => open.counts = Some(counts),
            (_, None) => {
                self.open = None;
                self.builder.profile.warnings.push(format!("line {number}: damaged count, stack ignored"));
            }
            _ => {}
        }
        self.close();
    }

    /// Files the stack that was being read, if its total line came.
    fn close(&mut self) {
        let Some(OpenStack { line, stack, counts, threads }) = self.open.take() else { return };
        let Some(counts) = counts else {
            self.builder.profile.warnings.push(format!("line {line}: stack without its `t*` line ignored"));
            return;
        };
        self.builder.sample(stack, counts, threads);
    }

    fn mapping_line(&mut self, number: u64, text: &str) {
        if text.starts_with('#') {
            if !self.builder.line(text) {
                self.builder
                    .profile
                    .warnings
                    .push(format!("line {number}: damaged metadata `{}` ignored", beginning(text)));
            }
        } else {
            self.builder.mapping(text);
        }
    }

    fn finish(mut self, last_line: u64) -> Profile {
        self.close();
        if self.section != Section::Mappings {
            self.builder.profile.warnings.push(format!(
                "line {last_line}: the dump ends without MAPPED_LIBRARIES: cut off, or the process could not read /proc; \
                 numbers may be missing and libraries have no names"
            ));
        }
        self.builder.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = include_str!("../../../../tests/dumps/small.heap");

    fn read(text: &str) -> Profile {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_whole_dump_is_read_without_a_warning() {
        let profile = read(SMALL);
        assert_eq!((profile.period_bytes, profile.samples.len(), profile.threads.len()), (131_072, 4, 3));
        assert_eq!(profile.warnings.lines().count(), 0, "{:?}", profile.warnings);
        assert_eq!(profile.threads[1].name.as_deref(), Some("worker thread"));
        let sample = &profile.samples[0];
        assert_eq!(sample.counts, Counts { objects: 78, bytes: 79_873, accum_objects: 0, accum_bytes: 0 });
        assert_eq!(sample.threads.len(), 1);
        // The leaf as it stands, callers less one.
        assert_eq!(profile.location(sample.stack[0]).address, 0x7fe0be4a2630);
        assert_eq!(profile.location(sample.stack[1]).address, 0x7fe0be4a2d20);
        let mapping = profile.location(sample.stack[0]).mapping.and_then(|id| profile.mapping(id)).unwrap();
        assert_eq!(mapping.file_name(), "libjemalloc.so.2");
        assert_eq!(profile.program(), Some("/srv/app/leak"));
        // An empty stack is a sample, too.
        assert!(profile.samples[3].stack.is_empty());
    }

    #[test]
    fn the_flat_form_gives_the_same_totals() {
        let flat = "heap profile: 148: 1228021 [0: 0] @ heap_v2/131072\n\
            78: 79873 [0: 0] @ 0x7fe0be4a2630 0x7fe0be4a2d21\n70: 1148205 [0: 0] @ 0x7fe0be4a2630\n\nMAPPED_LIBRARIES:\n";
        let profile = read(flat);
        let threaded = read(SMALL);
        assert_eq!(profile.warnings.lines().count(), 0);
        let expected = threaded.samples[0].value.bytes + threaded.samples[1].value.bytes;
        assert!((profile.total().bytes - expected).abs() < 1e-6);
    }

    #[test]
    fn carriage_returns_and_warnings_before_the_header_are_accepted() {
        let profile = read(
            "%warn clock ran backwards\r\nheap_v2/1024\r\n  t*: 1: 64 [0: 0]\r\n@ 0x10 0x20\r\n  t*: 1: 64 [0: 0]\r\n\r\nMAPPED_LIBRARIES:\r\n",
        );
        assert_eq!(profile.samples.len(), 1);
        assert_eq!(profile.warnings.lines().collect::<Vec<_>>(), ["line 1: clock ran backwards"]);
    }

    #[test]
    fn what_is_no_profile_is_refused_with_its_line() {
        let message = |text: &str| parse(text.as_bytes()).unwrap_err().to_string();
        assert!(message("").contains("empty"));
        assert!(message("\u{1b}ELF\n").starts_with("line 1: not a jemalloc heap profile"));
        assert!(message("heap_v2/abc\n").starts_with("line 1: no sampling distance"));
        assert!(message("heap profile: 1: 2 [3: 4] @ heapprofile\n").contains("no sampling distance"));
    }

    #[test]
    fn damage_costs_the_damaged_stack_only() {
        let damaged = SMALL.replacen("0x7fe0be4a2d21", "0x7fe0bX4a2d21", 1);
        let profile = read(&damaged);
        assert_eq!((profile.samples.len(), profile.warnings.lines().count()), (3, 1));
        let cut = &SMALL[..SMALL.find("70: 1148205").unwrap() + 6];
        let profile = read(cut);
        assert_eq!(profile.samples.len(), 1);
        assert_eq!(profile.warnings.lines().count(), 3, "{:?}", profile.warnings);
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes under Miri")]
    fn no_truncation_panics_or_invents_bytes() {
        let whole = read(SMALL).total().bytes;
        for length in 0..SMALL.len() {
            if let Ok(profile) = parse(&SMALL.as_bytes()[..length]) {
                assert!(profile.total().bytes <= whole + 1.0, "cut at {length}");
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes under Miri")]
    fn no_flipped_byte_panics() {
        for at in 0..SMALL.len() {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut bytes = SMALL.as_bytes().to_vec();
                bytes[at] ^= flip;
                if let Ok(profile) = parse(bytes.as_slice()) {
                    assert!(profile.total().bytes.is_finite());
                }
            }
        }
    }
}
