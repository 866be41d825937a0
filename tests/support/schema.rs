//! Holds an answer in JSON against the page that promises its form, `src/cli/JSON.md`.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The sections of the page: per object, its fields and their types.
pub(crate) struct Schema {
    sections: BTreeMap<String, BTreeMap<String, String>>,
    /// Sections that some answer was held against.
    pub(crate) seen: BTreeSet<String>,
}

impl Schema {
    /// Reads the page.
    pub(crate) fn read() -> Schema {
        let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/JSON.md")).unwrap();
        let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let mut section = String::new();
        for line in page.lines() {
            if let Some(name) = line.strip_prefix("## ") {
                name.clone_into(&mut section);
            }
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let is_field = !section.is_empty() && line.starts_with('|') && !["field", "---"].contains(&cells[0]);
            if is_field {
                sections.entry(section.clone()).or_default().insert(cells[0].to_owned(), cells[1].to_owned());
            }
        }
        assert!(sections.len() > 10);
        Schema { sections, seen: BTreeSet::new() }
    }

    /// The sections that no answer was held against.
    pub(crate) fn unseen(&self) -> Vec<&String> {
        self.sections.keys().filter(|name| !self.seen.contains(*name)).collect()
    }

    /// Fails unless the value has exactly the fields of that section, of the types that it says, all the way down.
    pub(crate) fn check(&mut self, section: &str, value: &Value) {
        let fields = self.sections.get(section).unwrap_or_else(|| panic!("no section {section}")).clone();
        self.seen.insert(section.to_owned());
        let object = value.as_object().unwrap_or_else(|| panic!("{section} is no object: {value}"));
        let (there, told): (BTreeSet<&String>, BTreeSet<&String>) = (object.keys().collect(), fields.keys().collect());
        assert_eq!(there, told, "fields of {section}: there, and on the page");
        for (name, kind) in &fields {
            self.check_type(&format!("{section}.{name}"), kind, &object[name]);
        }
    }

    fn check_type(&mut self, place: &str, kind: &str, value: &Value) {
        if let Some(kind) = kind.strip_suffix('?') {
            if !value.is_null() {
                self.check_type(place, kind, value);
            }
            return;
        }
        if let Some(kind) = kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']')) {
            let list = value.as_array().unwrap_or_else(|| panic!("{place} is no list: {value}"));
            list.iter().for_each(|value| self.check_type(place, kind, value));
            return;
        }
        let is_right = match kind {
            "number" => value.is_number(),
            "string" => value.is_string(),
            "bool" => value.is_boolean(),
            "pair" => value.as_array().is_some_and(|pair| pair.len() == 2),
            words if words.starts_with('`') => {
                value.as_str().is_some_and(|word| words.split(", ").any(|known| known.trim_matches('`') == word))
            }
            section => {
                self.check(section, value);
                true
            }
        };
        assert!(is_right, "{place} is no {kind}: {value}");
    }
}
