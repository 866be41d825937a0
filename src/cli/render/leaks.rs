//! Suspects for people: the stack in full, and why it is suspected.

use super::Renderer;
use super::headline::Headline;
use super::layout::{Layout, clean, cut_middle, sparkline, wrap, wrap_below};
use super::sampling;
use super::sentences::{lives, looked_at};
use super::units::{Unit, age, bytes, count};
use super::words::{LEGEND, called, conclusion, legend};
use crate::cli::analyze::ages::{AgeFacts, Pattern};
use crate::cli::analyze::growth::{Growth, GrowthRow};
use crate::cli::analyze::maker::Maker;
use crate::cli::analyze::verdict::Conclusion;
use crate::cli::profile::metric::Metric;
use std::io::{self, Write};

/// Columns of the sparkline.
const BARS: usize = 40;
/// Frames shown of a suspect.
const FRAMES_SHOWN: usize = 10;
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
        let now = growth.dumps.last().and_then(|dump| dump.time).unwrap_or(0.0);
        let told = [verdict(growth), sampling::sentences(&growth.sampling, now)];
        let lines = told.iter().flat_map(|text| wrap(text, self.layout.width));
        lines.filter(|line| !line.is_empty()).try_for_each(|line| writeln!(out, "{line}"))?;
        for (index, row) in growth.rows.iter().take(self.top).enumerate() {
            writeln!(out)?;
            self.suspect(index + 1, row, growth, out)?;
        }
        if growth.rows.len() > self.top {
            writeln!(out, "\n{} more (-n N shows them)", growth.rows.len() - self.top)?;
        }
        self.small(growth, out)?;
        self.others(growth, out)
    }
}

impl LeaksText {
    /// Small objects that are never freed, by number, and which of them nobody can see.
    fn small(&self, growth: &Growth, out: &mut dyn Write) -> io::Result<()> {
        let small = &growth.small;
        if !small.rows.is_empty() {
            writeln!(out, "\nSmall objects that are never freed, by number:")?;
        }
        for row in small.rows.iter().take(OTHERS) {
            let (more, error) = (count(row.growth_objects), count(row.error_objects));
            let figures = format!("  +{more} ± {error} of {} each", bytes(row.object_bytes));
            let room = self.layout.width.saturating_sub(figures.chars().count() + 2).max(24);
            writeln!(out, "{figures}  {}", cut_middle(&clean(&row.place.label_within(room)), room))?;
            if let Some(maker) = &row.maker {
                self.evidence(&clean(&maker.words()), out)?;
            }
            if let Some(big) = &row.grew_with {
                let alike = format!("{:.2}", big.correlation);
                let text = format!("with them grew {} by {} (correlation {alike})", big.label, bytes(big.growth_bytes));
                self.evidence(&clean(&text), out)?;
            }
        }
        if small.unseen_objects > 0.0 && growth.metric == Metric::InuseBytes {
            let (size, one_in, unseen) = (small.example_bytes, count(small.one_in), count(small.unseen_objects));
            let what =
                format!("of objects of {size:.0} bytes 1 in {one_in} is sampled, so fewer than {unseen} do not show");
            let how = match growth.process.pid {
                Some(pid) => format!("{what}; `heaptap rate 12 {pid}` shows 1 in {}", count(4096.0 / size)),
                None => what,
            };
            self.evidence(&format!("Small objects that are never freed: {how}."), out)?;
        }
        Ok(())
    }

    /// What is big, and what it is instead.
    fn others(&self, growth: &Growth, out: &mut dyn Write) -> io::Result<()> {
        let unit = Unit::of(growth.metric);
        let is_judged = |row: &&GrowthRow| row.judgement.verdict != Conclusion::Unknown;
        let others: Vec<&GrowthRow> = growth.others.iter().filter(is_judged).take(OTHERS).collect();
        if !others.is_empty() {
            writeln!(out, "\nNot suspected:")?;
        }
        let words = legend(others.iter().map(|row| row.judgement.verdict));
        for row in others {
            let figures =
                format!("  {:>10}  {:<9}", unit.amount(row.trend.last_bytes), conclusion(row.judgement.verdict));
            let room = self.layout.width.saturating_sub(figures.chars().count() + 2);
            writeln!(
                out,
                "{}",
                self.layout.dim(&format!("{figures}  {}", cut_middle(&clean(&row.place.label_within(room)), room)))
            )?;
        }
        self.legend(&words, out)
    }

    /// What the words mean.
    fn legend(&self, words: &[String], out: &mut dyn Write) -> io::Result<()> {
        if !words.is_empty() {
            writeln!(out)?;
        }
        let mut wrapped = words.iter().flat_map(|line| wrap_below(line, self.layout.width.saturating_sub(4), LEGEND));
        wrapped.try_for_each(|line| writeln!(out, "    {}", self.layout.dim(&line)))
    }

