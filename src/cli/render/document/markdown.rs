//! Markdown as GitHub, GitLab and most trackers read it.

use super::super::Renderer;
use super::block::{Block, Document, Table};
use std::io::{self, Write};

/// Writes Markdown.
pub(crate) struct Markdown;

impl Renderer<Document> for Markdown {
    fn render(&self, document: &Document, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "### {}", text(&document.title))?;
        for block in &document.blocks {
            writeln!(out)?;
            match block {
                Block::Strong(words) => writeln!(out, "**{}**", text(words))?,
                Block::Text(words) => writeln!(out, "{}", text(words))?,
                Block::Table(rows) => table(rows, out)?,
                Block::Stack(heading, lines) => stack(heading, lines, out)?,
            }
        }
        Ok(())
    }
}

fn table(table: &Table, out: &mut dyn Write) -> io::Result<()> {
    let last = table.columns.len().saturating_sub(1);
    let rule: String = (0..=last).map(|at| if at == last { ":---|" } else { "---:|" }).collect();
    writeln!(out, "| {} |\n|{rule}", table.columns.join(" | "))?;
    for row in &table.rows {
        let cells = row.iter().enumerate().map(|(at, cell)| if at == last { code(cell) } else { text(cell) });
        writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "))?;
    }
    Ok(())
}

/// Folded, as stacks are long.
fn stack(heading: &str, lines: &[String], out: &mut dyn Write) -> io::Result<()> {
    let longest = lines.iter().flat_map(|line| line.split(|letter| letter != '`')).map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    writeln!(out, "<details><summary>{}</summary>\n\n{fence}", text(heading))?;
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    writeln!(out, "{fence}\n\n</details>")
}

/// A name in code: no letter of it means anything but the one that ends it, and the one that ends a cell.
fn code(name: &str) -> String {
    format!("`{}`", name.replace('`', "'").replace('|', "\\|"))
}

/// Words: what would be markup is escaped.
fn text(words: &str) -> String {
    let mut escaped = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // An at sign would call somebody.
            '@' => escaped.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' => escaped.extend(['\\', letter]),
            _ => escaped.push(letter),
        }
    }
    escaped
}
