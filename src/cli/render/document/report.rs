//! A report as a document.

use super::super::units::{Unit, share};
use super::super::words::{conclusion, legend};
use super::super::{refusals, rss, sampling, sentences};
use super::block::{Block, Document, Table};
use crate::cli::analyze::report::{Report, SiteFacts};
use crate::cli::inert::clean;

/// Frames of a place.
const FRAMES: usize = 30;

impl Document {
    /// Of a report, with so many places.
    pub(crate) fn of_report(report: &Report, top: usize) -> Document {
        let shown = report.sites.get(..top.min(report.sites.len())).unwrap_or_default();
        let now = report.dumps.last().and_then(|dump| dump.time).unwrap_or(0.0);
        let mut blocks = vec![Block::Strong(sentences::verdict(report))];
        blocks.extend(report.failures.iter().map(|failed| Block::Text(refusals::sentence(failed))));
        let facts = [sentences::totals(report), sampling::sentences(&report.sampling, now)];
        let resident = report.rss.as_ref().map(sentences::resident);
        let change = report.rss_change.as_ref().map(rss::sentence);
        let facts = facts.into_iter().chain(resident).chain(change).filter(|text| !text.is_empty());
        blocks.extend(facts.map(Block::Text));
        blocks.push(Block::Table(table(report, shown)));
        let legend = legend(shown.iter().map(|site| site.judgement.verdict));
        let words =
            legend.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").replacen(' ', ": ", 1));
        blocks.push(Block::Text(words.collect::<Vec<_>>().join("; ")));
        blocks.extend((1..).zip(shown).map(|(number, site)| stack(number, site)));
        blocks.push(Block::Text(sentences::tap_cost(report)));
        blocks.retain(|block| !matches!(block, Block::Text(text) if text.is_empty()));
        Document { title: sentences::title(report), blocks }
    }
}

fn table(report: &Report, shown: &[SiteFacts]) -> Table {
    let unit = Unit::of(report.metric);
    let row = |site: &SiteFacts| {
        let change = site.trend.change_bytes();
        vec![
            unit.amount(site.bytes),
            share(site.share),
            unit.change(change),
            conclusion(site.judgement.verdict).to_owned(),
            unit.other().named(site.objects),
            clean(&site.label),
        ]
    };
    Table { columns: vec!["live", "share", "change", "verdict", "in", "where"], rows: shown.iter().map(row).collect() }
}

fn stack(number: usize, site: &SiteFacts) -> Block {
    let name = |index: usize| site.frames.get(index).map_or("", |frame| frame.name.as_str());
    let lines = site.place.lines(FRAMES);
    let mut lines: Vec<String> = lines.iter().map(|line| clean(&line.words(name))).collect();
    let hint = site.hint.as_ref().filter(|_| site.is_worth_a_hint);
    lines.extend(hint.map(|hint| format!("=> {}: {}", hint.title, hint.advice)));
    Block::Stack(format!("{number}. {}", clean(&site.label)), lines)
}
