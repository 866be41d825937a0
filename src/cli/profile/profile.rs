//! A heap profile: samples, the places and files that they speak of, and what else a dump tells.

use super::history::{History, Past, Refusal};
use super::location::{Function, FunctionId, Location, LocationId};
use super::mapped_stack::MappedStack;
use super::mapping::{Mapping, MappingId};
use super::metadata::Metadata;
use super::metric::Metric;
use super::sample::{Estimate, Sample};
use super::thread::Thread;
use super::warnings::Warnings;

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
    /// What the process and its stacks were before.
    pub(crate) history: History,
    /// What the program asked for first and did not get.
    pub(crate) failures: Vec<Refusal>,
    /// Memory that is not malloc's.
    pub(crate) mapped: Vec<MappedStack>,
    /// What the samples' values are.
    pub(crate) metric: Metric,
    /// What was damaged or odd, with line numbers.
    pub(crate) warnings: Warnings,
    /// Readers want to see also the frames that only pass an allocation on.
    pub(crate) shows_glue: bool,
    /// What readers say is their own code: beginnings of names.
    pub(crate) own: Vec<String>,
}

impl Profile {
    /// Sum of all samples.
    pub(crate) fn total(&self) -> Estimate {
        self.samples.iter().map(|sample| sample.value).sum()
    }

    /// At each look of the history, what stacks hold now that had not been seen then.
    pub(crate) fn new_bytes(&self) -> Vec<f64> {
        let mut new = vec![0.0; self.history.other.len()];
        for sample in &self.samples {
            for (look, sum) in new.iter_mut().enumerate() {
                if sample.past.get(look).is_none_or(Past::is_new) {
                    *sum += sample.value.bytes;
                }
            }
        }
        new
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

    /// Whether the process was a Java VM.
    pub(crate) fn is_jvm(&self) -> bool {
        self.mappings.iter().any(|mapping| mapping.file_name() == "libjvm.so")
    }

    /// Path of the program that ran: from our metadata, else the first mapped file that is no library.
    pub(crate) fn program(&self) -> Option<&str> {
        self.metadata.exe.as_deref().or_else(|| self.program_mapping().map(|mapping| mapping.path.as_str()))
    }

    /// What the process was called: its main class, jar or script with the program's name, else the program's name.
    pub(crate) fn title(&self) -> Option<&str> {
        self.metadata.title.as_deref().or_else(|| self.program()?.rsplit('/').next())
    }

    /// The mapping of the program's code: never moves, so it tells one life of a pid from the next.
    pub(crate) fn program_mapping(&self) -> Option<&Mapping> {
        self.mappings.iter().find(|mapping| mapping.is_file() && !mapping.is_library())
    }
}
