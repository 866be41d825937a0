//! What changed between two states as a document: a comment under a pull request.

use super::super::growth::is_change;
use super::super::units::Unit;
use super::super::words::word;
use super::block::{Block, Document, Table};
use crate::cli::analyze::growth::{Growth, GrowthRow};
use crate::cli::analyze::trend::Verdict;
use crate::cli::inert::clean;

impl Document {
    /// Of a comparison, with so many rows; `shows_all`: also rows that did not change beyond noise.
    pub(crate) fn of_diff(growth: &Growth, top: usize, shows_all: bool) -> Document {
        let (total, unit) = (&growth.total, Unit::of(growth.metric));
        let judged = match total.verdict {
            Verdict::Unknown => "cannot be judged",
            verdict => word(verdict),
        };
        let (before, after) = (unit.amount(total.first_bytes), unit.amount(total.last_bytes));
        let change = unit.change(total.change_bytes());
        let sums =
            format!("{change} live ({before} before, {after} after, ± {}): {judged}.", unit.amount(total.noise_bytes));
        let is_shown = |row: &&GrowthRow| shows_all || is_change(row);
        let mut rows: Vec<&GrowthRow> = growth.rows.iter().filter(is_shown).collect();
        rows.sort_by(|a, b| b.trend.change_bytes().abs().total_cmp(&a.trend.change_bytes().abs()));
        let more = rows.len().saturating_sub(top);
        let cells = |row: &&GrowthRow| {
            let trend = &row.trend;
            let figures =
                [unit.change(trend.change_bytes()), unit.amount(trend.first_bytes), unit.amount(trend.last_bytes)];
            figures.into_iter().chain([clean(&row.place.label())]).collect()
        };
        let table = Table {
            columns: vec!["change", "before", "after", "where"],
            rows: rows.iter().take(top).map(cells).collect(),
        };
        let mut blocks = vec![Block::Strong(sums)];
        match table.rows.is_empty() {
            true => blocks.push(Block::Text("Nothing changed beyond sampling noise.".to_owned())),
            false => blocks.push(Block::Table(table)),
        }
        if more > 0 {
            blocks.push(Block::Text(format!("{more} more rows changed.")));
        }
        Document { title: "Native memory: before and after".to_owned(), blocks }
    }
}
