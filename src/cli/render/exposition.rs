//! Figures as Prometheus and OpenMetrics read them: families of samples, each family in one piece.

use crate::cli::analyze::gauges::Gauges;
use crate::cli::inert::clean;

/// Letters of a label's value.
const MOST_LETTERS: usize = 200;

/// Name and value.
pub(crate) type Labels = Vec<(String, String)>;

/// Whether a figure goes up and down, or only up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Up and down.
    Gauge,
    /// Only up; its name ends with `_total`.
    Counter,
}

/// One family.
#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    samples: Vec<(Labels, f64)>,
}

/// All families, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    families: Vec<Family>,
}

impl Exposition {
    /// Adds a sample.
    pub(crate) fn add(&mut self, kind: Kind, name: &'static str, help: &'static str, labels: Labels, value: f64) {
        let family = match self.families.iter_mut().find(|family| family.name == name) {
            Some(family) => family,
            None => {
                self.families.push(Family { name, help, kind, samples: Vec::new() });
                let last = self.families.len() - 1;
                &mut self.families[last]
            }
        };
        family.samples.push((labels, value));
    }

    /// Adds what a life holds. No two have the same labels.
    pub(crate) fn add_life(&mut self, labels: &Labels, gauges: &Gauges) {
        let number = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
        let figures: [(&'static str, &'static str, Option<f64>); 8] = [
            ("heaptap_live_bytes", "Bytes that malloc gave out and that live, estimated", Some(gauges.live_bytes)),
            ("heaptap_live_objects", "Objects that live, estimated", Some(gauges.live_objects)),
            ("heaptap_resident_bytes", "Resident memory", number(gauges.resident_bytes)),
            ("heaptap_memory_limit_bytes", "What the control group may use", number(gauges.limit_bytes)),
            ("heaptap_sample_period_bytes", "Bytes between two samples, in the mean", Some(gauges.period_bytes as f64)),
            ("heaptap_tables_bytes", "Memory of the profiler's tables", number(gauges.tables_bytes)),
            ("heaptap_life_start_time_seconds", "When the process began, since 1970", gauges.start_seconds),
            (
                "heaptap_seconds_to_limit",
                "When the limit is met if it goes on like this",
                gauges.verdict.as_ref().and_then(|verdict| verdict.seconds_to_limit),
            ),
        ];
        for (name, help, value) in figures {
            if let Some(value) = value {
                self.add(Kind::Gauge, name, help, labels.clone(), value);
            }
        }
        let lost = gauges.lost_samples as f64;
        self.add(Kind::Counter, "heaptap_lost_samples_total", "Samples that were lost", labels.clone(), lost);
        if let Some(seconds) = gauges.profiler_seconds {
            let help = "Processor time that the profiler spent in the process";
            self.add(Kind::Counter, "heaptap_profiler_seconds_total", help, labels.clone(), seconds);
        }
        for (class, bytes) in &gauges.classes {
            let labels = with(labels, "class", class);
            self.add(
                Kind::Gauge,
                "heaptap_resident_class_bytes",
                "Classes of the resident memory",
                labels,
                *bytes as f64,
            );
        }
        let Some(verdict) = &gauges.verdict else { return };
        let state = serde_json::to_value(verdict.state).ok();
        let state = state.as_ref().and_then(|state| state.as_str()).unwrap_or("unknown").to_owned();
        self.add(Kind::Gauge, "heaptap_verdict", "1 for what the process does", with(labels, "state", &state), 1.0);
        for place in &verdict.places {
            let labels = with(labels, "site", &place.label);
            let help = "How fast a place grows that leaks or grows";
            self.add(Kind::Gauge, "heaptap_leak_bytes_per_second", help, labels.clone(), place.rate);
            self.add(Kind::Gauge, "heaptap_leak_bytes", "What such a place holds", labels, place.bytes);
        }
    }

    /// The page. `is_open`: in OpenMetrics' form, else in Prometheus's.
    pub(crate) fn text(&self, is_open: bool) -> String {
        let mut text = String::new();
        for Family { name, help, kind, samples } in &self.families {
            let (word, family) = match kind {
                Kind::Gauge => ("gauge", *name),
                Kind::Counter if is_open => ("counter", name.trim_end_matches("_total")),
                Kind::Counter => ("counter", *name),
            };
            text += &format!("# HELP {family} {help}.\n# TYPE {family} {word}\n");
            for (labels, value) in samples {
                let labels: Vec<String> =
                    labels.iter().map(|(name, value)| format!("{name}=\"{}\"", quoted(value))).collect();
                let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
                text += &format!("{name}{labels} {value}\n");
            }
        }
        if is_open {
            text += "# EOF\n";
        }
        text
    }
}

fn with(labels: &Labels, name: &str, value: &str) -> Labels {
    labels.iter().cloned().chain([(name.to_owned(), value.to_owned())]).collect()
}

fn quoted(text: &str) -> String {
    let text: String = clean(text).chars().take(MOST_LETTERS).collect();
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::analyze::gauges::{Findings, Growing};
    use crate::cli::analyze::outlook::State;

    #[test]
    fn a_family_is_in_one_piece_and_lives_are_told_apart() {
        let place = Growing { label: "a \"b\"\\\n".into(), bytes: 10.0, rate: 0.5 };
        let verdict = Some(Findings { state: State::GrowsElsewhere, seconds_to_limit: None, places: vec![place] });
        let labels = |life: &str| [("service_name", "shop"), ("life", life)].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let younger = Gauges { live_bytes: 2.0, start_seconds: Some(9.0), verdict, ..Gauges::default() };
        let older = Gauges { live_bytes: 1e15, start_seconds: Some(5.0), lost_samples: 3, ..Gauges::default() };
        let mut page = Exposition::default();
        page.add_life(&labels("1").to_vec(), &older);
        page.add_life(&labels("2").to_vec(), &younger);
        let text = page.text(false);
        let first = "# HELP heaptap_live_bytes Bytes that malloc gave out and that live, estimated.\n\
                     # TYPE heaptap_live_bytes gauge\n\
                     heaptap_live_bytes{service_name=\"shop\",life=\"1\"} 1000000000000000\n\
                     heaptap_live_bytes{service_name=\"shop\",life=\"2\"} 2\n";
        assert!(text.starts_with(first), "{text}");
        assert!(text.contains("# TYPE heaptap_lost_samples_total counter\n"), "{text}");
        let site = "heaptap_leak_bytes_per_second{service_name=\"shop\",life=\"2\",site=\"a \\\"b\\\"\\\\?\"} 0.5\n";
        assert!(text.contains(site) && text.contains("state=\"grows-elsewhere\"} 1\n"), "{text}");
        let open = page.text(true);
        assert!(open.contains("# TYPE heaptap_lost_samples counter\n") && open.ends_with("# EOF\n"), "{open}");
        assert!(open.contains("\nheaptap_lost_samples_total{"), "{open}");
    }
}
