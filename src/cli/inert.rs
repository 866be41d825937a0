//! Makes names harmless: what files and processes say is printed, and a terminal acts on some of it.
//!
//! Control characters (ESC above all) steer a terminal; marks of writing direction, invisible letters and other ends of
//! lines make one name look like another. [`Inert`] stands between every text that we write and its place, [`say`] is
//! the one way to stderr: so no name gets out as it came, even where a caller forgets to clean it.

use std::io::{self, Write};

/// What [`Layout::bold`](crate::cli::render::layout::Layout::bold) and `dim` write: the only sequences that pass.
const WEIGHTS: [&str; 3] = ["\u{1b}[1m", "\u{1b}[2m", "\u{1b}[0m"];

/// Whether a character acts on a terminal, or hides.
pub(crate) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Soft hyphen; Arabic letter mark; fillers without a shape.
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{180e}'
            // Spaces of no width, marks of direction; line and paragraph separators, embeddings and overrides.
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            // Invisible operators, isolates, deprecated format characters; the byte order mark.
            | '\u{2060}'..='\u{206f}' | '\u{feff}'
            // Annotations; tags.
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with a question mark for each such character.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if is_harmful(c) { '?' } else { c }).collect()
}

/// Says something on stderr. Only a line that goes on with two blanks is a new line: no name begins one of its own.
pub(crate) fn say(text: &str) {
    // Nothing is lost if stderr is closed.
    let _ = writeln!(io::stderr(), "heaptap: {}", lines(text));
}

fn lines(text: &str) -> String {
    let mut lines = String::with_capacity(text.len());
    for (number, line) in text.split('\n').enumerate() {
        match number {
            0 => {}
            _ if line.starts_with("  ") => lines.push('\n'),
            _ => lines.push('?'),
        }
        lines += &clean(line);
    }
    lines
}

/// How a harmful character is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As a question mark; weight of print passes or is left out.
    Text { has_weight: bool },
    /// As JSON's `\u202e`: inside its strings it means the same, outside there is none.
    Json,
}

/// A writer that lets nothing harmful through but ends of lines.
pub(crate) struct Inert<W> {
    out: W,
    way: Way,
    /// The beginning of a letter whose rest has not come.
    cut: Vec<u8>,
}

impl<W: Write> Inert<W> {
    /// For people.
    pub(crate) fn text(out: W, has_weight: bool) -> Inert<W> {
        Inert { out, way: Way::Text { has_weight }, cut: Vec::new() }
    }

    /// For programs that read JSON.
    pub(crate) fn json(out: W) -> Inert<W> {
        Inert { out, way: Way::Json, cut: Vec::new() }
    }

    fn put(&mut self, mut text: &str) -> io::Result<()> {
        while let Some(at) = text.find(|c| is_harmful(c) && c != '\n') {
            let (before, rest) = text.split_at(at);
            self.out.write_all(before.as_bytes())?;
            let weight = WEIGHTS.iter().find(|weight| rest.starts_with(**weight));
            text = match (self.way, weight) {
                (Way::Text { has_weight }, Some(weight)) => {
                    self.out.write_all(if has_weight { weight.as_bytes() } else { b"" })?;
                    rest.get(weight.len()..).unwrap_or("")
                }
                _ => {
                    let mut letters = rest.chars();
                    letters.next().map_or(Ok(()), |letter| self.put_harmful(letter))?;
                    letters.as_str()
                }
            };
        }
        self.out.write_all(text.as_bytes())
    }

    fn put_harmful(&mut self, letter: char) -> io::Result<()> {
        match self.way {
            Way::Text { .. } => self.out.write_all(b"?"),
            Way::Json => letter.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(self.out, "\\u{unit:04x}")),
        }
    }
}

impl<W: Write> Write for Inert<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cut.is_empty() && bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
            self.out.write_all(bytes)?;
            return Ok(bytes.len());
        }
        let joined = (!self.cut.is_empty()).then(|| [std::mem::take(&mut self.cut).as_slice(), bytes].concat());
        let all = joined.as_deref().unwrap_or(bytes);
        for chunk in all.utf8_chunks() {
            self.put(chunk.valid())?;
            let invalid = chunk.invalid();
            let is_last = invalid.as_ptr_range().end == all.as_ptr_range().end;
            match std::str::from_utf8(invalid) {
                Err(error) if error.error_len().is_none() && is_last => self.cut = invalid.to_vec(),
                Err(_) => self.out.write_all("\u{fffd}".as_bytes())?,
                Ok(_) => {}
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}]0;x\u{7}b\u{202e}c\u{7f}d\u{9b}e\u{2067}f\u{200b}g\u{2028}h\r\ti\u{e0041}";

    #[test]
    fn what_a_terminal_acts_on_or_hides_is_replaced() {
        assert_eq!(clean(HOSTILE), "a?]0;x?b?c?d?e?f?g?h??i?");
        assert_eq!(clean("Größe: 数 <init> λ…"), "Größe: 数 <init> λ…");
        assert_eq!(lines("one\nheaptap: forged\n  listed\u{1b}\n"), "one?heaptap: forged\n  listed??");
    }

    #[test]
    fn only_our_own_weights_pass_and_only_where_they_are_wanted() {
        let through = |has_weight| {
            let mut out = Vec::new();
            write!(Inert::text(&mut out, has_weight), "\u{1b}[1mhead\u{1b}[0m\n{HOSTILE}\u{1b}[31m").unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(through(true), "\u{1b}[1mhead\u{1b}[0m\na?]0;x?b?c?d?e?f?g?h??i??[31m");
        assert_eq!(through(false), "head\na?]0;x?b?c?d?e?f?g?h??i??[31m");
    }

    #[test]
    fn json_means_the_same() {
        let mut out = Vec::new();
        serde_json::to_writer(Inert::json(&mut out), HOSTILE).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains(is_harmful), "{text}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), HOSTILE);
    }

    #[test]
    fn letters_that_come_in_pieces_are_whole_again() {
        let text = "ä\u{202e}数\n";
        for size in 1..4 {
            let mut out = Vec::new();
            let mut inert = Inert::text(&mut out, false);
            text.as_bytes().chunks(size).for_each(|piece| inert.write_all(piece).unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), "ä?数\n", "{size}");
        }
        let mut out = Vec::new();
        Inert::text(&mut out, false).write_all(b"a\xffb\xc3").unwrap();
        assert_eq!(out, "a\u{fffd}b".as_bytes());
    }
}
