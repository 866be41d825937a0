//! The table of functions for people.

use super::Renderer;
use super::layout::{Layout, clean, cut_middle, wrap};
use super::sentences::held;
use super::units::{Unit, share};
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
        let unit = Unit::of(top.metric);
        let head = held(top.metric, top.bytes, top.objects);
        writeln!(out, "{}", self.layout.bold(&head))?;
        if let Some(place) = top.place.as_ref().filter(|_| top.place_bytes > 0.0) {
            let most = format!(
                "{} of it in one place: {}",
                unit.amount(top.place_bytes),
                cut_middle(&clean(&place.label()), self.layout.width)
            );
            for line in wrap(&most, self.layout.width) {
                writeln!(out, "{line}")?;
            }
        }
        let columns = format!("{:>9} {:>7} {:>7}  {:>9} {:>7}  name", "self", "", "sum", "with what", "it calls");
        writeln!(out, "{}", self.layout.dim(&columns))?;
        let mut sum = 0.0;
        for row in top.rows.iter().take(self.rows) {
            sum += row.self_bytes;
            let figures = format!(
                "{:>9} {:>7} {:>7}  {:>9} {:>7}  ",
                unit.amount(row.self_bytes),
                share(row.self_bytes / all),
                share(sum / all),
                unit.amount(row.below_bytes),
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
