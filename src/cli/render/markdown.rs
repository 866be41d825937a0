//! A page of the documentation, which is Markdown, as text for a terminal: headings, paragraphs, and tables as lists.
//!
//! It knows as much of Markdown as our pages use. A cell of a table has no width of its own: what stands in it is text.

use super::layout::{Layout, wrap};
use std::io::{self, Write};

/// Blanks before what is said about a table's entry.
const INDENT: usize = 6;

/// Writes the page.
pub(crate) fn write(page: &str, layout: Layout, out: &mut dyn Write) -> io::Result<()> {
    let mut columns: Vec<String> = Vec::new();
    let mut paragraph = String::new();
    for line in page.lines().chain([""]) {
        if line.starts_with(['|', '#']) || line.is_empty() {
            for line in wrap(&plain(paragraph.trim()), layout.width).iter().filter(|line| !line.is_empty()) {
                writeln!(out, "{line}")?;
            }
            paragraph.clear();
        }
        if line.starts_with("|--") {
            continue;
        }
        if let Some(row) = line.strip_prefix('|') {
            let cells = cells(row);
            if columns.is_empty() {
                columns = cells;
            } else {
                entry(&columns, &cells, layout, out)?;
            }
            continue;
        }
        columns.clear();
        match line.strip_prefix('#') {
            Some(heading) => writeln!(out, "{}", layout.bold(&plain(heading.trim_start_matches('#').trim())))?,
            None if line.is_empty() => writeln!(out)?,
            None => paragraph += &format!("{line} "),
        }
    }
    Ok(())
}

/// A row: its first cell, and below it the others, each with the name of its column unless it is the last.
fn entry(columns: &[String], cells: &[String], layout: Layout, out: &mut dyn Write) -> io::Result<()> {
    let mut cells = columns.iter().zip(cells);
    let Some((_, term)) = cells.next() else { return Ok(()) };
    for line in wrap(term, layout.width.saturating_sub(2)) {
        writeln!(out, "  {}", layout.bold(&line))?;
    }
    for (column, cell) in cells.filter(|(_, cell)| !cell.is_empty()) {
        let text = if column == "meaning" { cell.clone() } else { format!("{column}: {cell}") };
        for line in wrap(&text, layout.width.saturating_sub(INDENT)) {
            writeln!(out, "{:INDENT$}{line}", "")?;
        }
    }
    Ok(())
}

/// The cells of a row without its first bar; `\|` is a bar in a cell.
fn cells(row: &str) -> Vec<String> {
    let row = row.trim_end().trim_end_matches('|').replace("\\|", "\0");
    row.split('|').map(|cell| plain(cell.trim()).replace('\0', "|")).collect()
}

/// Without the marks of code and weight.
fn plain(text: &str) -> String {
    text.replace('`', "").replace("**", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_paragraphs_and_tables_become_lines() {
        let page = "# Keys\n\nTwo\n`lines`.\n\n| key | default | meaning |\n|---|---|---|\n| `a\\|b` | 0 | what **it** is |\n| `c` | | other |\n";
        let mut out = Vec::new();
        write(page, Layout { width: 80, has_colour: false }, &mut out).unwrap();
        let wanted = "Keys\n\nTwo lines.\n\n  a|b\n      default: 0\n      what it is\n  c\n      other\n\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}
