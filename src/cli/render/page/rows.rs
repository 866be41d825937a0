//! The places that are judged, with their courses and ages, as the page's table shows them.

use super::super::sentences;
use super::super::words::conclusion;
use crate::cli::analyze::ages::AgeFacts;
use crate::cli::analyze::moments::Moments;
use crate::cli::analyze::place::Shown;
use crate::cli::analyze::report::{Report, SiteFacts};
use crate::cli::analyze::track::Track;
use crate::cli::inert::clean;
use crate::cli::profile::series::Series;
use serde::Serialize;

/// Places on the page: those that grow, and the biggest.
const MOST: usize = 200;
/// Frames of one.
const FRAMES: usize = 24;

/// A place.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Place {
    label: String,
    verdict: &'static str,
    objects: u64,
    /// Bytes a second, and the bound of its error.
    rate: Option<f64>,
    rate_error: Option<f64>,
    /// Bytes at each moment.
    course: Vec<u64>,
    /// Its stack, from the allocation outwards.
    frames: Vec<String>,
    /// Which of them is the user's own.
    own: Option<usize>,
    hint: Option<String>,
    ages: Option<Lives>,
}

/// How its objects live and die.
#[derive(Serialize)]
struct Lives {
    /// In words.
    text: String,
    median: f64,
    oldest: f64,
    usual: Option<f64>,
    /// Not younger than so many seconds: bytes, objects.
    live: Vec<(f64, u64, u64)>,
    /// Lived for so many seconds at least: samples.
    freed: Vec<(f64, u64)>,
}

/// The places of a report, biggest first.
pub(super) fn places(report: &Report, series: &Series, moments: &Moments) -> Vec<Place> {
    let is_shown = |(rank, site): &(usize, &SiteFacts)| *rank < MOST || site.judgement.verdict.is_suspect();
    let shown = report.sites.iter().enumerate().filter(is_shown).take(2 * MOST);
    shown.map(|(_, site)| place(site, series, moments)).collect()
}

fn place(site: &SiteFacts, series: &Series, moments: &Moments) -> Place {
    let mut track = Track::new(moments);
    site.members.iter().for_each(|member| track.add(series, moments, *member as usize));
    let is_own = |line: &&Shown| matches!(line, Shown::Frame(index) if Some(*index) == site.own_frame);
    let lines = site.place.lines(FRAMES);
    let hint = site.hint.as_ref().filter(|_| site.is_worth_a_hint);
    Place {
        label: clean(&site.label),
        verdict: conclusion(site.judgement.verdict),
        objects: site.objects.round() as u64,
        rate: site.judgement.rate,
        rate_error: site.judgement.rate_error,
        course: track.bytes.iter().map(|bytes| bytes.max(0.0).round() as u64).collect(),
        own: lines.iter().position(|line| is_own(&line)),
        frames: lines.iter().map(|line| frame(line, site)).collect(),
        hint: hint.map(|hint| format!("{}: {}", hint.title, hint.advice)),
        ages: site.ages.as_ref().map(lives),
    }
}

fn frame(line: &Shown, site: &SiteFacts) -> String {
    let name = |index: usize| site.frames.get(index).map_or("", |frame| frame.name.as_str());
    let place = match line {
        Shown::Frame(index) => site.frames.get(*index).map_or(String::new(), |frame| match frame.line {
            0 if frame.library.is_empty() || frame.name.starts_with(&frame.library) => String::new(),
            0 => format!("  {}", frame.library),
            number => format!("  line {number}"),
        }),
        _ => String::new(),
    };
    clean(&format!("{}{place}", line.words(name)))
}

fn lives(ages: &AgeFacts) -> Lives {
    Lives {
        text: sentences::lives(ages),
        median: ages.median_seconds,
        oldest: ages.oldest_seconds,
        usual: ages.usual_seconds,
        live: ages
            .live
            .iter()
            .map(|bin| (bin.from_seconds, bin.bytes.round() as u64, bin.objects.round() as u64))
            .collect(),
        freed: ages.freed.iter().map(|bin| (bin.from_seconds, bin.samples)).collect(),
    }
}
