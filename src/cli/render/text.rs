//! The report for people: one screen, 80 to 120 columns, the answer in the first three lines.

use super::Renderer;
use super::layout::{Layout, clean, cut, cut_middle, wrap, wrap_below};
use super::plot::Plot;
use super::sentences::{self, lives, ranges, tap_cost, title, totals, verdict};
use super::units::{Unit, share};
use super::words::{LEGEND, conclusion, legend};
use super::{kept, mapped, refusals, rss, sampling};
use crate::cli::analyze::place::Shown;
use crate::cli::analyze::report::{Frame, Report, SiteFacts};
use crate::cli::analyze::trend::Verdict;
use crate::cli::analyze::verdict::Conclusion;
use crate::cli::profile::metric::Metric;
use std::io::{self, Write};

/// First failures that are told.
const FAILURES_SHOWN: usize = 3;
/// Rows of the plot, with its axis.
const PLOT_ROWS: u16 = 6;
/// Frames shown per site.
const FRAMES_SHOWN: usize = 5;

/// How to lay the report out.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    /// The page.
    pub(crate) layout: Layout,
    /// Memory over time, shown where there is anything to see.
    pub(crate) plot: Plot,
    /// Sites shown.
    pub(crate) top: usize,
    /// What to type next, shown at the end.
    pub(crate) next: Vec<(String, &'static str)>,
    /// Whether the files that names came from are listed.
    pub(crate) shows_modules: bool,
}

impl Renderer<Report> for Text {
    fn render(&self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        self.head(report, out)?;
        self.over_time(out)?;
        for (index, site) in report.sites.iter().take(self.top).enumerate() {
            writeln!(out)?;
            self.site(index + 1, site, report.metric, out)?;
        }
        self.rest(report, out)?;
        self.legend(report, out)?;
        self.resident(report, out)?;
        self.java_note(report, out)?;
        if self.shows_modules {
            self.modules(report, out)?;
        }
        self.next_steps(out)
    }
}

