//! The arguments that say which part of a profile to look at, shared by all reports.

use crate::cli::profile::filter::Filter;
use crate::cli::profile::series::{Dump, Series};
use crate::cli::profile::timestamp;
use crate::cli::render::units;
use anyhow::{Result, bail};

/// Which stacks, objects and dumps.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Filters {
    /// Only stacks through a function or library (or thread, with --threads) whose name contains TEXT
    #[arg(long, value_name = "TEXT")]
    pub(crate) focus: Vec<String>,

    /// No stacks through a function or library whose name contains TEXT
    #[arg(long, value_name = "TEXT")]
    pub(crate) ignore: Vec<String>,

    /// Take frames whose function or library contains TEXT out of the stacks; their bytes stay
    #[arg(long, value_name = "TEXT")]
    pub(crate) hide: Vec<String>,

    /// What is your own code: the beginning of names (`org.acme`, `acme::`) or of a library's file name [default: told
    /// from the main class, the program's folder, and where threads enter; $HEAPTAP_OWN, with commas between]
    #[arg(long, value_name = "PACKAGE")]
    pub(crate) own: Vec<String>,

    /// Only dumps since then: `2026-11-25T22:00:00Z`, or so long before the last one: `2h`, `30min`
    #[arg(long, value_name = "WHEN", value_parser = parse_moment)]
    pub(crate) since: Option<Moment>,

    /// Only objects that are older than this: `2h`, `90s`
    #[arg(long, value_name = "AGE", value_parser = units::parse_duration)]
    pub(crate) older_than: Option<f64>,

    /// The allocating thread as the outermost frame of each stack
    #[arg(long)]
    pub(crate) threads: bool,
}

/// A time, or one before the last dump.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Moment {
    /// Seconds since 1970.
    At(f64),
    /// Seconds.
    BeforeLast(f64),
}

pub(super) fn parse_moment(text: &str) -> Result<Moment, String> {
    if let Some(moment) = timestamp::parse(text) {
        return Ok(Moment::At(moment));
    }
    let shapes = |_| format!("`{text}` is neither a time (2026-11-25T22:00:00Z) nor a duration (2h, 30min, 90s)");
    units::parse_duration(text).map(Moment::BeforeLast).map_err(shapes)
}

impl Filters {
    /// What is the reader's own code, as they say.
    fn own(&self) -> Vec<String> {
        let usual = || std::env::var("HEAPTAP_OWN").unwrap_or_default();
        let own = if self.own.is_empty() { usual().split(',').map(str::to_owned).collect() } else { self.own.clone() };
        own.into_iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    }

    /// Keeps what they ask for of a named series. Returns what the user should know, one sentence each.
    pub(super) fn apply(&self, series: &mut Series) -> Result<Vec<String>> {
        series.profile.own = self.own();
        let mut notes = Vec::new();
        if let Some(moment) = self.since {
            notes.extend(since(series, moment)?);
        }
        let filter = Filter { focus: self.focus.clone(), ignore: self.ignore.clone(), hide: self.hide.clone() };
        if filter.is_empty() {
            return Ok(notes);
        }
        let all = series.profile.samples.len();
        let kept = filter.apply(series);
        if kept == 0 {
            bail!("no stack of {all} is left: --focus and --ignore take parts of function or library names");
        }
        if kept < all {
            notes.push(format!("{kept} of {all} stacks, as --focus and --ignore ask"));
        }
        Ok(notes)
    }
}

fn since(series: &mut Series, moment: Moment) -> Result<Option<String>> {
    let all = series.dumps.len();
    let moment = match moment {
        Moment::At(moment) => Some(moment),
        Moment::BeforeLast(seconds) => series.last().and_then(Dump::time).map(|last| last - seconds),
    };
    if !moment.is_some_and(|moment| series.since(moment)) {
        bail!("--since: not all dumps have a time");
    }
    let kept = series.dumps.len();
    Ok((kept < all).then(|| format!("{kept} of {all} dumps, as --since asks")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_times_or_durations() {
        assert_eq!(parse_moment("1970-01-01T00:01:00Z"), Ok(Moment::At(60.0)));
        assert_eq!(parse_moment("1.5h"), Ok(Moment::BeforeLast(5400.0)));
        assert!(["", "yesterday", "h", "-1s"].iter().all(|text| parse_moment(text).is_err()));
    }
}
