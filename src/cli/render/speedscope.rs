//! speedscope's JSON: sampled profiles whose weights are live bytes and live objects, or what else is measured.

use super::Renderer;
use crate::cli::analyze::frames::Kinds;
use crate::cli::inert::Inert;
use crate::cli::profile::location::FunctionId;
use crate::cli::profile::metric::Metric;
use crate::cli::profile::series::Series;
use serde::Serialize;
use std::io::{self, Write};

/// Writes a speedscope file.
pub(crate) struct Speedscope;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    exporter: &'static str,
    active_profile_index: usize,
    shared: Shared<'a>,
    profiles: Vec<Sampled>,
}

#[derive(Serialize)]
struct Shared<'a> {
    frames: Vec<Frame<'a>>,
}

#[derive(Serialize)]
struct Frame<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    file: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sampled {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'static str,
    unit: &'static str,
    start_value: u64,
    end_value: u64,
    samples: Vec<Vec<FunctionId>>,
    weights: Vec<u64>,
}

impl Renderer<Series> for Speedscope {
    fn render(&self, series: &Series, out: &mut dyn Write) -> io::Result<()> {
        let profile = &series.profile;
        let kinds = Kinds::of(profile);
        let live: Vec<_> = profile.samples.iter().filter(|sample| sample.value.bytes >= 0.5).collect();
        let stacks: Vec<Vec<FunctionId>> = live
            .iter()
            .map(|sample| kinds.visible(profile, sample).iter().rev().map(|line| line.function).collect())
            .collect();
        let weights = |value: fn(&crate::cli::profile::sample::Estimate) -> f64| -> Vec<u64> {
            live.iter().map(|sample| value(&sample.value).round() as u64).collect()
        };
        let (titles, units) = match profile.metric {
            Metric::InuseBytes => (["live bytes", "live objects"], ["bytes", "none"]),
            Metric::InuseCount => (["live objects", "live bytes"], ["none", "bytes"]),
            Metric::AllocBytes => (["bytes ever allocated", "objects ever allocated"], ["bytes", "none"]),
            Metric::AllocCount => (["objects ever allocated", "bytes ever allocated"], ["none", "bytes"]),
            Metric::Mapped => (["mapped bytes", "mapped ranges and threads"], ["bytes", "none"]),
            Metric::Resident => (["resident bytes", "resident ranges and threads"], ["bytes", "none"]),
        };
        let file = File {
            schema: "https://www.speedscope.app/file-format-schema.json",
            exporter: concat!("heaptap ", env!("CARGO_PKG_VERSION")),
            active_profile_index: 0,
            shared: Shared {
                frames: profile
                    .functions
                    .iter()
                    .map(|function| Frame { name: &function.name, file: &function.file })
                    .collect(),
            },
            profiles: vec![
                sampled(titles[0], units[0], stacks.clone(), weights(|value| value.bytes)),
                sampled(titles[1], units[1], stacks, weights(|value| value.objects)),
            ],
        };
        serde_json::to_writer(Inert::json(&mut *out), &file)?;
        out.write_all(b"\n")
    }
}

fn sampled(name: &'static str, unit: &'static str, samples: Vec<Vec<FunctionId>>, weights: Vec<u64>) -> Sampled {
    Sampled { kind: "sampled", name, unit, start_value: 0, end_value: weights.iter().sum(), samples, weights }
}
