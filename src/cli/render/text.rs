//! The report for people: one screen, 80 to 120 columns, the answer in the first three lines.

use super::Renderer;
use super::layout::{Layout, clean, cut, cut_middle, wrap};
use super::units::{Unit, age, bytes, count, duration, rate, share};
use crate::cli::analyze::ages::AgeFacts;
use crate::cli::analyze::outlook::State;
use crate::cli::analyze::report::{Frame, Report, SiteFacts};
use crate::cli::analyze::trend::Verdict;
use crate::cli::analyze::verdict::Conclusion;
use crate::cli::profile::shape::Metric;
use crate::cli::profile::timestamp;
use std::io::{self, Write};

/// Frames shown per site.
const FRAMES_SHOWN: usize = 5;

/// How to lay the report out.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    /// The page.
    pub(crate) layout: Layout,
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
        for (index, site) in report.sites.iter().take(self.top).enumerate() {
            writeln!(out)?;
            self.site(index + 1, site, Unit::of(report.metric), out)?;
        }
        self.rest(report, out)?;
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
        for line in wrap(&totals(report), self.layout.width).iter().chain(&wrap(&verdict(report), self.layout.width)) {
            writeln!(out, "{line}")?;
        }
        let tap = tap_cost(report);
        if !tap.is_empty() {
            writeln!(out, "{}", self.layout.dim(&cut(&tap, self.layout.width)))?;
        }
        Ok(())
    }

    fn site(&self, number: usize, site: &SiteFacts, unit: Unit, out: &mut dyn Write) -> io::Result<()> {
        let growth = match (site.trend.verdict, site.judgement.verdict) {
            (Verdict::Unknown, Conclusion::Unknown) => String::new(),
            (Verdict::Unknown, verdict) => format!("{:<9}", conclusion(verdict)),
            (_, verdict) => format!("{:>11} {:<9}", unit.change(site.trend.change_bytes()), conclusion(verdict)),
        };
        let objects = unit.other().named(site.objects);
        let stacks = if site.stacks > 1 { format!(", {} call paths", site.stacks) } else { String::new() };
        let line =
            format!("{number:>2}. {:>9} {:>7} {growth} {objects}{stacks}", unit.amount(site.bytes), share(site.share));
        writeln!(out, "{}", self.layout.bold(&cut(&line, self.layout.width)))?;
        if let Some(ages) = &site.ages {
            writeln!(out, "      {}", self.layout.dim(&cut(&lives(ages), self.layout.width.saturating_sub(6))))?;
        }
        let mut previous = None;
        for index in shown_frames(site) {
            let skipped = index - previous.map_or(0, |previous: usize| previous + 1);
            if skipped > 0 {
                writeln!(out, "      {}", self.layout.dim(&format!("… {skipped} frames")))?;
            }
            if let Some(frame) = site.frames.get(index) {
                writeln!(out, "      {}", self.frame(frame))?;
            }
            previous = Some(index);
        }
        self.hint(site, out)
    }

    /// What such a site usually is; not for one that is known not to grow.
    fn hint(&self, site: &SiteFacts, out: &mut dyn Write) -> io::Result<()> {
        let is_wanted = match site.judgement.verdict {
            Conclusion::Unknown | Conclusion::Jit | Conclusion::Pool => true,
            verdict => verdict.is_suspect(),
        };
        let Some(hint) = site.hint.as_ref().filter(|_| is_wanted) else { return Ok(()) };
        let text = format!("{}: {}", hint.title, hint.advice);
        for (index, line) in wrap(&text, self.layout.width.saturating_sub(9)).iter().enumerate() {
            writeln!(out, "      {} {line}", if index == 0 { "=>" } else { "  " })?;
        }
        Ok(())
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

    /// Where the resident memory is: all of it, class by class.
    fn resident(&self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        let Some(account) = &report.rss else { return Ok(()) };
        let classes: Vec<String> = account
            .classes
            .iter()
            .map(|share| format!("{} {}", share.class.title(), bytes(share.bytes as f64)))
            .collect();
        let swap = match account.swap_bytes {
            0 => String::new(),
            swapped => format!("; {} swapped out", bytes(swapped as f64)),
        };
        let text = format!("Resident {} = {}{swap}", bytes(account.rss_bytes as f64), classes.join(" + "));
        writeln!(out)?;
        wrap(&text, self.layout.width).iter().try_for_each(|line| writeln!(out, "{line}"))
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

/// `java (pid 16076), 8 dumps over 3.2 s, the last 2026-11-25 21:57:40 UTC (final)`.
fn title(report: &Report) -> String {
    let process = &report.process;
    let name = process.exe.as_deref().and_then(|exe| exe.rsplit('/').next()).unwrap_or("unknown program");
    let pid = process.pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
    let last = report.dumps.last();
    let time = last.and_then(|dump| dump.time).map_or(String::new(), |time| format!(" {}", timestamp::display(time)));
    let reason = match last.and_then(|dump| dump.reason.as_deref()) {
        Some("f") => " (final)".to_owned(),
        Some(reason) => format!(" ({reason})"),
        None => String::new(),
    };
    let uptime = process.uptime_seconds.map_or(String::new(), |age| format!(", up {}", duration(age)));
    let dumps = match (report.dumps.len(), report.span_seconds()) {
        (0 | 1, _) => "one dump,".to_owned(),
        (many, Some(span)) if span >= 0.1 => format!("{many} dumps over {}, the last", duration(span)),
        (many, _) => format!("{many} dumps, the last"),
    };
    clean(&format!("{name}{pid}: {dumps}{time}{reason}{uptime}"))
}

fn totals(report: &Report) -> String {
    let unit = Unit::of(report.metric);
    let live = if report.metric.is_accumulated() { "ever allocated" } else { "live" };
    let period = match report.period_bytes {
        0 | 1 => "every allocation counted".to_owned(),
        period => format!("± {}, one sample per {}", unit.amount(report.error_bytes), bytes(period as f64)),
    };
    let resident = match report.rss_bytes {
        // Live is what was asked for, resident what was touched since.
        Some(rss) if report.metric == Metric::InuseBytes && report.bytes > rss as f64 => {
            format!("; {} resident: not all of it was touched yet", bytes(rss as f64))
        }
        Some(rss) if rss > 0 && report.metric == Metric::InuseBytes => {
            format!("; {} of {} resident", share(report.bytes / rss as f64), bytes(rss as f64))
        }
        _ => String::new(),
    };
    let (amount, other) = (unit.named(report.bytes), unit.other().named(report.objects));
    let head = format!("{amount} {live} in {other} from {} stacks", count(report.stacks as f64));
    format!("{head} ({period}){resident}")
}

/// The sentences that matter.
fn verdict(report: &Report) -> String {
    let (outlook, trend, unit) = (&report.outlook, &report.trend, Unit::of(report.metric));
    // A rate over less than a second is an anecdote.
    let is_timed = report.span_seconds().is_some_and(|span| span >= 1.0);
    let pace = |value: f64| if is_timed { format!(", {}", unit.rate(value)) } else { String::new() };
    let path = format!("{} -> {}", unit.amount(trend.first_bytes), unit.amount(trend.last_bytes));
    let found = match outlook.state {
        State::Unknown => {
            return "One dump shows what is held, not what grows: give all dumps of the process to see growth."
                .to_owned();
        }
        State::Leaks if report.dumps.len() < 2 => format!("LEAKS, by the ages of objects: {}", suspects(report)),
        State::Leaks => format!("LEAKS: {path}{}; {}", pace(trend.slope), suspects(report)),
        State::Grows => format!("GROWS: {path}{}; {}", pace(trend.slope), suspects(report)),
        State::GrowsElsewhere => format!(
            "RSS GROWS by {}{}, and it is not what malloc gave out ({path}).",
            bytes(outlook.bytes),
            outlook.rate.map_or(String::new(), &pace)
        ),
        State::AllocatorRetention => {
            format!("Allocator retention: {} are resident and not live ({path}).", bytes(outlook.bytes))
        }
        State::JitNoise => {
            format!("JIT noise: {path}; most of the change is memory of the JIT compiler, which comes and goes.")
        }
        State::Plateau => format!("Grew, then levelled off: {path}; no single place still grows."),
        State::NothingGrows => nothing_grows(report),
    };
    let limit = match (outlook.seconds_to_limit, outlook.limit_bytes) {
        (Some(seconds), Some(limit)) => {
            format!(" At this rate the limit of {} is reached in {}.", bytes(limit as f64), duration(seconds))
        }
        _ => String::new(),
    };
    let is_elsewhere = matches!(outlook.state, State::GrowsElsewhere | State::AllocatorRetention | State::NothingGrows);
    let advice = match (outlook.look_at.filter(|_| is_elsewhere), outlook.advice) {
        (Some(class), Some(advice)) => format!(" Look at {}: {advice}.", class.title()),
        (None, _) if outlook.state == State::GrowsElsewhere => {
            " Look at the Java heap, metaspace, thread stacks and mapped files: heaptap rss PID.".to_owned()
        }
        _ => String::new(),
    };
    format!("{found}{limit}{advice}")
}

fn nothing_grows(report: &Report) -> String {
    let (trend, unit) = (&report.trend, Unit::of(report.metric));
    let path = format!("{} -> {}", unit.amount(trend.first_bytes), unit.amount(trend.last_bytes));
    match trend.verdict {
        Verdict::Shrinks => format!("Nothing grows: shrank, {path}."),
        Verdict::Unknown => "Nothing leaks, by the ages of objects.".to_owned(),
        _ => format!("Nothing grows: {path} is within sampling noise (± {}).", unit.amount(trend.noise_bytes)),
    }
}

/// Which place it is, and by how much.
fn suspects(report: &Report) -> String {
    let suspects = || report.sites.iter().filter(|site| site.judgement.verdict.is_suspect());
    let weight = |site: &SiteFacts| site.judgement.rate.unwrap_or(site.trend.slope);
    let Some(worst) = suspects().max_by(|a, b| weight(a).total_cmp(&weight(b))) else {
        return "no single place grew beyond sampling noise.".to_owned();
    };
    let others = suspects().count() - 1;
    let more = if others > 0 { format!(" ({others} more)") } else { String::new() };
    let amount = match &worst.ages {
        Some(ages) if worst.judgement.is_by_ages => {
            format!("{}, {}", bytes(ages.outliving_bytes), rate(worst.judgement.rate.unwrap_or(0.0)))
        }
        _ => Unit::of(report.metric).change(worst.trend.change_bytes()),
    };
    format!("{amount} in {}{more}.", cut_middle(&clean(&worst.label), 120))
}

/// How a row's objects live: `half are older than 52 min, the oldest 1 h 45 min; 99 % of 4,000 freed ones lived 2.1 s at most`.
pub(crate) fn lives(ages: &AgeFacts) -> String {
    let live = format!("half are older than {}, the oldest {}", age(ages.median_seconds), age(ages.oldest_seconds));
    match ages.usual_seconds {
        Some(usual) => {
            format!("{live}; 99 % of {} freed samples lived {} at most", count(ages.freed_samples as f64), age(usual))
        }
        None if ages.freed_samples == 0 => format!("{live}; none was freed"),
        None => format!("{live}; {} samples were freed", count(ages.freed_samples as f64)),
    }
}

/// What the tap cost and lost; empty for stock dumps.
fn tap_cost(report: &Report) -> String {
    let mut parts = Vec::new();
    if let (Some(ns), Some(uptime)) = (report.profiler_ns, report.process.uptime_seconds.filter(|uptime| *uptime > 0.0))
    {
        parts.push(format!("the tap used {:.2} % of one core", ns as f64 / 1e9 / uptime * 100.0));
    }
    if let Some(tables) = report.tables_bytes {
        parts.push(format!("{} of tables", bytes(tables as f64)));
    }
    parts.extend(cut_stacks(report));
    if report.lost_samples > 0 {
        parts.push(format!("{} samples lost: live bytes are underestimated", count(report.lost_samples as f64)));
    }
    parts.join(", ")
}

/// How many walks ended before the thread's root, if it is more than one in a hundred.
fn cut_stacks(report: &Report) -> Option<String> {
    let all: u64 = report.stack_ends.iter().map(|(_, number)| number).sum();
    let early = || report.stack_ends.iter().filter(|(word, number)| *word != "root" && *number > 0);
    let cut: u64 = early().map(|(_, number)| number).sum();
    let share_cut = cut as f64 / all.max(1) as f64;
    let most = early().max_by_key(|(_, number)| *number).map_or("", |(word, _)| word);
    (share_cut > 0.01).then(|| format!("{} of stacks end early (most: {most})", share(share_cut)))
}

/// A verdict as one word.
pub(crate) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Grows => "grows",
        Verdict::Plateau => "plateau",
        Verdict::Shrinks => "shrinks",
        Verdict::Steady => "steady",
        Verdict::Unknown => "",
    }
}

/// A row's verdict in a word or two.
pub(crate) fn conclusion(verdict: Conclusion) -> &'static str {
    match verdict {
        Conclusion::Leak => "leaks",
        Conclusion::Grows => "grows",
        Conclusion::Jit => "JIT noise",
        Conclusion::Pool => "pool",
        Conclusion::Plateau => "plateau",
        Conclusion::Busier => "busier",
        Conclusion::Cache => "kept",
        Conclusion::Churn => "churn",
        Conclusion::Shrinks => "shrinks",
        Conclusion::Steady => "steady",
        Conclusion::Unknown => "",
    }
}

/// Which frames of a site are shown: the leaf and its caller, then from the first own frame on.
fn shown_frames(site: &SiteFacts) -> Vec<usize> {
    let count = site.frames.len();
    let own = site.own_frame.unwrap_or(0);
    if count <= FRAMES_SHOWN || own < 3 {
        return (0..count.min(FRAMES_SHOWN)).collect();
    }
    let head = 2;
    let tail = (own..count).take(FRAMES_SHOWN - head);
    (0..head).chain(tail).collect()
}
