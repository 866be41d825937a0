//! What a garbage collection freed, for people.

use super::Renderer;
use super::layout::{Layout, clean, cut_middle, wrap};
use super::units::{bytes, share};
use super::words::called;
use crate::cli::analyze::collected::{Collection, Fate};
use std::io::{self, Write};

/// How to lay it out.
#[derive(Clone, Debug)]
pub(crate) struct CollectedText {
    /// The page.
    pub(crate) layout: Layout,
    /// Places shown.
    pub(crate) top: usize,
}

impl Renderer<Collection> for CollectedText {
    fn render(&self, collection: &Collection, out: &mut dyn Write) -> io::Result<()> {
        let who = called(collection.process.name(), collection.process.pid);
        let freed = (collection.before_bytes - collection.after_bytes).max(0.0);
        let line = format!(
            "{who}: of {} live, {} only waited for the garbage collector; {} are held.",
            bytes(collection.before_bytes),
            bytes(freed),
            bytes(collection.after_bytes)
        );
        for line in wrap(&clean(&line), self.layout.width) {
            writeln!(out, "{}", self.layout.bold(&line))?;
        }
        writeln!(
            out,
            "\n{}",
            self.layout.dim(&format!("{:>10} {:>10} {:>8}  {:<6}  where", "before", "after", "freed", ""))
        )?;
        for row in collection.rows.iter().take(self.top) {
            let part = row.freed_bytes() / row.before_bytes.max(1.0);
            let fate = match row.fate {
                Fate::Waited => "waited",
                Fate::Held => "held",
            };
            let figures =
                format!("{:>10} {:>10} {:>8}  {fate:<6}", bytes(row.before_bytes), bytes(row.after_bytes), share(part));
            let room = self.layout.width.saturating_sub(figures.chars().count() + 2).max(20);
            writeln!(out, "{figures}  {}", cut_middle(&clean(&row.place.label_within(room)), room))?;
        }
        if collection.rows.len() > self.top {
            writeln!(
                out,
                "{}",
                self.layout.dim(&format!("{} more (-n N shows them)", collection.rows.len() - self.top))
            )?;
        }
        self.advice(collection, out)
    }
}

impl CollectedText {
    /// What to do about either kind, if there is much of it.
    fn advice(&self, collection: &Collection, out: &mut dyn Write) -> io::Result<()> {
        let freed = collection.before_bytes - collection.after_bytes;
        let mut told = Vec::new();
        if freed > collection.noise_bytes.max(0.1 * collection.before_bytes) {
            told.push(
                "What waited is no leak: the Java heap has so much room that the collector seldom comes. A smaller -Xmx, \
                 -XX:MaxDirectMemorySize, or closing such objects bounds it."
                    .to_owned(),
            );
        }
        let held = collection.rows.iter().find(|row| row.fate == Fate::Held && row.hint.is_some());
        told.extend(held.and_then(|row| row.hint.as_ref()).map(|hint| format!("{}: {}", hint.title, hint.advice)));
        for text in told {
            writeln!(out)?;
            self.layout.advise(&text, 0, out)?;
        }
        Ok(())
    }
}
