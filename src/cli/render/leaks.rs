//! Suspects for people: the stack in full, and why it is suspected.

use super::Renderer;
use super::layout::{Layout, clean, cut_middle, sparkline, wrap};
use super::text::{conclusion, lives};
use super::units::{Unit, age, bytes, count, duration};
use crate::cli::analyze::ages::{AgeFacts, Pattern, SETTLED};
use crate::cli::analyze::growth::{Growth, GrowthRow};
use crate::cli::analyze::outlook::State;
use crate::cli::analyze::verdict::Conclusion;
use std::io::{self, Write};

/// Columns of the sparkline.
const BARS: usize = 40;
/// Places shown that are no suspects.
const OTHERS: usize = 5;

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
        self.evidence(&outlook(growth), out)?;
        for (index, row) in growth.rows.iter().take(self.top).enumerate() {
            writeln!(out)?;
            self.suspect(index + 1, row, growth, out)?;
        }
        if growth.rows.len() > self.top {
            writeln!(out, "\n{} more (-n N shows them)", growth.rows.len() - self.top)?;
        }
        self.others(growth, out)
    }
}

impl LeaksText {
    /// What is big, and what it is instead.
    fn others(&self, growth: &Growth, out: &mut dyn Write) -> io::Result<()> {
        let unit = Unit::of(growth.metric);
        let is_judged = |row: &&GrowthRow| row.judgement.verdict != Conclusion::Unknown;
        let others: Vec<&GrowthRow> = growth.others.iter().filter(is_judged).take(OTHERS).collect();
        if !others.is_empty() {
            writeln!(out, "\nNot suspected:")?;
        }
        for row in others {
            let figures =
                format!("  {:>10}  {:<9}", unit.amount(row.trend.last_bytes), conclusion(row.judgement.verdict));
            let room = self.layout.width.saturating_sub(figures.chars().count() + 2);
            writeln!(out, "{}", self.layout.dim(&format!("{figures}  {}", cut_middle(&clean(&row.label), room))))?;
        }
        Ok(())
    }

    /// A sentence under its row, if there is one.
    fn evidence(&self, text: &str, out: &mut dyn Write) -> io::Result<()> {
        let lines = wrap(text, self.layout.width.saturating_sub(4)).into_iter().filter(|line| !line.is_empty());
        lines.into_iter().try_for_each(|line| writeln!(out, "    {}", self.layout.dim(&line)))
    }

    fn suspect(&self, number: usize, row: &GrowthRow, growth: &Growth, out: &mut dyn Write) -> io::Result<()> {
        let (trend, unit) = (&row.trend, Unit::of(growth.metric));
        let pace = match row.judgement.rate {
            Some(pace) => unit.rate(pace),
            None => format!("{} a dump", unit.change(trend.slope)),
        };
        let sure = match row.judgement.confidence {
            sure if sure > 0.9999 => "surer than 99.99 %".to_owned(),
            sure => format!("{:.2} % sure", sure * 100.0),
        };
        let held = if growth.dumps.len() < 2 {
            unit.amount(trend.last_bytes)
        } else {
            format!("{} -> {}", unit.amount(trend.first_bytes), unit.amount(trend.last_bytes))
        };
        let line = format!("{number:>2}. {pace}, {held}, {sure}");
        writeln!(out, "{}", self.layout.bold(&line))?;
        let each = bytes(if row.objects > 0.0 { trend.last_bytes / row.objects } else { 0.0 });
        let objects = match growth.metric.is_count() {
            true => unit.other().named(row.objects),
            false => format!("{} objects of {each} each", count(row.objects)),
        };
        let evidence = match growth.dumps.len() {
            0 | 1 => objects,
            dumps => format!(
                "{:.0} times the error; rose in {:.0} % of {} steps; {objects}",
                trend.sigmas,
                trend.rising * 100.0,
                dumps - 1,
            ),
        };
        self.evidence(&evidence, out)?;
        if let Some(ages) = &row.ages {
            self.evidence(&outlive(ages), out)?;
            self.evidence(&lives(ages), out)?;
        }
        if growth.dumps.len() > 1 {
            writeln!(out, "    {}", sparkline(&row.history, BARS))?;
        }
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

/// What the ages have against it.
fn outlive(ages: &AgeFacts) -> String {
    let (held, objects) = (bytes(ages.outliving_bytes), count(ages.outliving_objects));
    match (ages.pattern, ages.usual_seconds) {
        (Pattern::Outlive, Some(usual)) => {
            format!("{objects} objects ({held}) are more than eight times older than the {} that is usual", age(usual))
        }
        (Pattern::NeverFreed, _) => {
            format!("{objects} objects ({held}), allocated all along, and hardly any was freed")
        }
        _ => String::new(),
    }
}

/// Where it leads; or where else to look.
fn outlook(growth: &Growth) -> String {
    let outlook = &growth.outlook;
    match (outlook.seconds_to_limit, outlook.limit_bytes, outlook.look_at.zip(outlook.advice)) {
        (Some(seconds), Some(limit), _) if !growth.rows.is_empty() => {
            format!("At this rate the limit of {} is reached in {}.", bytes(limit as f64), duration(seconds))
        }
        (_, _, Some((class, advice))) if growth.rows.is_empty() => {
            let what = match outlook.state {
                State::AllocatorRetention => {
                    format!("The allocator keeps {} that are not live. ", bytes(outlook.bytes))
                }
                State::GrowsElsewhere => format!("Resident memory grew by {} elsewhere. ", bytes(outlook.bytes)),
                _ => String::new(),
            };
            format!("{what}Look at {}: {advice}.", class.title())
        }
        _ => String::new(),
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
    if growth.dumps.len() < 2 {
        let uptime = growth.process.uptime_seconds.unwrap_or(f64::INFINITY);
        return match growth.rows.len() {
            0 if uptime < SETTLED => format!(
                "{name}{pid}: up {}, too young to be judged by the ages of objects ({}): give several dumps.",
                age(uptime),
                age(SETTLED)
            ),
            0 => format!("{name}{pid}: nothing leaks, by the ages of objects in one dump."),
            1 => format!("{name}{pid}: one place leaks, by the ages of its objects in one dump."),
            many => format!("{name}{pid}: {many} places leak, by the ages of their objects in one dump."),
        };
    }
    let grown: f64 = growth.rows.iter().map(|row| row.trend.change_bytes()).sum();
    match growth.rows.len() {
        0 => format!("{name}{pid}: nothing leaks beyond sampling noise in {span}."),
        1 => format!("{name}{pid}: one place leaks, {} in {span}.", Unit::of(growth.metric).change(grown)),
        many => format!("{name}{pid}: {many} places leak, {} in {span}.", Unit::of(growth.metric).change(grown)),
    }
}
