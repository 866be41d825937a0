//! The functions of a profile while it is given its names.

use crate::cli::profile::Profile;
use crate::cli::profile::location::{Function, FunctionId, Line, LocationId};
use rustc_hash::FxHashMap;

/// Functions, each once.
#[derive(Default)]
pub(super) struct FunctionTable {
    pub(super) functions: Vec<Function>,
    ids: FxHashMap<Function, FunctionId>,
}

impl FunctionTable {
    /// The number of a function, a new one if it was not there.
    pub(super) fn id(&mut self, function: Function) -> FunctionId {
        let functions = &mut self.functions;
        *self.ids.entry(function).or_insert_with_key(|function| {
            functions.push(function.clone());
            FunctionId(u32::try_from(functions.len() - 1).unwrap_or(u32::MAX))
        })
    }

    /// Names a place.
    pub(super) fn set(&mut self, profile: &mut Profile, id: LocationId, lines: Vec<(Function, u32)>) {
        let lines = lines.into_iter().map(|(function, line)| Line { function: self.id(function), line }).collect();
        if let Some(location) = profile.locations.get_mut(id.index()) {
            location.lines = lines;
        }
    }
}
