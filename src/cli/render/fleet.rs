//! What a fleet does, for people: the places that leak, and the versions that have them.

use super::Renderer;
use super::layout::{Layout, clean, cut_middle, wrap};
use super::units::{bytes, count, rate};
use crate::cli::analyze::fleet::{BELIEVED, Example, Fleet, FleetRow, RowValue};
use crate::cli::profile::timestamp;
use std::io::{self, Write};

/// Frames shown of a place.
const FRAMES_SHOWN: usize = 8;
/// Values of the label that are shown.
const VALUES_SHOWN: usize = 12;

/// How to lay it out.
#[derive(Clone, Debug)]
pub(crate) struct FleetText {
    /// The page.
    pub(crate) layout: Layout,
    /// Places shown.
    pub(crate) top: usize,
}

impl Renderer<Fleet> for FleetText {
    fn render(&self, fleet: &Fleet, out: &mut dyn Write) -> io::Result<()> {
        let lines = wrap(&clean(&headline(fleet)), self.layout.width);
        lines.iter().try_for_each(|line| writeln!(out, "{}", self.layout.bold(line)))?;
        if fleet.by.is_none() && !fleet.labels.is_empty() {
            let keys: Vec<&str> = fleet.labels.iter().map(|label| label.key.as_str()).collect();
            let text = format!("Labels: {} (--by LABEL tells lives apart by one).", keys.join(", "));
            self.dim(&text, 0, out)?;
        }
        for (index, row) in fleet.rows.iter().take(self.top).enumerate() {
            writeln!(out)?;
            self.row(index + 1, row, fleet, out)?;
        }
        if fleet.rows.len() > self.top {
            writeln!(out, "\n{} more (-n N shows them)", fleet.rows.len() - self.top)?;
        }
        Ok(())
    }
}

impl FleetText {
    fn row(&self, number: usize, row: &FleetRow, fleet: &Fleet, out: &mut dyn Write) -> io::Result<()> {
        let each = row.rate / row.accused.max(1) as f64;
        let line = format!(
            "{number:>2}. {} of {} lives, {} each, {} in all{}",
            count(row.accused as f64),
            count(row.lives as f64),
            rate(each),
            bytes(row.live_bytes),
            period(row, fleet.by.as_deref())
        );
        let lines = wrap(&clean(&line), self.layout.width.saturating_sub(4));
        for (index, line) in lines.iter().enumerate() {
            writeln!(out, "{}{}", if index == 0 { "" } else { "    " }, self.layout.bold(line))?;
        }
        if row.chance > BELIEVED {
            let text = format!(
                "It may be chance: of {} steady lives so many are accused with a probability of {:.0} %.",
                count(fleet.judged as f64),
                row.chance * 100.0
            );
            self.dim(&text, 4, out)?;
        }
        let room = self.layout.width.saturating_sub(6);
        let name = |index: usize| row.frames.get(index).map_or("", String::as_str);
        for line in &row.place.lines(FRAMES_SHOWN) {
            writeln!(out, "      {}", self.layout.shown(line, &cut_middle(&clean(&line.words(name)), room)))?;
        }
        self.values(&row.values, fleet.by.as_deref(), out)?;
        if let Some(example) = row.examples.first() {
            self.dim(&format!("The fastest: heaptap leaks {}", example_files(example)), 4, out)?;
        }
        let Some(hint) = &row.hint else { return Ok(()) };
        self.layout.advise(&format!("{}: {}", hint.title, hint.advice), 6, out)
    }

    fn values(&self, values: &[RowValue], by: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
        let name = |value: &RowValue| clean(value.value.as_deref().unwrap_or("(none)"));
        let width = values.iter().map(|value| name(value).chars().count()).max().unwrap_or(0).clamp(7, 40);
        if let Some(by) = by {
            let line =
                format!("    {:<width$}  {:>8}  {:>6}  each", cut_middle(&clean(by), width), "accused", "judged");
            writeln!(out, "{}", self.layout.dim(&line))?;
        }
        // The last ones are those that run now.
        let skipped = values.len().saturating_sub(VALUES_SHOWN);
        if skipped > 0 {
            self.dim(&format!("{skipped} earlier ones are not shown (--json has them)"), 4, out)?;
        }
        for value in values.iter().skip(skipped) {
            let pace = if value.accused > 0 { rate(value.rate) } else { String::new() };
            let name = cut_middle(&name(value), width);
            let line = format!("    {name:<width$}  {:>8}  {:>6}  {pace}", value.accused, value.judged);
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn dim(&self, text: &str, indent: usize, out: &mut dyn Write) -> io::Result<()> {
        let lines = wrap(&clean(text), self.layout.width.saturating_sub(indent));
        lines.iter().try_for_each(|line| writeln!(out, "{:indent$}{}", "", self.layout.dim(line)))
    }
}

/// What `heaptap leaks` takes to look at that life: its folder or its pack, and which of the lives there it is.
fn example_files(example: &Example) -> String {
    let pack = example.path.find(".tgz/").and_then(|at| example.path.get(..at + 4));
    let folder = example.path.rsplit_once('/').map_or(".", |(folder, _)| folder);
    let is_token = !example.life.is_empty() && example.life.bytes().all(|byte| byte.is_ascii_hexdigit());
    let life = if is_token { format!(" --life {}", example.life) } else { String::new() };
    format!("{}{life}", pack.unwrap_or(folder))
}

/// `, since version 1.10`; nothing where it is not known.
fn period(row: &FleetRow, by: Option<&str>) -> String {
    let by = by.unwrap_or("");
    match (&row.since, &row.until) {
        (Some(since), Some(until)) if since == until => format!(", in {by} {since} only"),
        (Some(since), Some(until)) => format!(", from {by} {since} to {until}"),
        (Some(since), None) => format!(", since {by} {since}"),
        (None, Some(until)) => format!(", until {by} {until}"),
        (None, None) => String::new(),
    }
}

fn headline(fleet: &Fleet) -> String {
    let lives =
        |number: usize| if number == 1 { "1 life".to_owned() } else { format!("{} lives", count(number as f64)) };
    let who = match fleet.programs.as_slice() {
        [(program, _)] => format!("{} of {program}", lives(fleet.lives)),
        programs => format!("{} of {} programs", lives(fleet.lives), programs.len()),
    };
    let when = match (fleet.began, fleet.last) {
        (Some(began), Some(last)) => format!(", {} to {}", timestamp::display(began), timestamp::display(last)),
        _ => String::new(),
    };
    let unjudged = fleet.lives - fleet.judged;
    let unjudged = if unjudged > 0 { format!(", {} cannot be judged", count(unjudged as f64)) } else { String::new() };
    let verdict = match fleet.accused {
        0 if fleet.judged == 0 => "no life can be judged".to_owned(),
        0 => format!("nothing leaks in {}{unjudged}", lives(fleet.judged)),
        accused => format!("something leaks or grows in {} of them{unjudged}", count(accused as f64)),
    };
    format!("{who}, {} dumps{when}: {verdict}.", count(fleet.dumps as f64))
}
