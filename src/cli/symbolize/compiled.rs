//! Names of code without a file: what a runtime compiled, from a pack or from its perf-map.

use super::perf_map::PerfMap;
use super::recorded::Frames;
use super::{FunctionTable, Module, Options, Source};
use crate::cli::profile::Profile;
use crate::cli::profile::location::LocationId;

/// How the code that has no file is called where files are listed.
const PATH: &str = "compiled code";

/// Names what it can; `None` if nothing needs it, or nothing knows it.
pub(super) fn name(profile: &mut Profile, table: &mut FunctionTable, options: &Options) -> Option<Module> {
    let places = places(profile);
    if places.is_empty() {
        return None;
    }
    let (names, source, warning) = from_pack(&places, options).or_else(|| from_perf_map(profile, &places, options))?;
    let named = names.len();
    for (id, frames) in names {
        table.set(profile, id, frames);
    }
    Some(Module { path: PATH.to_owned(), build_id: None, places: places.len(), named, source, warning })
}

/// Places that no name was found for and that lie in no file.
fn places(profile: &Profile) -> Vec<(LocationId, u64)> {
    let locations = profile.locations.iter().enumerate().filter(|(_, location)| location.lines.is_empty());
    let is_file = |id| profile.mapping(id).is_none_or(|mapping| mapping.is_file());
    let without = locations.filter(|(_, location)| location.mapping.is_some_and(|id| !is_file(id)));
    without.map(|(index, location)| (LocationId(u32::try_from(index).unwrap_or(u32::MAX)), location.address)).collect()
}

type Answer = (Vec<(LocationId, Frames)>, Source, Option<String>);

fn from_pack(places: &[(LocationId, u64)], options: &Options) -> Option<Answer> {
    let recorded = options.recorded.module("", None)?;
    let found = |(id, address): &(LocationId, u64)| Some((*id, recorded.places.get(address)?.clone()));
    let source = Source::Recorded("compiled code".to_owned());
    Some((places.iter().filter_map(found).collect(), source, None))
}

fn from_perf_map(profile: &Profile, places: &[(LocationId, u64)], options: &Options) -> Option<Answer> {
    let map = PerfMap::open(&options.perf_maps)?;
    let is_jvm = profile.mappings.iter().any(|mapping| mapping.file_name() == "libjvm.so");
    let found = |(id, address): &(LocationId, u64)| Some((*id, vec![(map.function(*address, is_jvm)?, 0)]));
    let names = places.iter().filter_map(found).collect();
    Some((names, Source::PerfMap(map.path.clone()), map.suspicion(options.written)))
}
