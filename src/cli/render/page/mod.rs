//! Everything about a life as one HTML page that needs nothing else: no network, no server, no other file.
//!
//! The page is a template, its scripts and the data: whole numbers as JSON, gzipped, in base64, so that no name in it
//! can end a script. The scripts draw names on a canvas and set text only, and the page's own policy forbids it to load
//! anything. The plots over time are uPlot's (`vendor/`), everything else is in `js/`.

mod mapped;
mod names;
mod nodes;
mod over_time;
mod rows;
mod words;

use super::Renderer;
use super::base64::base64;
use super::symbols::Modules;
use crate::cli::analyze::courses::Courses;
use crate::cli::analyze::moments::{Moments, Point};
use crate::cli::analyze::report::Report;
use crate::cli::inert::clean;
use crate::cli::profile::series::Series;
use flate2::Compression;
use flate2::write::GzEncoder;
use mapped::{MappedPart, MappedRow};
use nodes::Nodes;
use over_time::{Mark, Timeline};
use rows::Place;
use serde::Serialize;
use std::io::{self, Write};
use words::{About, Summary};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// In the order in which each uses those before it.
const SCRIPTS: [&str; 9] = [
    include_str!("js/model.js"),
    include_str!("js/units.js"),
    include_str!("js/colours.js"),
    include_str!("js/flame.js"),
    include_str!("js/time.js"),
    include_str!("js/table.js"),
    include_str!("js/ages.js"),
    include_str!("js/words.js"),
    include_str!("js/page.js"),
];
const PLOTS: &str = include_str!("vendor/uPlot.js");
const PLOTS_STYLE: &str = include_str!("vendor/uPlot.css");
const PLOTS_LICENSE: &str = include_str!("vendor/LICENSE");

/// Frames of the biggest page; smaller ones go to their callers.
const FRAMES: usize = 50_000;
/// Letters that the data may have; with the scripts the page stays below 1 MB.
const LETTERS: usize = 860_000;
/// What one step makes of the quantum that the courses are told in.
const COARSER: f64 = 8.0;
/// The quantum is no part of this, at most, of all bytes: what is smaller cannot be seen.
const FINEST_SEEN: f64 = 1.0 / 4096.0;

/// What the page is made of.
pub(crate) struct Material<'a> {
    /// Named.
    pub(crate) series: &'a Series,
    /// What is said of it.
    pub(crate) report: &'a Report,
    /// Where the names came from.
    pub(crate) modules: &'a Modules,
    /// What call stacks have mapped beside malloc (`profile::mapped::series`).
    pub(crate) mapped: Option<Series>,
    /// What of that is resident.
    pub(crate) resident: Option<Series>,
}

/// The part of the page that is shown first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tab {
    /// The verdict.
    #[default]
    Summary,
    /// The flame graph.
    Flame,
}

/// Writes the page.
pub(crate) struct Page {
    /// Heading.
    pub(crate) title: String,
    /// One line below it.
    pub(crate) subtitle: String,
    /// What is shown where the address asks for nothing.
    pub(crate) tab: Tab,
    /// Two states are compared, which need not be of one process.
    pub(crate) is_comparison: bool,
}

/// What the scripts read (`model.js`, `openModel`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    title: String,
    subtitle: String,
    tab: Tab,
    is_comparison: bool,
    /// Seconds since 1970, or numbers of dumps.
    moments: Vec<f64>,
    /// Whether they are seconds.
    has_times: bool,
    /// Which of them are dumps.
    dumps: Vec<usize>,
    timeline: Option<Timeline>,
    marks: Vec<Mark>,
    places: Vec<Place>,
    other_places: usize,
    mapped_places: Vec<MappedRow>,
    mapped: Option<MappedPart>,
    resident: Option<MappedPart>,
    summary: Summary,
    about: About,
    #[serde(flatten)]
    nodes: Nodes,
}

impl Renderer<Material<'_>> for Page {
    fn render(&self, material: &Material<'_>, out: &mut dyn Write) -> io::Result<()> {
        let packed = self.packed(material)?;
        let (before_style, rest) = split(PAGE, "/*@STYLE@*/");
        let (before_script, rest) = split(rest, "\"@SCRIPT@\"");
        let (before_data, after_data) = split(rest, "@DATA@");
        let plots = PLOTS.split_once("*/").map_or(PLOTS, |(_, plots)| plots);
        let head = [before_style, PLOTS_STYLE, STYLE, before_script, "/*! uPlot\n", PLOTS_LICENSE, "*/", plots];
        let tail = [before_data, &packed, after_data];
        head.iter().chain(&SCRIPTS).chain(&tail).try_for_each(|part| out.write_all(part.as_bytes()))
    }
}

impl Page {
    /// The data as letters. What would be too long is told in coarser quanta, then with fewer frames.
    fn packed(&self, material: &Material<'_>) -> io::Result<String> {
        let Material { series, report, .. } = material;
        let moments = Moments::whole(series);
        let of_mapped = material.mapped.as_ref().map(Moments::whole).unwrap_or_default();
        let mut courses = Courses::of(series, &moments);
        let most = moments.totals.iter().map(|total| total.bytes).fold(1.0, f64::max);
        let (mut frames, mut quantum) = (FRAMES, 1.0);
        let mut data = Data {
            title: clean(&self.title),
            subtitle: clean(&self.subtitle),
            tab: self.tab,
            is_comparison: self.is_comparison,
            moments: moments.clock(series),
            has_times: moments.has_times && !self.is_comparison,
            dumps: (0..).zip(&moments.points).filter(|(_, point)| is_dump(point)).map(|(at, _)| at).collect(),
            timeline: (!self.is_comparison).then(|| Timeline::of(series)),
            marks: if self.is_comparison { Vec::new() } else { over_time::marks(series, report) },
            places: rows::places(report, series, &moments),
            other_places: report.other_sites,
            mapped_places: mapped::rows(report, &of_mapped),
            mapped: material.mapped.as_ref().map(|series| MappedPart::of(series, &of_mapped)),
            resident: material.resident.as_ref().map(|series| MappedPart::of(series, &Moments::whole(series))),
            summary: Summary::of(report),
            about: About::of(report, series, material.modules),
            nodes: Nodes::of(&courses, &series.profile, most),
        };
        loop {
            courses.prune(frames);
            data.nodes = Nodes::of(&courses, &series.profile, quantum);
            let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
            serde_json::to_writer(&mut gzip, &data)?;
            let packed = base64(&gzip.finish()?);
            match packed.len() <= LETTERS || frames < 1000 {
                true => return Ok(packed),
                false if quantum < FINEST_SEEN * most => quantum *= COARSER,
                false => frames = frames * 4 / 5,
            }
        }
    }
}

fn is_dump(point: &Point) -> bool {
    matches!(point, Point::Dump(_))
}

/// The parts before and after a mark of the template.
fn split<'a>(text: &'a str, mark: &str) -> (&'a str, &'a str) {
    text.split_once(mark).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_has_its_marks_once_and_no_script_ends_early() {
        let marks = ["/*@STYLE@*/", "\"@SCRIPT@\"", "@DATA@"];
        assert!(marks.iter().all(|mark| PAGE.matches(mark).count() == 1));
        assert!(SCRIPTS.iter().chain(&[PLOTS, PLOTS_LICENSE]).all(|script| !script.contains("</script")));
    }
}
