//! What all texts for people share: columns, weight of print, cutting and breaking.
//!
//! Names come from foreign files, so what a terminal acts on is replaced before it is measured and cut (`cli/inert`).

use crate::cli::analyze::place::Shown;
pub(crate) use crate::cli::inert::clean;
use std::io::{self, Write};

/// The page that a text is written on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Columns.
    pub(crate) width: usize,
    /// Bold and dim.
    pub(crate) has_colour: bool,
}

impl Layout {
    /// What the eye should meet first.
    pub(crate) fn bold(self, text: &str) -> String {
        if self.has_colour { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// What may be skipped.
    pub(crate) fn dim(self, text: &str) -> String {
        if self.has_colour { format!("\u{1b}[2m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A line of a stack: frames as they are, what is only said about others dim.
    pub(crate) fn shown(self, line: &Shown, text: &str) -> String {
        match line {
            Shown::Frame(_) | Shown::Entry(_) => text.to_owned(),
            Shown::Nameless(..) | Shown::Skipped(_) => self.dim(text),
        }
    }

    /// At most a line; the end gives way.
    pub(crate) fn line(self, text: &str) -> String {
        cut(text, self.width)
    }

    /// Writes what to do, behind an arrow and so many blanks.
    pub(super) fn advise(&self, text: &str, indent: usize, out: &mut dyn Write) -> io::Result<()> {
        for (index, line) in wrap(text, self.width.saturating_sub(indent + 3)).iter().enumerate() {
            writeln!(out, "{:indent$}{} {line}", "", if index == 0 { "=>" } else { "  " })?;
        }
        Ok(())
    }
}

/// Lines of at most `width` characters, broken at blanks.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().filter(|line| !line.is_empty());
        match last {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => *line += &format!(" {word}"),
            Some(_) => lines.push(word.to_owned()),
            None => lines = vec![word.to_owned()],
        }
    }
    lines
}

/// The same, with blanks below the first `indent` characters, which hold the word that the text explains.
pub(crate) fn wrap_below(text: &str, width: usize, indent: usize) -> Vec<String> {
    let word: String = text.chars().take(indent).collect();
    let rest: String = text.chars().skip(indent).collect();
    let lines = wrap(&rest, width.saturating_sub(indent).max(1)).into_iter().enumerate();
    lines.map(|(index, line)| format!("{:<indent$}{line}", if index == 0 { word.as_str() } else { "" })).collect()
}

/// At most `width` characters; the end gives way.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// At most `width` characters; the middle gives way, as both ends of a name tell most.
pub(crate) fn cut_middle(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let head = width.saturating_sub(1) / 2;
    let tail = width.saturating_sub(1) - head;
    text.chars().take(head).chain(['…']).chain(text.chars().skip(count - tail)).collect()
}

/// Bars from nothing to the biggest value, at most `columns` of them.
pub(crate) fn sparkline(values: &[f64], columns: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = values.iter().copied().fold(0.0, f64::max);
    let step = values.len().div_ceil(columns.max(1)).max(1);
    // The last value of each step, counted from the end: the newest is always shown.
    let mut shown: Vec<f64> = values.iter().rev().step_by(step).copied().collect();
    shown.reverse();
    let bar = |value: f64| BARS.get(((value / most) * 7.0).round() as usize).copied().unwrap_or('▁');
    shown.into_iter().map(|value| if most > 0.0 { bar(value) } else { '▁' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparklines_keep_the_newest_value() {
        assert_eq!(sparkline(&[0.0, 35.0, 70.0], 9), "▁▅█");
        assert_eq!(sparkline(&[9.0, 0.0, 0.0, 7.0], 2), "▁▆");
        assert_eq!(sparkline(&[0.0, 0.0], 2), "▁▁");
        assert_eq!(sparkline(&[], 2), "");
    }

    #[test]
    fn long_and_hostile_names_fit_and_stay_inert() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap_below("leaks grows to the end", 17, 6), ["leaks grows to", "      the end"]);
        assert_eq!(cut_middle("abcdefghij", 5), "ab…ij");
        assert_eq!(cut_middle(&"x".repeat(1 << 20), 20).chars().count(), 20);
        assert_eq!(clean("a\u{1b}[31mb\nc"), "a?[31mb?c");
    }
}
