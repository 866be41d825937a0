//! The figures of a life that are watched over time by a server of metrics: few, and bounded in number.

use super::outlook::State;
use super::report::Report;
use crate::cli::profile::series::Series;

/// What a life holds, and what it costs to know that.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Gauges {
    /// Live bytes, estimated.
    pub(crate) live_bytes: f64,
    /// Live objects, estimated.
    pub(crate) live_objects: f64,
    /// Mean distance of samples, bytes.
    pub(crate) period_bytes: u64,
    /// Resident memory.
    pub(crate) resident_bytes: Option<u64>,
    /// Classes of that, by their words.
    pub(crate) classes: Vec<(String, u64)>,
    /// What the control group may use.
    pub(crate) limit_bytes: Option<u64>,
    /// Samples that were lost.
    pub(crate) lost_samples: u64,
    /// What the tap spent, seconds.
    pub(crate) profiler_seconds: Option<f64>,
    /// Memory of its tables.
    pub(crate) tables_bytes: Option<u64>,
    /// When the life began, seconds since 1970.
    pub(crate) start_seconds: Option<f64>,
    /// The verdict; `None`: it was not looked for yet.
    pub(crate) verdict: Option<Findings>,
}

/// What is wrong with a life.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Findings {
    /// In a word.
    pub(crate) state: State,
    /// When it meets its limit, if it goes on like this.
    pub(crate) seconds_to_limit: Option<f64>,
    /// Places that leak or grow, the fastest first.
    pub(crate) places: Vec<Growing>,
}

/// A place that leaks or grows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Growing {
    /// What it is, in words.
    pub(crate) label: String,
    /// What it holds.
    pub(crate) bytes: f64,
    /// How fast that grows, bytes a second.
    pub(crate) rate: f64,
}

impl Gauges {
    /// Of what was read last; without a verdict.
    pub(crate) fn of(series: &Series) -> Gauges {
        let Some(last) = series.last() else { return Gauges::default() };
        let metadata = &last.metadata;
        let age = metadata.uptime_ns.map(|ns| ns as f64 / 1e9);
        Gauges {
            live_bytes: last.total.bytes,
            live_objects: last.total.objects,
            period_bytes: last.period_bytes,
            resident_bytes: metadata.rss_bytes,
            classes: metadata.rss_classes.clone(),
            limit_bytes: metadata.memory_limit_bytes,
            lost_samples: metadata.lost_total(),
            profiler_seconds: metadata.profiler_ns.map(|ns| ns as f64 / 1e9),
            tables_bytes: metadata.tables_bytes,
            start_seconds: last.time().zip(age).map(|(time, age)| time - age),
            verdict: None,
        }
    }
}

impl Findings {
    /// The verdict of a report, with so many places at most.
    pub(crate) fn of(report: &Report, most: usize) -> Findings {
        let mut places: Vec<Growing> = Vec::new();
        for site in report.sites.iter().filter(|site| site.judgement.verdict.is_suspect()) {
            let rate = site.judgement.rate.unwrap_or(0.0);
            // Two places may have one name: a series is one figure.
            match places.iter_mut().find(|place| place.label == site.label) {
                Some(place) => (place.bytes, place.rate) = (place.bytes + site.bytes, place.rate + rate),
                None => places.push(Growing { label: site.label.clone(), bytes: site.bytes, rate }),
            }
        }
        places.sort_by(|a, b| b.rate.total_cmp(&a.rate).then_with(|| a.label.cmp(&b.label)));
        places.truncate(most);
        let outlook = &report.outlook;
        Findings { state: outlook.state, seconds_to_limit: outlook.seconds_to_limit, places }
    }
}
