//! One function from close by: who calls it, and what it calls, with the bytes that go that way.
//!
//! A stack counts once for a function, for each of its callers and for each of its callees, however
//! often recursion passes there. So callers may sum up to more than the function where it recurs.

use super::frames::Kinds;
use crate::cli::profile::location::FunctionId;
use crate::cli::profile::series::Series;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Callers {
    /// Version of this form: fields may be added, none changes its meaning.
    pub(crate) schema: u32,
    /// All live bytes of the profile.
    pub(crate) bytes: f64,
    /// Functions whose names match, most bytes first.
    pub(crate) functions: Vec<Around>,
}

/// One function and its neighbours.
#[derive(Debug, Serialize)]
pub(crate) struct Around {
    /// Its name.
    pub(crate) name: String,
    /// File name of its library.
    pub(crate) library: String,
    /// Live bytes of the stacks through it.
    pub(crate) bytes: f64,
    /// Number of those stacks.
    pub(crate) stacks: usize,
    /// Who calls it, most bytes first.
    pub(crate) callers: Vec<Edge>,
    /// What it calls; what it allocates itself has no name.
    pub(crate) callees: Vec<Edge>,
}

/// A neighbour.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Edge {
    /// Its name; `None`: the end of the stack.
    pub(crate) name: Option<String>,
    /// Live bytes that go that way.
    pub(crate) bytes: f64,
}

/// Sums for one function.
#[derive(Default)]
struct Sums {
    bytes: f64,
    stacks: usize,
    callers: FxHashMap<Option<FunctionId>, f64>,
    callees: FxHashMap<Option<FunctionId>, f64>,
}

impl Callers {
    /// Looks at all functions whose name is `text`, or if there is none, contains it in whatever case.
    pub(crate) fn of(series: &Series, text: &str) -> Callers {
        let wanted = wanted(series, text);
        let kinds = Kinds::of(&series.profile);
        let mut found: FxHashMap<FunctionId, Sums> = FxHashMap::default();
        let mut frames = Vec::new();
        let mut counted: FxHashSet<(FunctionId, u8, Option<FunctionId>)> = FxHashSet::default();
        for sample in &series.profile.samples {
            kinds.visible_until(&series.profile, sample, |_, _| false, &mut frames);
            counted.clear();
            for (at, line) in frames.iter().enumerate().filter(|(_, line)| wanted.contains(&line.function)) {
                let neighbour = |at: Option<usize>| at.and_then(|at| frames.get(at)).map(|line| line.function);
                let (caller, callee) = (neighbour(Some(at + 1)), neighbour(at.checked_sub(1)));
                let (id, bytes) = (line.function, sample.value.bytes);
                let sums = found.entry(id).or_default();
                if counted.insert((id, 0, None)) {
                    sums.bytes += bytes;
                    sums.stacks += 1;
                }
                if counted.insert((id, 1, caller)) {
                    *sums.callers.entry(caller).or_default() += bytes;
                }
                if counted.insert((id, 2, callee)) {
                    *sums.callees.entry(callee).or_default() += bytes;
                }
            }
        }
        let mut functions: Vec<Around> = found.into_iter().map(|(id, sums)| around(series, id, sums)).collect();
        functions.sort_by(|a, b| b.bytes.total_cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        Callers { schema: 1, bytes: series.profile.total().bytes, functions }
    }
}

fn wanted(series: &Series, text: &str) -> FxHashSet<FunctionId> {
    let low = text.to_lowercase();
    let ids = |is_wanted: &dyn Fn(&str) -> bool| -> FxHashSet<FunctionId> {
        let functions = series.profile.functions.iter().enumerate();
        let hits = functions.filter(|(_, function)| is_wanted(&function.name));
        hits.map(|(index, _)| FunctionId(u32::try_from(index).unwrap_or(u32::MAX))).collect()
    };
    let exact = ids(&|name| name == text);
    if exact.is_empty() { ids(&|name| name.to_lowercase().contains(&low)) } else { exact }
}

fn around(series: &Series, id: FunctionId, sums: Sums) -> Around {
    let name = |id: FunctionId| series.profile.function(id).map_or_else(String::new, |function| function.name.clone());
    let edges = |map: FxHashMap<Option<FunctionId>, f64>| {
        let mut edges: Vec<Edge> = map.into_iter().map(|(id, bytes)| Edge { name: id.map(name), bytes }).collect();
        edges.sort_by(|a, b| b.bytes.total_cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        edges
    };
    let library = series.profile.function(id).map_or_else(String::new, |function| function.library.clone());
    Around {
        name: name(id),
        library,
        bytes: sums.bytes,
        stacks: sums.stacks,
        callers: edges(sums.callers),
        callees: edges(sums.callees),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::Profile;
    use crate::cli::profile::location::{Function, Line, Location, LocationId};
    use crate::cli::profile::sample::{Estimate, Sample};

    /// `leaf` called by `a` (10 bytes), by `b` (5), and by itself below `a` (1).
    fn series() -> Series {
        let names = ["leaf", "a", "b", "main"];
        let functions = names.map(|name| Function { name: name.into(), ..Function::default() }).to_vec();
        let line = |id| vec![Line { function: FunctionId(id), line: 0 }];
        let locations = (0..4).map(|id| Location { lines: line(id), ..Location::default() }).collect();
        let sample = |stack: &[u32], bytes| Sample {
            stack: stack.iter().map(|&id| LocationId(id)).collect(),
            value: Estimate { bytes, ..Estimate::default() },
            ..Sample::default()
        };
        let samples = vec![sample(&[0, 1, 3], 10.0), sample(&[0, 2, 3], 5.0), sample(&[0, 0, 1, 3], 1.0)];
        Series { profile: Profile { functions, locations, samples, ..Profile::default() }, ..Series::default() }
    }

    fn edge(name: Option<&str>, bytes: f64) -> Edge {
        Edge { name: name.map(str::to_owned), bytes }
    }

    #[test]
    fn edges_hold_what_goes_their_way_and_recursion_counts_once() {
        let found = Callers::of(&series(), "leaf");
        let leaf = &found.functions[0];
        assert_eq!((leaf.bytes, leaf.stacks), (16.0, 3));
        assert_eq!(leaf.callers, [edge(Some("a"), 11.0), edge(Some("b"), 5.0), edge(Some("leaf"), 1.0)]);
        assert_eq!(leaf.callees, [edge(None, 16.0), edge(Some("leaf"), 1.0)]);
    }

    #[test]
    fn an_exact_name_wins_and_parts_match_in_any_case() {
        assert_eq!(Callers::of(&series(), "a").functions.len(), 1);
        assert_eq!(Callers::of(&series(), "EA").functions[0].name, "leaf");
        assert_eq!(Callers::of(&series(), "MAIN").functions[0].callers, [edge(None, 16.0)]);
        assert!(Callers::of(&series(), "none").functions.is_empty());
    }
}