    /// A sentence under its row, if there is one.
    fn evidence(&self, text: &str, out: &mut dyn Write) -> io::Result<()> {
        let lines = wrap(text, self.layout.width.saturating_sub(4)).into_iter().filter(|line| !line.is_empty());
        lines.into_iter().try_for_each(|line| writeln!(out, "    {}", self.layout.dim(&line)))
    }

    fn suspect(&self, number: usize, row: &GrowthRow, growth: &Growth, out: &mut dyn Write) -> io::Result<()> {
        let (trend, unit) = (&row.trend, Unit::of(growth.metric));
        let pace = match row.judgement.rate {
            Some(pace) => unit.rate_within(pace, row.judgement.rate_error.unwrap_or(0.0)),
            None => format!("{} a dump", unit.change(trend.slope)),
        };
        let sure = match row.judgement.confidence {
            sure if sure > 0.9999 => "surer than 99.99 %".to_owned(),
            sure => format!("{:.2} % sure", sure * 100.0),
        };
        let held = if growth.moments.len() < 2 {
            unit.amount(trend.last_bytes)
        } else {
            format!("{} -> {}", unit.amount(trend.first_bytes), unit.amount(trend.last_bytes))
        };
        let line = format!("{number:>2}. {pace}, {held}, {sure}");
        writeln!(out, "{}", self.layout.bold(&line))?;
        let each = bytes(if row.objects > 0.0 { trend.last_bytes / row.objects } else { 0.0 });
        let objects = match growth.metric.is_count() {
            true => unit.other().named(row.objects),
            false if row.objects < 0.5 => "the process freed it as it ended".to_owned(),
            false => format!("{} objects of {each} each", count(row.objects)),
        };
        let evidence = match growth.moments.len() {
            0 | 1 => objects,
            moments => format!(
                "{:.0} times its error; rose in {:.0} % of {} steps; {objects}{}",
                trend.sigmas.abs().min(999.0),
                trend.rising * 100.0,
                moments - 1,
                if row.stacks > 1 { format!("; {} call paths", row.stacks) } else { String::new() },
            ),
        };
        self.evidence(&evidence, out)?;
        if let Some(ages) = &row.ages {
            self.evidence(&outlive(ages), out)?;
            self.evidence(&lives(ages), out)?;
        }
        if growth.moments.len() > 1 {
            writeln!(out, "    {}", sparkline(&row.course, BARS))?;
        }
        let room = self.layout.width.saturating_sub(6);
        let shown = row.place.lines(FRAMES_SHOWN);
        let name = |index: usize| row.frames.get(index).map_or("", String::as_str);
        for line in &shown {
            writeln!(out, "      {}", self.layout.shown(line, &cut_middle(&clean(&line.words(name)), room)))?;
        }
        let is_shown = |maker: &&Maker| shown.iter().any(|line| maker.is_of(&line.words(name)));
        let maker = row.maker.as_ref().filter(|maker| !is_shown(maker));
        let maker = maker.map_or(String::new(), |maker| clean(&maker.words()));
        let lines = wrap(&maker, room).into_iter().filter(|line| !line.is_empty());
        lines.into_iter().try_for_each(|line| writeln!(out, "      {}", self.layout.dim(&line)))?;
        let Some(hint) = &row.hint else { return Ok(()) };
        self.layout.advise(&format!("{}: {}", hint.title, hint.advice), 6, out)
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

/// The verdict on the process, as every report says it.
fn verdict(growth: &Growth) -> String {
    let headline = Headline {
        outlook: &growth.outlook,
        total: &growth.total,
        metric: growth.metric,
        moments: growth.moments.len(),
        span: growth.span_seconds(),
        time: growth.dumps.last().and_then(|dump| dump.time),
        lost: &growth.lost,
        is_jvm: growth.process.is_jvm,
        keeps_allocator: growth.process.keeps_allocator,
    };
    headline.text()
}

fn headline(growth: &Growth) -> String {
    let who = called(growth.process.name(), growth.process.pid);
    let where_from = looked_at(growth);
    let leaking = growth.rows.iter().filter(|row| row.judgement.verdict == Conclusion::Leak).count();
    match growth.rows.len() {
        0 if !growth.outlook.is_judged => format!("{who}: cannot be judged, from {where_from}."),
        0 => format!("{who}: nothing leaks, from {where_from}."),
        1 if leaking == 1 => format!("{who}: one place leaks, from {where_from}."),
        1 => format!("{who}: one place grows, from {where_from}."),
        many if leaking == many => format!("{who}: {many} places leak, from {where_from}."),
        many if leaking == 0 => format!("{who}: {many} places grow, from {where_from}."),
        many => format!("{who}: {many} places grow, of which {leaking} leak, from {where_from}."),
    }
}
