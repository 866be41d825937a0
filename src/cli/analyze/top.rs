//! Who allocates, as jeprof's table: what a function holds itself, and what goes through it.
//!
//! *Self* is given to the row nearest to the allocation (allocator glue makes no rows), so that
//! selves sum up to all bytes that any row has; *below* counts a stack once for every row in it.

use super::frames::Kinds;
use super::groups::{By, key};
use super::place::Place;
use super::report::{DumpFacts, Process, dump_facts, process};
use super::sites;
use crate::cli::profile::location::FunctionId;
use crate::cli::profile::metric::Metric;
use crate::cli::profile::sample::Estimate;
use crate::cli::profile::series::Series;
use rustc_hash::FxHashMap;
use serde::Serialize;

/// The table.
#[derive(Debug, Serialize)]
pub(crate) struct Top {
    /// Version of this form: fields may be added, none changes its meaning.
    pub(crate) schema: u32,
    /// Whose memory it is.
    pub(crate) process: Process,
    /// The dump that is shown.
    pub(crate) dump: Option<DumpFacts>,
    /// What stands in the place of bytes.
    pub(crate) metric: Metric,
    /// All live bytes.
    pub(crate) bytes: f64,
    /// All live objects.
    pub(crate) objects: f64,
    /// What a row is.
    pub(crate) by: By,
    /// The place that holds most, as `report` names it.
    pub(crate) place: Option<Place>,
    /// Live bytes of that.
    pub(crate) place_bytes: f64,
    /// Most bytes of their own first.
    pub(crate) rows: Vec<TopRow>,
}

/// One row.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TopRow {
    /// Function, class, package or library.
    pub(crate) name: String,
    /// Live bytes allocated there.
    pub(crate) self_bytes: f64,
    /// Live objects allocated there.
    pub(crate) self_objects: f64,
    /// Live bytes allocated there or in what it calls.
    pub(crate) below_bytes: f64,
    /// Live objects allocated there or in what it calls.
    pub(crate) below_objects: f64,
}

impl Top {
    /// Counts the last dump of a series.
    pub(crate) fn of(series: &Series, by: By) -> Top {
        let total = series.profile.total();
        let mut rows = rows(series, by);
        let order = |a: &TopRow, b: &TopRow| {
            let bytes = b.self_bytes.total_cmp(&a.self_bytes).then(b.below_bytes.total_cmp(&a.below_bytes));
            bytes.then_with(|| a.name.cmp(&b.name))
        };
        rows.sort_by(order);
        let (place, place_bytes) = sites::biggest(series).unzip();
        Top {
            schema: 1,
            process: process(series),
            dump: series.last().map(dump_facts),
            metric: series.profile.metric,
            bytes: total.bytes,
            objects: total.objects,
            by,
            place,
            place_bytes: place_bytes.unwrap_or(0.0),
            rows,
        }
    }

    /// Most bytes at or below first.
    pub(crate) fn sort_by_below(&mut self) {
        self.rows.sort_by(|a, b| b.below_bytes.total_cmp(&a.below_bytes).then_with(|| a.name.cmp(&b.name)));
    }
}

/// Sums of a row, and the last stack that was counted for it.
#[derive(Default)]
struct Sums {
    own: Estimate,
    below: Estimate,
    last: usize,
}

fn rows(series: &Series, by: By) -> Vec<TopRow> {
    let profile = &series.profile;
    let kinds = Kinds::of(profile);
    let mut ids: FxHashMap<String, usize> = FxHashMap::default();
    let row_of: Vec<Option<usize>> = profile
        .functions
        .iter()
        .map(|function| {
            let next = ids.len();
            key(function, by).map(|name| *ids.entry(name).or_insert(next))
        })
        .collect();
    let row_of = |id: FunctionId| row_of.get(id.index()).copied().flatten();
    let mut sums: Vec<Sums> = ids.iter().map(|_| Sums::default()).collect();
    let mut frames = Vec::new();
    for (number, sample) in profile.samples.iter().enumerate() {
        kinds.visible_until(profile, sample, |_, _| false, &mut frames);
        let mut is_nearest = true;
        for row in frames.iter().filter_map(|line| row_of(line.function)) {
            let Some(sums) = sums.get_mut(row) else { continue };
            if std::mem::take(&mut is_nearest) {
                sums.own += sample.value;
            }
            if std::mem::replace(&mut sums.last, number + 1) != number + 1 {
                sums.below += sample.value;
            }
        }
    }
    let row = |(name, row): (String, usize)| {
        let sums = sums.get(row)?;
        (sums.below.bytes >= 0.5).then_some(TopRow {
            name,
            self_bytes: sums.own.bytes,
            self_objects: sums.own.objects,
            below_bytes: sums.below.bytes,
            below_objects: sums.below.objects,
        })
    };
    ids.into_iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::analyze::shop;

    fn series() -> Series {
        shop::series(&[2])
    }

    #[test]
    fn selves_sum_up_to_all_bytes_and_below_holds_at_least_self() {
        let top = Top::of(&series(), By::Function);
        let selves: f64 = top.rows.iter().map(|row| row.self_bytes).sum();
        assert!((selves - top.bytes).abs() < 1e-3);
        assert!(top.rows.iter().all(|row| row.below_bytes >= row.self_bytes - 1e-6 && row.below_bytes <= top.bytes));
        assert!(top.rows.windows(2).all(|pair| pair[0].self_bytes >= pair[1].self_bytes));
    }

    #[test]
    fn a_package_owns_what_it_is_nearest_to() {
        let mut top = Top::of(&series(), By::Package);
        top.sort_by_below();
        let shop = top.rows.iter().find(|row| row.name == "com.shop").unwrap();
        assert!(shop.below_bytes > 0.0);
        assert!(top.rows.windows(2).all(|pair| pair[0].below_bytes >= pair[1].below_bytes));
    }
}
