//! Names of code without a file: what a runtime compiled, from a pack or from its perf-map.

use super::function_table::FunctionTable;
use super::module::{Module, Source};
use super::options::Options;
use super::perf_map::PerfMap;
use super::recorded::Frames;
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
    let found =
        from_pack(&places, options).map_or_else(|| from_perf_map(profile, &places, options), |found| Ok(Some(found)));
    let (names, source, warning) = match found {
        Ok(found) => found?,
        Err(why) => (Vec::new(), Source::Nothing(why.clone()), Some(why)),
    };
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

fn from_perf_map(profile: &Profile, places: &[(LocationId, u64)], options: &Options) -> Result<Option<Answer>, String> {
    let Some(map) = PerfMap::open(options)? else { return Ok(None) };
    let is_jvm = profile.mappings.iter().any(|mapping| mapping.file_name() == "libjvm.so");
    let found = |(id, address): &(LocationId, u64)| Some((*id, vec![(map.function(*address, is_jvm)?, 0)]));
    let names = places.iter().filter_map(found).collect();
    Ok(Some((names, Source::PerfMap(map.path.clone()), map.suspicion(options.written))))
}
