//! The verdict on a process in a sentence or two: the same in every report.

use super::layout::{clean, cut_middle};
use super::units::{Unit, bytes, count, duration, share};
use crate::cli::analyze::lost::Lost;
use crate::cli::analyze::outlook::{Outlook, State};
use crate::cli::analyze::trend::{Trend, Verdict};
use crate::cli::profile::metric::Metric;
use crate::cli::profile::timestamp;

/// Columns that a place may take.
const PLACE: usize = 120;

/// What the sentence is made of.
pub(crate) struct Headline<'a> {
    /// The verdict.
    pub(crate) outlook: &'a Outlook,
    /// All live bytes.
    pub(crate) total: &'a Trend,
    /// What stands in the place of bytes.
    pub(crate) metric: Metric,
    /// Moments that it rests on: dumps, and those of the last one's history.
    pub(crate) moments: usize,
    /// Seconds from the first to the last.
    pub(crate) span: Option<f64>,
    /// When the last was written, seconds since 1970.
    pub(crate) time: Option<f64>,
    /// What was lost.
    pub(crate) lost: &'a Lost,
    /// Whether the process is a JVM.
    pub(crate) is_jvm: bool,
    /// Whether its own allocator serves.
    pub(crate) keeps_allocator: bool,
}

impl Headline<'_> {
    /// The sentences that matter.
    pub(crate) fn text(&self) -> String {
        let outlook = self.outlook;
        let limit = match (outlook.seconds_to_limit, outlook.limit_bytes) {
            (Some(seconds), Some(limit)) => {
                format!(" At this rate the limit of {} is reached in {}.", bytes(limit as f64), duration(seconds))
            }
            _ => String::new(),
        };
        let tell = match &outlook.would_tell {
            Some(what) if outlook.state != State::CannotTell => format!(" What would tell: {what}."),
            _ => String::new(),
        };
        format!("{}{}{limit}{}{tell}", self.found(), self.given_back(), self.elsewhere())
    }

    fn found(&self) -> String {
        let (outlook, path) = (self.outlook, self.path());
        match outlook.state {
            State::Leaks if outlook.is_by_ages && self.moments < 2 => {
                format!("LEAKS, by the ages of objects: {}, {}{}.", self.amount(), self.pace(), self.place(" in "))
            }
            State::Leaks => format!("LEAKS: {}{}{}; live {path}.", self.change(), self.paced(), self.place(" in ")),
            State::Grows if outlook.places == 0 => {
                format!("GROWS: {path}{}; no single place grew beyond chance.", self.paced())
            }
            State::Grows => format!("GROWS: {}{}{}; live {path}.", self.change(), self.paced(), self.place(" in ")),
            State::Fills => {
                format!(
                    "Fills, ever slower: {}{}; live {path}. A cache or a warm-up.",
                    self.change(),
                    self.place(" in ")
                )
            }
            State::Busier => {
                format!("Busier: {}{}; live {path}. Nothing is older than usual.", self.change(), self.place(" in "))
            }
            State::Held => format!(
                "Held: {}{}{}. A table, a cache, or a leak that stopped.",
                self.amount(),
                self.place(" in "),
                self.born()
            ),
            State::CannotTell => self.cannot_tell(),
            State::Unknown => "CANNOT TELL: one dump without ages shows what is held, not what grows.".to_owned(),
            State::GrowsElsewhere => {
                let class = outlook.look_at.map_or("memory that malloc did not give out", |class| class.title());
                format!("RSS GROWS by {}{} in {class}; malloc: {path}.", bytes(outlook.bytes), self.paced())
            }
            State::AllocatorRetention => {
                format!("Allocator retention: {} are resident and not live ({path}).", bytes(outlook.bytes))
            }
            State::JitNoise => {
                format!("JIT noise: {path}; most of the change is memory of the JIT compiler, which comes and goes.")
            }
            State::Plateau => {
                format!("Grew, then levelled off: {path}{}; no single place still grows.", self.place(", most in "))
            }
            State::NothingGrows => self.nothing_grows(),
        }
    }

    fn unit(&self) -> Unit {
        Unit::of(self.metric)
    }

    fn path(&self) -> String {
        match self.moments {
            0 | 1 => self.unit().amount(self.total.last_bytes),
            _ => format!(
                "{} -> {}",
                self.unit().amount(self.total.first_bytes),
                self.unit().amount(self.total.last_bytes)
            ),
        }
    }

    fn amount(&self) -> String {
        self.unit().amount(self.outlook.bytes)
    }

    fn change(&self) -> String {
        self.unit().change(self.outlook.bytes)
    }

    fn pace(&self) -> String {
        let Some(rate) = self.outlook.rate else { return String::new() };
        self.unit().rate_within(rate, self.outlook.rate_error.unwrap_or(0.0))
    }

    /// `, +33.8 MiB/min ± 2.1`; a rate over less than a second is an anecdote.
    fn paced(&self) -> String {
        let is_timed = self.span.is_some_and(|span| span >= 1.0) || self.outlook.is_by_ages;
        match self.pace() {
            pace if is_timed && !pace.is_empty() => format!(", {pace}"),
            _ => String::new(),
        }
    }

    /// ` in f <- g (3 more)`.
    fn place(&self, lead: &str) -> String {
        let Some(place) = &self.outlook.place else { return String::new() };
        let amount = match self.outlook.places {
            0 | 1 => String::new(),
            _ => format!("{} of it", self.unit().amount(self.outlook.place_bytes)),
        };
        let more = match self.outlook.places {
            0 | 1 => String::new(),
            many => format!(" ({} more)", many - 1),
        };
        let lead = if amount.is_empty() { lead.to_owned() } else { format!(", {amount}{lead}") };
        format!("{lead}{}{more}", cut_middle(&clean(place), PLACE))
    }

    /// `, born between 03:47 and 03:48, none freed since`.
    fn born(&self) -> String {
        let Some((from, to)) = self.outlook.born else { return String::new() };
        let ago =
            || format!(", born {} to {} before the last dump, hardly any freed since", duration(from), duration(to));
        let clock = |ago: f64| self.time.map(|time| timestamp::clock(time - ago, time));
        match (clock(from), clock(to)) {
            (Some(from), Some(to)) if from == to => format!(", born at {from}, hardly any freed since"),
            (Some(from), Some(to)) => format!(", born between {from} and {to}, hardly any freed since"),
            _ => ago(),
        }
    }

    /// That the process gave memory back in its last dump.
    fn given_back(&self) -> &'static str {
        match self.total.is_without_last(self.moments) {
            true => " (The final dump holds less: what is freed as a process ends acquits nothing.)",
            false => "",
        }
    }

    /// Where else to look.
    fn elsewhere(&self) -> String {
        let outlook = self.outlook;
        let is_elsewhere =
            matches!(outlook.state, State::GrowsElsewhere | State::AllocatorRetention | State::NothingGrows);
        match (outlook.look_at.filter(|_| is_elsewhere), outlook.advice) {
            (Some(class), Some(_)) => {
                let advice = class.advice_for(self.is_jvm, self.keeps_allocator);
                format!(" Look at {}: {advice}.", class.title())
            }
            (None, _) if outlook.state == State::GrowsElsewhere && self.is_jvm => {
                " Look at the Java heap, metaspace, thread stacks and mapped files: heaptap rss PID.".to_owned()
            }
            (None, _) if outlook.state == State::GrowsElsewhere => {
                " Look at thread stacks, mapped files and mmap: heaptap rss PID.".to_owned()
            }
            _ => String::new(),
        }
    }

    /// Too little is known to say more: why, and what would tell.
    fn cannot_tell(&self) -> String {
        let (outlook, lost) = (self.outlook, self.lost);
        if outlook.bytes <= 0.0 {
            let tell = outlook.would_tell.as_ref().map_or(String::new(), |what| format!(" What would tell: {what}."));
            return format!("CANNOT TELL: too little was seen of {} live to judge by.{tell}", self.path());
        }
        let of_all = lost.share.map_or(String::new(), |of_all| format!(", {} of all", share(of_all)));
        let why = lost.cause.map_or(String::new(), |cause| format!(" ({})", cause.why));
        let advice = outlook.advice.map_or(String::new(), |advice| format!(" To be able to tell: {advice}."));
        format!(
            "CANNOT TELL: live bytes ({}) are too low by up to {}, which were allocated and could not be followed: \
             {} samples were lost{of_all}{why}.{advice}",
            self.path(),
            bytes(outlook.bytes),
            count(lost.samples as f64)
        )
    }

    fn nothing_grows(&self) -> String {
        let (unit, total) = (self.unit(), self.total);
        match total.verdict {
            Verdict::Shrinks => format!("Nothing grows: shrank, {}.", self.path()),
            Verdict::Unknown => "Nothing leaks, by the ages of objects.".to_owned(),
            // More than sampling explains: its own ups and downs.
            _ if total.change_bytes().abs() > total.noise_bytes => {
                format!("Nothing grows: {}; what is more now comes and goes, or has stopped.", self.path())
            }
            _ => {
                let span = self.span.filter(|span| *span >= 1.0);
                let seen = span.map_or(String::new(), |span| {
                    format!("; a growth of {} would have been seen", unit.rate(total.visible_bytes / span))
                });
                format!("Nothing grows: {} is within chance (± {}){seen}.", self.path(), unit.amount(total.noise_bytes))
            }
        }
    }
}
