//! Suspects for people: the stack in full, and why it is suspected.

use super::Renderer;
use super::layout::{Layout, clean, cut_middle, sparkline, wrap};
use super::units::{bytes, change, count, duration, rate};
use crate::cli::analyze::growth::{Growth, GrowthRow};
use std::io::{self, Write};

/// Columns of the sparkline.
const BARS: usize = 40;

/// How to lay the suspects out.
#[derive(Clone, Debug)]
pub(crate) struct LeaksText {
    /// The page.
    pub(crate) layout: Layout,
    /// Suspects shown.
    pub(crate) top: usize,
}

impl Renderer<Growth> for LeaksText {
    fn render(&self, growth: &Growth, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.layout.bold(&self.layout.line(&clean(&headline(growth)))))?;
        for (index, row) in growth.rows.iter().take(self.top).enumerate() {
            writeln!(out)?;
            self.suspect(index + 1, row, growth, out)?;
        }
        if growth.rows.len() > self.top {
            writeln!(out, "\n{} more (-n N shows them)", growth.rows.len() - self.top)?;
        }
        Ok(())
    }
}

impl LeaksText {
    fn suspect(&self, number: usize, row: &GrowthRow, growth: &Growth, out: &mut dyn Write) -> io::Result<()> {
        let trend = &row.trend;
        let pace = if growth.has_times { rate(trend.slope) } else { format!("{} a dump", change(trend.slope)) };
        let line = format!("{number:>2}. {}, {} -> {}", pace, bytes(trend.first_bytes), bytes(trend.last_bytes));
        writeln!(out, "{}", self.layout.bold(&line))?;
        let times = trend.change_bytes() / trend.noise_bytes.max(1.0) * 3.0;
        let evidence = format!(
            "{:.0} times the sampling error; rose in {:.0} % of {} steps; {} objects of {} each",
            times,
            trend.rising * 100.0,
            row.history.len().saturating_sub(1),
            count(row.objects),
            bytes(if row.objects > 0.0 { trend.last_bytes / row.objects } else { 0.0 }),
        );
        writeln!(out, "    {}", self.layout.dim(&evidence))?;
        writeln!(out, "    {}", sparkline(&row.history, BARS))?;
        for name in &row.frames {
            writeln!(out, "      {}", cut_middle(&clean(name), self.layout.width.saturating_sub(6)))?;
        }
        let Some(hint) = &row.hint else { return Ok(()) };
        let text = format!("{}: {}", hint.title, hint.advice);
        for (index, line) in wrap(&text, self.layout.width.saturating_sub(9)).iter().enumerate() {
            writeln!(out, "      {} {line}", if index == 0 { "=>" } else { "  " })?;
        }
        Ok(())
    }
}

fn headline(growth: &Growth) -> String {
    let name = growth.process.exe.as_deref().and_then(|exe| exe.rsplit('/').next()).unwrap_or("unknown program");
    let pid = growth.process.pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
    let span = match (growth.dumps.first().and_then(|dump| dump.time), growth.dumps.last().and_then(|dump| dump.time)) {
        (Some(first), Some(last)) if growth.has_times => {
            format!("{} dumps over {}", growth.dumps.len(), duration(last - first))
        }
        _ => format!("{} dumps", growth.dumps.len()),
    };
    let grown: f64 = growth.rows.iter().map(|row| row.trend.change_bytes()).sum();
    match growth.rows.len() {
        0 => format!("{name}{pid}: nothing leaks beyond sampling noise in {span}."),
        1 => format!("{name}{pid}: one place leaks, {} in {span}.", change(grown)),
        many => format!("{name}{pid}: {many} places leak, {} in {span}.", change(grown)),
    }
}
