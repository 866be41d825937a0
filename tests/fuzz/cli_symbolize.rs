//! Names that came as text: a pack's, and a runtime's perf-map.

#[path = "../../src/cli/symbolize/names.rs"]
pub(crate) mod names;
#[path = "../../src/cli/symbolize/options.rs"]
pub(crate) mod options;
#[path = "../../src/cli/symbolize/perf_map.rs"]
mod perf_map;
#[path = "../../src/cli/symbolize/recorded.rs"]
pub(crate) mod recorded;

/// What `options` hands on.
pub(crate) mod known {
    #[derive(Debug, Default)]
    pub(crate) struct Known;
}

/// What `recorded` reads of a symbolised file.
pub(crate) mod module {
    pub(crate) struct Module {
        pub(crate) path: String,
        pub(crate) build_id: Option<String>,
        pub(crate) source: &'static str,
    }
}

/// Looks addresses up in a perf-map, as its user has named it.
pub(crate) fn functions_of(path: &std::path::Path, addresses: &[u64]) {
    let options = options::Options { perf_map: Some(path.to_owned()), ..options::Options::default() };
    let Ok(Some(map)) = perf_map::PerfMap::open(&options) else { return };
    for (number, address) in addresses.iter().enumerate() {
        let named = map.function(*address, number % 2 == 0);
        assert!(named.is_none_or(|function| !function.name.is_empty()), "a function without a name");
    }
    let _ = map.suspicion(map.modified);
}
