//! Adds profiles up: samples with the same stack become one, everything is renumbered.
//!
//! Before names are known, two addresses are the same place if they are equal *and* lie in the same
//! mapping: right for the dumps of one process life, whose Java pcs mean the same everywhere. Once
//! named, places are the same if their names are, whatever their addresses: right for profiles of
//! different processes. Only estimates are exact sums; counts are added for show.

use super::history::{History, Refusal};
use super::location::{Function, FunctionId, Line, Location, LocationId};
use super::mapped_stack::MappedStack;
use super::mapping::{Mapping, MappingId};
use super::sample::Sample;
use super::{Profile, metadata::Metadata};
use rustc_hash::FxHashMap;

/// What makes two locations the same.
#[derive(PartialEq, Eq, Hash)]
enum Place {
    Address(u64, Option<MappingId>),
    Names(Vec<Line>),
}

/// A profile that others are added to.
#[derive(Default)]
pub(crate) struct Merger {
    profile: Profile,
    mappings: FxHashMap<Mapping, MappingId>,
    functions: FxHashMap<Function, FunctionId>,
    locations: FxHashMap<Place, LocationId>,
    stacks: FxHashMap<Box<[LocationId]>, usize>,
    /// Profiles that were added, and whether they tell of the same times.
    added: usize,
    is_of_other_times: bool,
}

impl Merger {
    /// Adds `other`; returns for each of its samples where it went.
    pub(crate) fn add(&mut self, other: &Profile) -> Vec<usize> {
        let places = self.place(other);
        if self.added == 0 {
            self.profile.history = other.history.clone();
        } else {
            self.is_of_other_times |= !self.profile.history.add(&other.history);
        }
        self.added += 1;
        for (sample, &place) in other.samples.iter().zip(&places) {
            self.sample_mut(place).into_iter().for_each(|sum| sum.add(sample));
        }
        places
    }

    /// Makes room for the stacks of `other` without adding its values; returns where each went.
    pub(crate) fn place(&mut self, other: &Profile) -> Vec<usize> {
        let mappings: Vec<MappingId> = other.mappings.iter().map(|mapping| self.mapping(mapping)).collect();
        let functions: Vec<FunctionId> = other.functions.iter().map(|function| self.function(function)).collect();
        let locations: Vec<LocationId> =
            other.locations.iter().map(|location| self.location(location, &mappings, &functions)).collect();
        self.profile.period_bytes = self.profile.period_bytes.max(other.period_bytes);
        self.profile.metric = other.metric;
        if !other.failures.is_empty() {
            // Those of a life grow in number: the last dump has them all.
            let failures = other.failures.iter().map(|refusal| {
                let stack = refusal.stack.iter().filter_map(|id| locations.get(id.index()).copied()).collect();
                Refusal { stack, ..refusal.clone() }
            });
            self.profile.failures = failures.collect();
        }
        if !other.mapped.is_empty() {
            // What is mapped now: that of the last dump.
            let mapped = other.mapped.iter().map(|mapped| {
                let stack = mapped.stack.iter().filter_map(|id| locations.get(id.index()).copied()).collect();
                MappedStack { stack, ..mapped.clone() }
            });
            self.profile.mapped = mapped.collect();
        }
        self.add_threads(other);
        self.add_java(&other.metadata);
        other.samples.iter().map(|sample| self.stack(sample, &locations)).collect()
    }

    /// The sum. Its mappings are in order of arrival, not of address; its locations know theirs.
    pub(crate) fn finish(mut self) -> Profile {
        if self.is_of_other_times {
            self.profile.history = History::default();
            self.profile.samples.iter_mut().for_each(|sample| sample.past = Box::default());
        }
        self.profile
    }

    /// A mapping that grew is the same: code caches do, and the side-car of Java names does with every new method.
    fn mapping(&mut self, mapping: &Mapping) -> MappingId {
        let without_end = Mapping { end: 0, ..mapping.clone() };
        if let Some(&id) = self.mappings.get(&without_end) {
            self.profile.mappings.get_mut(id.index()).into_iter().for_each(|own| own.end = own.end.max(mapping.end));
            return id;
        }
        let id = MappingId(u32::try_from(self.profile.mappings.len()).unwrap_or(u32::MAX));
        self.profile.mappings.push(mapping.clone());
        self.mappings.insert(without_end, id);
        id
    }

    fn function(&mut self, function: &Function) -> FunctionId {
        if let Some(&id) = self.functions.get(function) {
            return id;
        }
        let id = FunctionId(u32::try_from(self.profile.functions.len()).unwrap_or(u32::MAX));
        self.profile.functions.push(function.clone());
        self.functions.insert(function.clone(), id);
        id
    }

