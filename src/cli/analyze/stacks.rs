//! The stacks of a named life by the names of their frames, each once: what a row of a table over many lives is.
//!
//! A life has many stacks of the same names (other lines, other addresses of one function). Whoever adds up rows of a
//! fleet must not meet them apart: so their values are summed here. The id of a stack is the same in every life,
//! version of heaptap and machine: 64 bits of FNV-1a over the names of its frames without the numbers that a life draws
//! anew (`steady_name`).

use super::frames::Kinds;
use super::own::Owners;
use super::steady_name::steady;
use crate::cli::profile::location::FunctionId;
use crate::cli::profile::sample::Estimate;
use crate::cli::profile::series::Series;
use crate::wire::ages::Ages;
use rustc_hash::FxHashMap;

/// The stacks of a life.
pub(crate) struct Stacks {
    /// Names of frames.
    pub(crate) names: Vec<String>,
    /// In order of their first sample.
    pub(crate) stacks: Vec<Stack>,
}

/// One of them.
pub(crate) struct Stack {
    /// The same wherever these frames are.
    pub(crate) id: u64,
    /// Leaf first: places in [`Stacks::names`]. Allocators and their wrappers are left out, as in all reports.
    pub(crate) frames: Box<[u32]>,
    /// The frame that the user can change.
    pub(crate) own: Option<u32>,
    /// Samples of the series that have these frames.
    members: Vec<usize>,
}

/// What a stack was in one dump.
#[derive(Default)]
pub(crate) struct Moment {
    /// What it held, and had allocated.
    pub(crate) value: Estimate,
    /// How old its objects were.
    pub(crate) ages: Ages,
}

impl Stacks {
    /// Of a named series.
    pub(crate) fn of(series: &Series) -> Stacks {
        let profile = &series.profile;
        let kinds = Kinds::of(profile);
        let owners = Owners::of(profile, &kinds);
        let (names, of_function) = names(series);
        let name = |function: FunctionId| of_function.get(function.index()).copied().unwrap_or_default();
        let mut places: FxHashMap<Box<[u32]>, usize> = FxHashMap::default();
        let (mut stacks, mut frames): (Vec<Stack>, _) = (Vec::new(), Vec::new());
        for (index, sample) in profile.samples.iter().enumerate() {
            kinds.visible_until(profile, sample, |_, _| false, &mut frames);
            let key: Box<[u32]> = frames.iter().map(|line| name(line.function)).collect();
            if let Some(stack) = places.get(&key).and_then(|at| stacks.get_mut(*at)) {
                stack.members.push(index);
                continue;
            }
            let id = id(key.iter().filter_map(|at| names.get(*at as usize)).map(String::as_str));
            let own = owners.own_frame(&frames).and_then(|own| key.get(own).copied());
            places.insert(key.clone(), stacks.len());
            stacks.push(Stack { id, frames: key, own, members: vec![index] });
        }
        Stacks { names, stacks }
    }
}

impl Stack {
    /// What it was in the dumps that have it, in their order.
    pub(crate) fn moments(&self, series: &Series) -> Vec<(usize, Moment)> {
        let mut moments: Vec<Option<Moment>> = Vec::new();
        moments.resize_with(series.dumps.len(), || None);
        for member in &self.members {
            for (at, value) in series.history.get(*member).into_iter().flatten() {
                let Some(moment) = moments.get_mut(*at) else { continue };
                moment.get_or_insert_default().value += *value;
            }
            for (at, ages) in series.ages.get(*member).into_iter().flatten() {
                let Some(moment) = moments.get_mut(*at) else { continue };
                moment.get_or_insert_default().ages.add(ages);
            }
        }
        moments.into_iter().enumerate().filter_map(|(at, moment)| Some((at, moment?))).collect()
    }
}

/// The names of a life's functions, each once, and which is whose.
fn names(series: &Series) -> (Vec<String>, Vec<u32>) {
    let (mut names, mut places) = (Vec::new(), FxHashMap::default());
    let place = |name: &str| {
        let name = steady(name);
        if let Some(&place) = places.get(name.as_ref()) {
            return place;
        }
        let place = u32::try_from(names.len()).unwrap_or(u32::MAX);
        names.push(name.clone().into_owned());
        places.insert(name.into_owned(), place);
        place
    };
    let mut place = place;
    let of_function = series.profile.functions.iter().map(|function| place(&function.name)).collect();
    (names, of_function)
}

/// FNV-1a of the names, with an end mark behind each.
fn id<'a>(names: impl Iterator<Item = &'a str>) -> u64 {
    let bytes = names.flat_map(|name| name.bytes().chain([b'\n']));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::super::shop;
    use super::*;

    #[test]
    fn an_id_is_the_same_for_ever() {
        // Computed apart: FNV-1a 64 of "a\n" and of "a\nb\n".
        assert_eq!(id(["a"].into_iter()), 0x089b_dc07_b544_e7b2);
        assert_eq!(id([].into_iter()), 0xcbf2_9ce4_8422_2325);
        assert_ne!(id(["a", "b"].into_iter()), id(["ab"].into_iter()));
    }

    #[test]
    fn rows_of_a_life_hold_what_its_dumps_hold() {
        let series = shop::series(&[0, 1, 2]);
        let stacks = Stacks::of(&series);
        let mut sums = vec![0.0; series.dumps.len()];
        let mut seen = std::collections::BTreeSet::new();
        for stack in &stacks.stacks {
            assert!(seen.insert(stack.id));
            stack.moments(&series).iter().for_each(|(at, moment)| sums[*at] += moment.value.bytes);
        }
        for (dump, sum) in series.dumps.iter().zip(&sums) {
            assert!((dump.total.bytes - sum).abs() < 1.0, "{} {sum}", dump.total.bytes);
        }
        let own = |name: &str| {
            stacks.stacks.iter().any(|stack| stack.own.is_some_and(|own| stacks.names[own as usize] == name))
        };
        assert!(own("com.shop.Catalog.unpack"));
    }
}
