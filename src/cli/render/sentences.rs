//! The sentences that say what a report says, whatever they are written into: terminal, page, ticket.

use super::headline::Headline;
use super::layout::clean;
use super::units::{Unit, age, bytes, count, duration, share};
use super::words::called;
use crate::cli::analyze::ages::AgeFacts;
use crate::cli::analyze::growth::Growth;
use crate::cli::analyze::report::Report;
use crate::cli::analyze::rss::{Account, Share};
use crate::cli::profile::metric::Metric;
use crate::cli::profile::timestamp;

/// `java (pid 16076), 8 dumps over 3.2 s, the last 2026-11-25 21:57:40 UTC (final)`.
pub(crate) fn title(report: &Report) -> String {
    let process = &report.process;
    let who = called(process.name(), process.pid);
    let last = report.dumps.last();
    let time = last.and_then(|dump| dump.time).map_or(String::new(), |time| format!(" {}", timestamp::display(time)));
    let reason = match last.and_then(|dump| dump.reason.as_deref()) {
        Some("f") => " (final)".to_owned(),
        Some(reason) => format!(" ({reason})"),
        None => String::new(),
    };
    let uptime = process.uptime_seconds.map_or(String::new(), |age| format!(", up {}", duration(age)));
    let dumps = match (report.dumps.len(), report.span_seconds()) {
        (0 | 1, Some(span)) if span >= 1.0 => format!("one dump with {} of history,", duration(span)),
        (0 | 1, _) => "one dump,".to_owned(),
        (many, Some(span)) if span >= 0.1 => format!("{many} dumps over {}, the last", duration(span)),
        (many, _) => format!("{many} dumps, the last"),
    };
    clean(&format!("{who}: {dumps}{time}{reason}{uptime}"))
}

/// `3 dumps over 16 s`: what growth was looked for in.
pub(super) fn looked_at(growth: &Growth) -> String {
    match (growth.dumps.len(), growth.span_seconds()) {
        (0 | 1, Some(span)) => format!("one dump with {} of history", duration(span)),
        (0 | 1, None) => "one dump".to_owned(),
        (many, Some(span)) => format!("{many} dumps over {}", duration(span)),
        (many, None) => format!("{many} dumps"),
    }
}

pub(crate) fn totals(report: &Report) -> String {
    let unit = Unit::of(report.metric);
    let period = match report.period_bytes {
        0 | 1 if report.metric.is_mapped() => "every mapping from 64 KiB on, and every thread".to_owned(),
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
    let held = held(report.metric, report.bytes, report.objects);
    format!("{held} from {} stacks ({period}){resident}", count(report.stacks as f64))
}

/// `4.2 MiB live in 300 objects`, `64 MiB mapped in 16 ranges`: both measures, the one that is asked for first.
pub(super) fn held(metric: Metric, bytes: f64, objects: f64) -> String {
    let unit = Unit::of(metric);
    let state = match metric {
        metric if metric.is_accumulated() => "ever allocated",
        Metric::Mapped => "mapped",
        Metric::Resident => "resident",
        _ => "live",
    };
    let other = if metric.is_mapped() { ranges(objects) } else { unit.other().named(objects) };
    format!("{} {state} in {other}", unit.named(bytes))
}

/// `1 range`, `2,000 ranges`.
pub(super) fn ranges(number: f64) -> String {
    format!("{} range{}", count(number), if number == 1.0 { "" } else { "s" })
}

/// The sentences that matter.
pub(crate) fn verdict(report: &Report) -> String {
    let headline = Headline {
        outlook: &report.outlook,
        total: &report.trend,
        metric: report.metric,
        moments: report.moments.len(),
        span: report.span_seconds(),
        time: report.dumps.last().and_then(|dump| dump.time),
        lost: &report.lost,
        is_jvm: report.process.is_jvm,
        keeps_allocator: report.process.keeps_allocator,
    };
    headline.text()
}

/// How a row's objects live: `half are older than 52 min, the oldest 1 h 45 min; 99 % of 4,000 freed ones lived 2.1 s
/// at most`.
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
pub(crate) fn tap_cost(report: &Report) -> String {
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
        let of_all = report.lost.share.map_or(String::new(), |of_all| format!(" ({})", share(of_all)));
        let why = report.lost.cause.map_or("live bytes are underestimated", |cause| cause.why);
        parts.push(format!(
            "{} samples lost{of_all}, which stand for {}: {why}",
            count(report.lost_samples as f64),
            bytes(report.unfollowed_bytes)
        ));
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

/// `Resident 810 MiB = Java heap 512 MiB + malloc, live 103 MiB + …`.
pub(crate) fn resident(account: &Account) -> String {
    let class = |share: &Share| format!("{} {}", share.class.title(), bytes(share.bytes as f64));
    let classes: Vec<String> = account.classes.iter().map(class).collect();
    let swap = match account.swap_bytes {
        0 => String::new(),
        swapped => format!("; {} swapped out", bytes(swapped as f64)),
    };
    format!("Resident {} = {}{swap}", bytes(account.rss_bytes as f64), classes.join(" + "))
}