impl Text {
    /// Who, how much, and whether it grows.
    fn head(&self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.layout.bold(&cut(&title(report), self.layout.width)))?;
        for failed in report.failures.iter().take(FAILURES_SHOWN) {
            for line in wrap(&refusals::sentence(failed), self.layout.width) {
                writeln!(out, "{}", self.layout.bold(&line))?;
            }
        }
        for line in wrap(&totals(report), self.layout.width).iter().chain(&wrap(&verdict(report), self.layout.width)) {
            writeln!(out, "{line}")?;
        }
        let now = report.dumps.last().and_then(|dump| dump.time).unwrap_or(0.0);
        let told = wrap(&sampling::sentences(&report.sampling, now), self.layout.width);
        told.iter().filter(|line| !line.is_empty()).try_for_each(|line| writeln!(out, "{line}"))?;
        let tap = tap_cost(report);
        let lines = wrap(&tap, self.layout.width).into_iter().filter(|line| !line.is_empty());
        lines.into_iter().try_for_each(|line| writeln!(out, "{}", self.layout.dim(&line)))
    }

    /// Live bytes and resident memory, in few enough rows that the first place still is on a screen of 24.
    fn over_time(&self, out: &mut dyn Write) -> io::Result<()> {
        if !self.plot.is_worth_a_look() {
            return Ok(());
        }
        let resident = if self.plot.resident.len() > 2 { ", and resident memory above them" } else { "" };
        writeln!(out, "\n{}", self.layout.dim(&format!("live bytes{resident}:")))?;
        self.plot.lines(self.layout, PLOT_ROWS).iter().try_for_each(|line| writeln!(out, "{line}"))
    }

    fn site(&self, number: usize, site: &SiteFacts, metric: Metric, out: &mut dyn Write) -> io::Result<()> {
        let (unit, is_mapped) = (Unit::of(metric), metric.is_mapped());
        let growth = match (site.trend.verdict, site.judgement.verdict) {
            (Verdict::Unknown, Conclusion::Unknown) => String::new(),
            (Verdict::Unknown, verdict) => format!("{:<9}", conclusion(verdict)),
            (_, verdict) => format!("{:>11} {:<9}", unit.change(site.trend.change_bytes()), conclusion(verdict)),
        };
        let objects = if is_mapped { ranges(site.objects) } else { unit.other().named(site.objects) };
        let stacks = if site.stacks > 1 { format!(", {} call paths", site.stacks) } else { String::new() };
        let line =
            format!("{number:>2}. {:>9} {:>7} {growth} {objects}{stacks}", unit.amount(site.bytes), share(site.share));
        writeln!(out, "{}", self.layout.bold(&cut(&line, self.layout.width)))?;
        if site.judgement.verdict.is_suspect() && site.trend.is_without_last(site.course.len()) {
            let before = format!("      {} before the process ended", unit.amount(site.trend.last_bytes));
            writeln!(out, "{}", self.layout.dim(&before))?;
        }
        if let Some(ages) = &site.ages {
            for line in wrap(&lives(ages), self.layout.width.saturating_sub(6)) {
                writeln!(out, "      {}", self.layout.dim(&line))?;
            }
        }
        for line in site.place.lines(FRAMES_SHOWN) {
            let text = match &line {
                Shown::Frame(index) => site.frames.get(*index).map_or(String::new(), |frame| self.frame(frame)),
                other => cut_middle(&clean(&other.words(|_| "")), self.layout.width.saturating_sub(6)),
            };
            writeln!(out, "      {}", self.layout.shown(&line, &text))?;
        }
        self.hint(site, out)
    }

    /// What such a site usually is; not for one that is known not to grow, or too small to act on.
    fn hint(&self, site: &SiteFacts, out: &mut dyn Write) -> io::Result<()> {
        let Some(hint) = site.hint.as_ref().filter(|_| site.is_worth_a_hint) else { return Ok(()) };
        self.layout.advise(&format!("{}: {}", hint.title, hint.advice), 6, out)
    }

    /// Name on the left, library or line on the right of it; the name's middle gives way.
    fn frame(&self, frame: &Frame) -> String {
        let place = match (frame.file.rsplit('/').next().unwrap_or(""), frame.line) {
            ("", 0) => frame.library.clone(),
            ("", line) => format!("line {line}"),
            (file, 0) => file.to_owned(),
            (file, line) => format!("{file}:{line}"),
        };
        let room = self.layout.width.saturating_sub(6 + 2 + place.chars().count()).max(24);
        let name = cut_middle(&clean(&frame.name), room);
        if place.is_empty() || frame.name.starts_with(&place) {
            name
        } else {
            format!("{name}  {}", self.layout.dim(&clean(&place)))
        }
    }

    fn rest(&self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        let shown = report.sites.get(..self.top.min(report.sites.len())).unwrap_or(&[]);
        let rest = report.sites.get(shown.len()..).unwrap_or(&[]).iter().filter(|site| site.bytes >= 0.5);
        let sites = rest.count() + report.other_sites;
        let sum = (report.bytes - shown.iter().map(|site| site.bytes).sum::<f64>()).max(0.0);
        if sites == 0 {
            return Ok(());
        }
        let unit = Unit::of(report.metric);
        let part = if report.bytes > 0.0 { sum / report.bytes } else { 0.0 };
        let line =
            format!("    {:>9} {:>7}  in {} more places (--top N shows them)", unit.amount(sum), share(part), sites);
        writeln!(out, "\n{}", self.layout.dim(&cut(&line, self.layout.width)))
    }

    /// What the words of the rows mean.
    fn legend(&self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        let lines = legend(report.sites.iter().take(self.top).map(|site| site.judgement.verdict));
        if !lines.is_empty() {
            writeln!(out)?;
        }
        let mut wrapped = lines.iter().flat_map(|line| wrap_below(line, self.layout.width.saturating_sub(4), LEGEND));
        wrapped.try_for_each(|line| writeln!(out, "    {}", self.layout.dim(&line)))
    }

    /// Where the resident memory is: all of it, class by class.
    fn resident(&self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        let Some(account) = &report.rss else { return Ok(()) };
        let text = sentences::resident(account);
        writeln!(out)?;
        wrap(&text, self.layout.width).iter().try_for_each(|line| writeln!(out, "{line}"))?;
        if let Some(kept) = report.allocator.as_ref().and_then(|kept| kept::sentence(kept, report.process.pid)) {
            wrap(&kept, self.layout.width).iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        if let Some(mapped) = &report.mapped {
            wrap(&mapped::sentence(mapped), self.layout.width).iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        let Some(change) = &report.rss_change else { return Ok(()) };
        let lines = wrap(&rss::sentence(change), self.layout.width);
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))
    }

    /// Why Java frames have no names, where they have none.
    fn java_note(&self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        let is_unnamed = |frame: &Frame| frame.name == "[Java code]";
        if report.process.is_ours || !report.sites.iter().flat_map(|site| &site.frames).any(is_unnamed) {
            return Ok(());
        }
        let note = "[Java code]: a stock jemalloc ends at the first Java frame and cannot name it; under libheaptap.so \
                    the same run names every Java method.";
        writeln!(out)?;
        wrap(note, self.layout.width.saturating_sub(4))
            .iter()
            .try_for_each(|line| writeln!(out, "    {}", self.layout.dim(line)))
    }

    fn modules(&self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "\nNames:")?;
        for module in &report.modules {
            let line =
                format!("  {:>5} of {:>5}  {}  {}", module.named, module.places, clean(&module.path), module.source);
            writeln!(out, "{}", cut(&line, self.layout.width))?;
        }
        Ok(())
    }

    fn next_steps(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.next.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nNext:")?;
        let longest = self.next.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
        let column = longest.min(self.layout.width.saturating_sub(40).max(20));
        for (command, why) in &self.next {
            writeln!(out, "  {command:<column$}  {}", self.layout.dim(why))?;
        }
        Ok(())
    }
}
