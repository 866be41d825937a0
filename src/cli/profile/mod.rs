//! Floor 1 of the CLI: a heap profile in memory, in pprof's nouns, and the parser that fills it.
//!
//! Pure: readers take `impl BufRead`, nothing here opens a file, knows a terminal or guesses a name.
//! Values are kept twice: as written in the dump (`Counts`) and unbiased (`Estimate`, what jeprof
//! shows), because only estimates may be added up over stacks and only counts can be checked.

pub(crate) mod filter;
pub(crate) mod heap_v2;
pub(crate) mod location;
pub(crate) mod mapping;
pub(crate) mod merge;
pub(crate) mod metadata;
pub(crate) mod sample;
pub(crate) mod series;
pub(crate) mod shape;
pub(crate) mod threads;
pub(crate) mod timestamp;
pub(crate) mod warnings;

use crate::wire::ages::live_bin_start;
use location::{Function, FunctionId, Location, LocationId};
use mapping::{Mapping, MappingId};
use metadata::Metadata;
use sample::{Estimate, Sample};
use shape::Metric;
use warnings::Warnings;

/// One thread that the dump's header names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Thread {
    /// jemalloc's number of the thread, from 0 in order of first sample.
    pub(crate) uid: u64,
    /// Its name, where the profiler knew one.
    pub(crate) name: Option<String>,
}

/// What a process had allocated and not freed at one instant, by call stack.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profile {
    /// Mean distance of samples in allocated bytes (`2^lg_prof_sample`); 0: nothing was sampled away.
    pub(crate) period_bytes: u64,
    /// One entry per stack that had a `t*` line.
    pub(crate) samples: Vec<Sample>,
    /// Every distinct code address; samples refer to it by index.
    pub(crate) locations: Vec<Location>,
    /// Names, filled by `symbolize`.
    pub(crate) functions: Vec<Function>,
    /// The executable mappings, sorted by start address.
    pub(crate) mappings: Vec<Mapping>,
    /// The threads of the header.
    pub(crate) threads: Vec<Thread>,
    /// What heaptap wrote after the mappings; empty for a stock dump.
    pub(crate) metadata: Metadata,
    /// What the samples' values are.
    pub(crate) metric: Metric,
    /// What was damaged or odd, with line numbers.
    pub(crate) warnings: Warnings,
    /// Readers want to see also the frames that only pass an allocation on.
    pub(crate) shows_glue: bool,
}

impl Profile {
    /// Sum of all samples.
    pub(crate) fn total(&self) -> Estimate {
        self.samples.iter().map(|sample| sample.value).sum()
    }

    /// Moves the ages of the metadata to the samples that they are of. Those of a file that lost a stack
    /// would go to the wrong ones.
    fn give_ages(&mut self) {
        let ages = std::mem::take(&mut self.metadata.ages);
        if self.metadata.aged_stacks.is_none_or(|stacks| stacks != self.samples.len()) {
            if !ages.is_empty() {
                self.warnings.push("the ages of objects are ignored: stacks are missing");
            }
            return;
        }
        let oldest = ages.iter().filter_map(|(_, ages)| ages.live.last()).map(|bin| bin.bin).max();
        self.metadata.oldest_ns = oldest.map(live_bin_start);
        for (number, ages) in ages {
            if let Some(sample) = self.samples.get_mut(number) {
                sample.ages = Some(Box::new(ages));
            }
        }
    }

    /// The location with this id. Ids come from this profile only, so the fallback is never seen.
    pub(crate) fn location(&self, id: LocationId) -> &Location {
        const NOWHERE: &Location = &Location { address: 0, mapping: None, lines: Vec::new() };
        self.locations.get(id.index()).unwrap_or(NOWHERE)
    }

    /// The mapping with this id.
    pub(crate) fn mapping(&self, id: MappingId) -> Option<&Mapping> {
        self.mappings.get(id.index())
    }

    /// The function with this id.
    pub(crate) fn function(&self, id: FunctionId) -> Option<&Function> {
        self.functions.get(id.index())
    }

    /// Path of the program that ran: from our metadata, else the first mapped file that is no library.
    pub(crate) fn program(&self) -> Option<&str> {
        self.metadata.exe.as_deref().or_else(|| self.program_mapping().map(|mapping| mapping.path.as_str()))
    }

    /// The mapping of the program's code: never moves, so it tells one life of a pid from the next.
    pub(crate) fn program_mapping(&self) -> Option<&Mapping> {
        self.mappings.iter().find(|mapping| mapping.is_file() && !mapping.is_library())
    }
}
