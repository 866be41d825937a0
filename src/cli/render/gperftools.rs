//! The flat form of gperftools, which `go tool pprof` reads as well as jeprof does.
//!
//!     heap profile: 150: 1393380 [0: 0] @ heap_v2/131072
//!     78: 79873 [0: 0] @ 0x7fe0be4a2630 0x7fe0be4a2d21 …
//!
//!     MAPPED_LIBRARIES:
//!
//! The dump's own numbers and addresses: readers unbias and name them themselves. Threads and Java
//! names are lost; pprof files keep more.

use super::Renderer;
use crate::cli::profile::Profile;
use crate::cli::profile::sample::{Counts, Sample};
use crate::cli::profile::series::Series;
use std::io::{self, Write};

/// Writes the last dump.
pub(crate) struct Gperftools;

impl Renderer<Series> for Gperftools {
    fn render(&self, series: &Series, out: &mut dyn Write) -> io::Result<()> {
        let profile = &series.profile;
        let held = profile.samples.iter().filter(|sample| sample.counts != Counts::default());
        let sum = held.clone().fold(Counts::default(), |sum, sample| sum.plus(sample.counts));
        writeln!(out, "heap profile: {} @ heap_v2/{}", counts(sum), profile.period_bytes)?;
        for sample in held {
            writeln!(out, "{} @{}", counts(sample.counts), addresses(profile, sample))?;
        }
        writeln!(out, "\nMAPPED_LIBRARIES:")?;
        for mapping in &profile.mappings {
            let deleted = if mapping.is_deleted { " (deleted)" } else { "" };
            let (start, end, offset) = (mapping.start, mapping.end, mapping.offset);
            writeln!(out, "{start:x}-{end:x} r-xp {offset:08x} 00:00 0 {}{deleted}", mapping.path)?;
        }
        Ok(())
    }
}

fn counts(counts: Counts) -> String {
    let Counts { objects, bytes, accum_objects, accum_bytes } = counts;
    format!("{objects}: {bytes} [{accum_objects}: {accum_bytes}]")
}

/// Callers' addresses were lowered by one when they were read; the leaf's was not.
fn addresses(profile: &Profile, sample: &Sample) -> String {
    let address = |(depth, id)| {
        let address = profile.location(id).address;
        format!(" {:#x}", if depth == 0 { address } else { address.saturating_add(1) })
    };
    sample.stack.iter().copied().enumerate().map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::heap_v2;
    use crate::cli::profile::series::SeriesBuilder;

    #[test]
    fn it_reads_back_as_the_same_profile() {
        let whole = heap_v2::parse(&include_bytes!("../../../tests/dumps/small.heap")[..]).unwrap();
        let mut builder = SeriesBuilder::default();
        builder.add("small.heap".into(), None, whole.clone());
        let mut text = Vec::new();
        Gperftools.render(&builder.finish(), &mut text).unwrap();
        let again = heap_v2::parse(text.as_slice()).unwrap();
        assert_eq!(again.warnings.lines().count(), 0);
        assert_eq!(again.mappings, whole.mappings);
        let stacks = |profile: &Profile| -> Vec<(Counts, Vec<u64>)> {
            let addresses = |sample: &Sample| sample.stack.iter().map(|id| profile.location(*id).address).collect();
            profile.samples.iter().map(|sample| (sample.counts, addresses(sample))).collect()
        };
        assert_eq!(stacks(&again), stacks(&whole));
    }
}
