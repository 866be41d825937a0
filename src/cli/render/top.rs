//! The table of functions for people.

use super::Renderer;
use super::layout::{Layout, clean, cut_middle};
use super::units::{bytes, count, share};
use crate::cli::analyze::top::Top;
use std::io::{self, Write};

/// How to lay the table out.
#[derive(Clone, Debug)]
pub(crate) struct TopText {
    /// The page.
    pub(crate) layout: Layout,
    /// Rows shown.
    pub(crate) rows: usize,
}

impl Renderer<Top> for TopText {
    fn render(&self, top: &Top, out: &mut dyn Write) -> io::Result<()> {
        let all = if top.bytes > 0.0 { top.bytes } else { 1.0 };
        let head = format!("{} live in {} objects", bytes(top.bytes), count(top.objects));
        writeln!(out, "{}", self.layout.bold(&head))?;
        let columns = format!("{:>9} {:>7} {:>7}  {:>9} {:>7}  name", "self", "", "sum", "with what", "it calls");
        writeln!(out, "{}", self.layout.dim(&columns))?;
        let mut sum = 0.0;
        for row in top.rows.iter().take(self.rows) {
            sum += row.self_bytes;
            let figures = format!(
                "{:>9} {:>7} {:>7}  {:>9} {:>7}  ",
                bytes(row.self_bytes),
                share(row.self_bytes / all),
                share(sum / all),
                bytes(row.below_bytes),
                share(row.below_bytes / all)
            );
            let room = self.layout.width.saturating_sub(figures.chars().count()).max(24);
            writeln!(out, "{figures}{}", cut_middle(&clean(&row.name), room))?;
        }
        let more = top.rows.len().saturating_sub(self.rows);
        if more > 0 {
            writeln!(out, "{}", self.layout.dim(&format!("and {more} more (-n shows them)")))?;
        }
        Ok(())
    }
}
