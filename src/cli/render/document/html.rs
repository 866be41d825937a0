//! HTML that loads nothing and runs nothing: for trackers and mails that take a file.

use super::super::Renderer;
use super::block::{Block, Document, Table};
use std::io::{self, Write};

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
    <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n";
const STYLE: &str = "<style>body { max-width: 100ch; margin: 1em auto; padding: 0 1em; font: 14px/1.5 system-ui, \
    sans-serif; color-scheme: light dark; overflow-wrap: anywhere } table { border-collapse: collapse } th, td { \
    padding: 2px 10px 2px 0; text-align: right; vertical-align: top; border-bottom: 1px solid #8888; white-space: \
    nowrap } th:last-child, td:last-child { text-align: left; white-space: normal } pre { overflow-x: auto }</style>\n";

/// Writes HTML.
pub(crate) struct Html;

impl Renderer<Document> for Html {
    fn render(&self, document: &Document, out: &mut dyn Write) -> io::Result<()> {
        let title = text(&document.title);
        write!(out, "{HEAD}<title>{title}</title>\n{STYLE}</head>\n<body>\n<h1>{title}</h1>\n")?;
        for block in &document.blocks {
            match block {
                Block::Strong(words) => writeln!(out, "<p><strong>{}</strong></p>", text(words))?,
                Block::Text(words) => writeln!(out, "<p>{}</p>", text(words))?,
                Block::Table(rows) => table(rows, out)?,
                Block::Stack(heading, lines) => {
                    let lines: Vec<String> = lines.iter().map(|line| text(line)).collect();
                    let heading = text(heading);
                    writeln!(out, "<details><summary>{heading}</summary><pre>{}</pre></details>", lines.join("\n"))?;
                }
            }
        }
        writeln!(out, "</body>\n</html>")
    }
}

fn table(table: &Table, out: &mut dyn Write) -> io::Result<()> {
    let titles: String = table.columns.iter().map(|title| format!("<th scope=\"col\">{title}</th>")).collect();
    writeln!(out, "<table>\n<thead><tr>{titles}</tr></thead>\n<tbody>")?;
    for row in &table.rows {
        let cells: String = row.iter().map(|cell| format!("<td>{}</td>", text(cell))).collect();
        writeln!(out, "<tr>{cells}</tr>")?;
    }
    writeln!(out, "</tbody>\n</table>")
}

fn text(words: &str) -> String {
    let mut escaped = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}
