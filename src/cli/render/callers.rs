//! A function between its callers and its callees, for people.

use super::Renderer;
use super::layout::{Layout, clean, cut_middle};
use super::units::{bytes, share};
use crate::cli::analyze::callers::{Around, Callers, Edge};
use std::io::{self, Write};

/// How to lay it out.
#[derive(Clone, Debug)]
pub(crate) struct CallersText {
    /// The page.
    pub(crate) layout: Layout,
    /// Neighbours shown on each side, and functions shown.
    pub(crate) rows: usize,
}

impl Renderer<Callers> for CallersText {
    fn render(&self, callers: &Callers, out: &mut dyn Write) -> io::Result<()> {
        for (index, function) in callers.functions.iter().take(self.rows).enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            self.edges(function, &function.callers, "called by nothing: a thread begins here", out)?;
            self.function(function, callers.bytes, out)?;
            self.edges(function, &function.callees, "allocates itself", out)?;
        }
        let more = callers.functions.len().saturating_sub(self.rows);
        if more > 0 {
            writeln!(out, "\n{}", self.layout.dim(&format!("and {more} more functions (-n shows them)")))?;
        }
        Ok(())
    }
}

impl CallersText {
    fn function(&self, function: &Around, all: f64, out: &mut dyn Write) -> io::Result<()> {
        let all = if all > 0.0 { all } else { 1.0 };
        let figures = format!("{:>9} {:>7} ", bytes(function.bytes), share(function.bytes / all));
        let room = self.layout.width.saturating_sub(figures.chars().count()).max(24);
        let library =
            if function.library.is_empty() { String::new() } else { format!("  {}", clean(&function.library)) };
        let name = cut_middle(&(clean(&function.name) + &library), room);
        writeln!(out, "{}", self.layout.bold(&format!("{figures}{name}")))
    }

    fn edges(&self, function: &Around, edges: &[Edge], nobody: &str, out: &mut dyn Write) -> io::Result<()> {
        let all = if function.bytes > 0.0 { function.bytes } else { 1.0 };
        for edge in edges.iter().take(self.rows) {
            let figures = format!("{:>9} {:>7}     ", bytes(edge.bytes), share(edge.bytes / all));
            let room = self.layout.width.saturating_sub(figures.chars().count()).max(24);
            let name = edge.name.as_deref().map_or_else(|| format!("({nobody})"), clean);
            writeln!(out, "{figures}{}", cut_middle(&name, room))?;
        }
        let more = edges.len().saturating_sub(self.rows);
        if more > 0 { writeln!(out, "{:>22}… {more} more", "") } else { Ok(()) }
    }
}
