//! Names of functions, each once, with what they are coloured and grouped by.

use crate::cli::analyze::groups::{By, key};
use crate::cli::inert::clean;
use crate::cli::profile::location::{Function, Origin};
use rustc_hash::FxHashMap;
use serde::Serialize;

/// Words of which each has a number; 0 is none.
#[derive(Default)]
struct Words {
    words: Vec<String>,
    ids: FxHashMap<String, u32>,
}

impl Words {
    fn new() -> Words {
        let mut words = Words::default();
        words.id("");
        words
    }

    fn id(&mut self, word: &str) -> u32 {
        if let Some(id) = self.ids.get(word) {
            return *id;
        }
        let id = self.words.len() as u32;
        self.words.push(clean(word));
        self.ids.insert(word.to_owned(), id);
        id
    }
}

/// What the script reads of names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Names {
    /// Of functions; 0 is the root's.
    names: Vec<String>,
    /// Of names: index in `kinds`.
    kind: Vec<u32>,
    /// Libraries, `java`, or nothing.
    kinds: Vec<String>,
    /// Of names: index in `classes`.
    class: Vec<u32>,
    /// Java classes and C++ scopes, or nothing.
    classes: Vec<String>,
    /// Of classes: index in `packages`.
    package: Vec<u32>,
    /// Java packages, or nothing.
    packages: Vec<String>,
}

/// Collects them.
pub(super) struct Collector {
    told: Names,
    ids: FxHashMap<(String, u32), u32>,
    kinds: Words,
    classes: Words,
    packages: Words,
}

impl Collector {
    pub(super) fn new() -> Collector {
        let told = Names {
            names: vec!["all".to_owned()],
            kind: vec![0],
            kinds: Vec::new(),
            class: vec![0],
            classes: Vec::new(),
            package: vec![0],
            packages: Vec::new(),
        };
        let (kinds, classes, packages) = (Words::new(), Words::new(), Words::new());
        Collector { told, ids: FxHashMap::default(), kinds, classes, packages }
    }

    /// The number of a function's name.
    pub(super) fn id(&mut self, function: &Function) -> u32 {
        let kind = if function.origin == Origin::Java { "java" } else { function.library.as_str() };
        let kind = self.kinds.id(kind);
        let name = (function.name.clone(), kind);
        if let Some(id) = self.ids.get(&name) {
            return *id;
        }
        let class = self.classes.id(&key(function, By::Class).unwrap_or_default());
        if class as usize == self.told.package.len() {
            let package = self.packages.id(&key(function, By::Package).unwrap_or_default());
            self.told.package.push(package);
        }
        let id = self.told.names.len() as u32;
        self.told.names.push(clean(&function.name));
        self.told.kind.push(kind);
        self.told.class.push(class);
        self.ids.insert(name, id);
        id
    }

    pub(super) fn finish(self) -> Names {
        let (kinds, classes, packages) = (self.kinds.words, self.classes.words, self.packages.words);
        Names { kinds, classes, packages, ..self.told }
    }
}
