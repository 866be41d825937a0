//! Java names, as the tap read them when it took the samples.

use super::function_table::FunctionTable;
use super::module::{Module, Source};
use crate::cli::profile::Profile;
use crate::cli::profile::location::{Function, LocationId, Origin};
use crate::cli::profile::metadata::JavaName;
use rustc_hash::FxHashMap;

/// Names the locations whose fake pc the metadata lists; `None` if it lists none.
pub(super) fn name(profile: &mut Profile, table: &mut FunctionTable) -> Option<Module> {
    if profile.metadata.java.is_empty() {
        return None;
    }
    let by_pc: FxHashMap<u64, (String, u32)> =
        profile.metadata.java.iter().map(|name| (name.pc, (full_name(name), name.line))).collect();
    let mut places = 0;
    for index in 0..profile.locations.len() {
        let Some(address) = profile.locations.get(index).map(|location| location.address) else { break };
        // A caller's address was lowered by one; a leaf's was not.
        let Some((name, line)) = by_pc.get(&address.wrapping_add(1)).or_else(|| by_pc.get(&address)) else { continue };
        let function = Function { name: name.clone(), origin: Origin::Java, ..Function::default() };
        table.set(profile, LocationId(u32::try_from(index).unwrap_or(u32::MAX)), vec![(function, *line)]);
        places += 1;
    }
    let path = "Java methods".to_owned();
    Some(Module { path, build_id: None, places, named: places, source: Source::Metadata, warning: None })
}

/// `java.util.zip.Inflater.<init>`; what is no method (`[compiling]`) has no class.
fn full_name(name: &JavaName) -> String {
    match name.class.as_str() {
        "" | "-" => name.method.clone(),
        class => format!("{class}.{}", name.method),
    }
}