    fn location(&mut self, location: &Location, mappings: &[MappingId], functions: &[FunctionId]) -> LocationId {
        let mapping = location.mapping.and_then(|id| mappings.get(id.index()).copied());
        let line = |line: &Line| Some(Line { function: *functions.get(line.function.index())?, line: line.line });
        let lines: Vec<Line> = location.lines.iter().filter_map(line).collect();
        let place =
            if lines.is_empty() { Place::Address(location.address, mapping) } else { Place::Names(lines.clone()) };
        let locations = &mut self.profile.locations;
        *self.locations.entry(place).or_insert_with(|| {
            locations.push(Location { address: location.address, mapping, lines });
            LocationId(u32::try_from(locations.len() - 1).unwrap_or(u32::MAX))
        })
    }

    fn stack(&mut self, sample: &Sample, locations: &[LocationId]) -> usize {
        let stack: Box<[LocationId]> =
            sample.stack.iter().filter_map(|id| locations.get(id.index()).copied()).collect();
        if let Some(&index) = self.stacks.get(&stack) {
            return index;
        }
        let index = self.profile.samples.len();
        self.stacks.insert(stack.clone(), index);
        self.profile.samples.push(Sample { stack, ..Sample::default() });
        index
    }

    /// Sets the history that the sum tells.
    pub(crate) fn tell(&mut self, history: History) {
        self.profile.history = history;
    }

    /// The sample at a place, to set its values.
    pub(crate) fn sample_mut(&mut self, place: usize) -> Option<&mut Sample> {
        self.profile.samples.get_mut(place)
    }

    /// All samples, to set their values.
    pub(crate) fn samples_mut(&mut self) -> &mut [Sample] {
        &mut self.profile.samples
    }

    fn add_threads(&mut self, other: &Profile) {
        for thread in &other.threads {
            // A number may be given to another thread; its frames go by the name (see `threads`).
            if !self.profile.threads.contains(thread) {
                self.profile.threads.push(thread.clone());
            }
        }
    }

    /// Java names belong to fake pcs, which are never used twice within a life.
    fn add_java(&mut self, other: &Metadata) {
        let known: std::collections::HashSet<u64> = self.profile.metadata.java.iter().map(|name| name.pc).collect();
        let new = other.java.iter().filter(|name| !known.contains(&name.pc)).cloned();
        self.profile.metadata.java.extend(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::heap_v2;

    const SMALL: &str = include_str!("../../../tests/dumps/small.heap");

    #[test]
    fn totals_are_conserved_and_equal_stacks_join() {
        let profile = heap_v2::parse(SMALL.as_bytes()).unwrap();
        let mut merger = Merger::default();
        let first = merger.add(&profile);
        assert_eq!(first, merger.add(&profile));
        let sum = merger.finish();
        assert_eq!(sum.samples.len(), profile.samples.len());
        assert_eq!(sum.locations.len(), profile.locations.len());
        assert!((sum.total().bytes - 2.0 * profile.total().bytes).abs() < 1e-6);
        assert_eq!(sum.samples[0].threads[0].counts.objects, 2 * 78);
    }

    #[test]
    fn a_mapping_that_grew_is_the_same_place() {
        let profile = heap_v2::parse(SMALL.as_bytes()).unwrap();
        let mut grown = profile.clone();
        grown.mappings.iter_mut().for_each(|mapping| mapping.end += 4096);
        let mut merger = Merger::default();
        merger.add(&profile);
        merger.add(&grown);
        let sum = merger.finish();
        assert_eq!((sum.samples.len(), sum.mappings.len()), (profile.samples.len(), profile.mappings.len()));
        assert_eq!(sum.mappings[0].end, grown.mappings[0].end);
    }

    #[test]
    fn another_life_at_other_addresses_stays_apart() {
        let profile = heap_v2::parse(SMALL.as_bytes()).unwrap();
        let moved = heap_v2::parse(SMALL.replace("556322", "556399").as_bytes()).unwrap();
        let mut merger = Merger::default();
        merger.add(&profile);
        merger.add(&moved);
        // Two stacks go through the program, two do not.
        assert_eq!(merger.finish().samples.len(), 6);
    }

    #[test]
    fn named_places_join_by_name_wherever_they_lie() {
        let mut profile = heap_v2::parse(SMALL.as_bytes()).unwrap();
        let mut moved = heap_v2::parse(SMALL.replace("556322", "556399").as_bytes()).unwrap();
        for (profile, first) in [(&mut profile, "unused"), (&mut moved, "other")] {
            profile.functions =
                [first, "work"].map(|name| Function { name: name.into(), ..Function::default() }).into();
            let line = Line { function: FunctionId(1), line: 0 };
            profile.locations.iter_mut().for_each(|location| location.lines = vec![line]);
        }
        let mut merger = Merger::default();
        merger.add(&profile);
        merger.add(&moved);
        let sum = merger.finish();
        // Eight, five and no frames of the same name; the two longest are one stack now.
        assert_eq!((sum.samples.len(), sum.functions.len(), sum.locations.len()), (3, 3, 1));
        assert!((sum.total().bytes - profile.total().bytes - moved.total().bytes).abs() < 1e-6);
    }
}
