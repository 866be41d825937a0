//! Growth for people: one line a row, the biggest change first, with its evidence beside it.

use super::Renderer;
use super::layout::{Layout, clean, cut_middle, sparkline, wrap, wrap_below};
use super::sentences::looked_at;
use super::units::Unit;
use super::words::{LEGEND, called, conclusion, legend, word};
use crate::cli::analyze::growth::{Growth, GrowthRow};
use crate::cli::analyze::trend::Verdict;
use std::io::{self, Write};

/// Columns of the sparkline.
const BARS: usize = 10;
/// Columns that a place has at least: what 80 leave.
const LEAST_PLACE: usize = 19;

/// How to lay the table out.
#[derive(Clone, Debug)]
pub(crate) struct GrowthText {
    /// The page.
    pub(crate) layout: Layout,
    /// Rows shown, from each end.
    pub(crate) top: usize,
    /// Also rows that did not change beyond noise.
    pub(crate) shows_all: bool,
    /// Whether it compares two states (`diff`) rather than following one process.
    pub(crate) is_comparison: bool,
}

impl Renderer<Growth> for GrowthText {
    fn render(&self, growth: &Growth, out: &mut dyn Write) -> io::Result<()> {
        self.head(growth, out)?;
        if growth.moments.len() < 2 {
            return writeln!(
                out,
                "One dump without history: growth needs two or more of the same process (heaptap leaks judges one by ages)."
            );
        }
        let is_shown = |row: &&GrowthRow| self.shows_all || is_change(row);
        let mut rows: Vec<&GrowthRow> = growth.rows.iter().filter(is_shown).collect();
        rows.sort_by(|a, b| b.trend.change_bytes().abs().total_cmp(&a.trend.change_bytes().abs()));
        if rows.is_empty() {
            writeln!(out, "\nNothing changed beyond sampling noise (--all shows every row).")?;
            return self.few_dumps(growth, out);
        }
        writeln!(out, "\n{}", self.layout.dim(&self.columns()))?;
        for row in rows.iter().take(self.top) {
            self.row(row, growth, out)?;
        }
        if rows.len() > self.top {
            writeln!(out, "{}", self.layout.dim(&format!("{} more (-n N shows them)", rows.len() - self.top)))?;
        }
        if !self.is_comparison {
            let words = legend(rows.iter().take(self.top).map(|row| row.judgement.verdict));
            writeln!(out)?;
            let mut wrapped = words.iter().flat_map(|line| wrap_below(line, self.layout.width, LEGEND));
            wrapped.try_for_each(|line| writeln!(out, "{}", self.layout.dim(&line)))?;
        }
        self.hints(&rows, out)?;
        self.few_dumps(growth, out)
    }
}

impl GrowthText {
    fn head(&self, growth: &Growth, out: &mut dyn Write) -> io::Result<()> {
        let who = || called(growth.process.name(), growth.process.pid);
        let title = match self.is_comparison {
            true => "before -> after".to_owned(),
            false => format!("{}: {}", who(), looked_at(growth)),
        };
        let (total, unit) = (&growth.total, Unit::of(growth.metric));
        let sums = format!("{} -> {}", unit.amount(total.first_bytes), unit.amount(total.last_bytes));
        let judged = match total.verdict {
            Verdict::Unknown => String::new(),
            verdict => format!(" ({}, {})", unit.change(total.change_bytes()), word(verdict)),
        };
        let line = format!("{title}, {sums}{judged}");
        writeln!(out, "{}", self.layout.bold(&self.layout.line(&clean(&line))))?;
        let noise = format!(
            "± {} for the total, by sampling and by its own ups and downs (95 of 100 cases).",
            unit.amount(total.noise_bytes)
        );
        wrap(&noise, self.layout.width).iter().try_for_each(|line| writeln!(out, "{}", self.layout.dim(line)))
    }

    fn columns(&self) -> String {
        match self.is_comparison {
            true => format!("{:>11} {:>10} {:>10}  where", "change", "before", "after"),
            false => {
                format!("{:>11} {:>10} {:>14} {:>9}  {:<BARS$}  where", "change", "now", "rate", "verdict", "history")
            }
        }
    }

    fn row(&self, row: &GrowthRow, growth: &Growth, out: &mut dyn Write) -> io::Result<()> {
        let (trend, unit) = (&row.trend, Unit::of(growth.metric));
        let per_dump = || format!("{}/dump", unit.change(trend.slope));
        let pace = if growth.has_times { unit.rate(trend.slope) } else { per_dump() };
        let figures = match self.is_comparison {
            true => format!(
                "{:>11} {:>10} {:>10}",
                unit.change(trend.change_bytes()),
                unit.amount(trend.first_bytes),
                unit.amount(trend.last_bytes)
            ),
            false => format!(
                "{:>11} {:>10} {:>14} {:>9}  {:<BARS$}",
                unit.change(trend.change_bytes()),
                unit.amount(trend.last_bytes),
                pace,
                conclusion(row.judgement.verdict),
                sparkline(&row.course, BARS)
            ),
        };
        let room = self.layout.width.saturating_sub(figures.chars().count() + 2).max(LEAST_PLACE);
        writeln!(out, "{figures}  {}", cut_middle(&clean(&row.place.label_within(room)), room))
    }

    /// Each known cause once.
    fn hints(&self, rows: &[&GrowthRow], out: &mut dyn Write) -> io::Result<()> {
        let mut told: Vec<&str> = Vec::new();
        for hint in rows
            .iter()
            .take(self.top)
            .filter(|row| row.judgement.verdict.is_suspect())
            .filter_map(|row| row.hint.as_ref())
        {
            if told.contains(&hint.title) {
                continue;
            }
            if told.is_empty() {
                writeln!(out)?;
            }
            told.push(hint.title);
            self.layout.advise(&format!("{}: {}", hint.title, hint.advice), 0, out)?;
        }
        Ok(())
    }

    fn few_dumps(&self, growth: &Growth, out: &mut dyn Write) -> io::Result<()> {
        match growth.moments.len() {
            2 if !self.is_comparison => writeln!(
                out,
                "{}",
                self.layout.dim("Two dumps cannot tell a leak from a cache that fills: more dumps do.")
            ),
            _ => Ok(()),
        }
    }
}

/// Whether a row is worth showing: it changed beyond noise.
pub(super) fn is_change(row: &GrowthRow) -> bool {
    matches!(row.trend.verdict, Verdict::Grows | Verdict::Plateau | Verdict::Shrinks)
        || row.judgement.verdict.is_suspect()
}
