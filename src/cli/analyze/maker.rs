//! Which Java object's constructor allocated, and who called that: what a place far from the allocation does not say.
//!
//!     rocksdb::lru_cache::LRUCache::LRUCache         native code of a library
//!     org.rocksdb.ColumnFamilyOptions.<init>         the object that is to be closed: the nearest constructor
//!     org.apache….RocksDBStore.createOffsetsCFOptions     who made it: the first frame that is no constructor
//!
//! A place's stacks may come through several constructors; the one of nearly all its bytes is told, or none. Pure.

use super::groups::Group;
use crate::cli::profile::Profile;
use crate::cli::profile::location::{Function, Origin};
use rustc_hash::FxHashMap;
use serde::Serialize;

/// Java frames from the allocation on that may stand before the constructor's.
const BEFORE: usize = 3;
/// The part of a place's bytes that must come through it.
const MOST: f64 = 0.9;
/// The end of a constructor's name.
const CONSTRUCTOR: &str = ".<init>";

/// A constructor that allocates.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub(crate) struct Maker {
    /// The class whose it is.
    pub(crate) class: String,
    /// The method that made the object.
    pub(crate) by: Option<String>,
}

impl Maker {
    /// Of a place; `None`: no constructor, or several.
    pub(crate) fn of(group: &Group, profile: &Profile) -> Option<Maker> {
        let mut bytes: FxHashMap<Option<Maker>, f64> = FxHashMap::default();
        for sample in group.track.members.iter().filter_map(|member| profile.samples.get(*member as usize)) {
            let lines = sample.stack.iter().flat_map(|id| &profile.location(*id).lines);
            let maker = Maker::of_frames(lines.filter_map(|line| profile.function(line.function)));
            *bytes.entry(maker).or_default() += sample.value.bytes;
        }
        let all: f64 = bytes.values().sum();
        bytes.into_iter().find(|(_, its)| all > 0.0 && *its >= MOST * all)?.0
    }

    /// Of frames, leaf first.
    fn of_frames<'a>(frames: impl Iterator<Item = &'a Function>) -> Option<Maker> {
        let mut java = frames.skip_while(|function| function.origin != Origin::Java);
        let is_constructor = |function: &&Function| function.name.ends_with(CONSTRUCTOR);
        let first = java.by_ref().take(BEFORE + 1).find(is_constructor)?;
        let by = java.find(|function| function.origin == Origin::Java && !is_constructor(function));
        let class = first.name.strip_suffix(CONSTRUCTOR)?.to_owned();
        Some(Maker { class, by: by.map(|function| function.name.clone()) })
    }

    /// Whether a frame of that name is the constructor.
    pub(crate) fn is_of(&self, name: &str) -> bool {
        name.strip_suffix(CONSTRUCTOR) == Some(&self.class)
    }

    /// In words.
    pub(crate) fn words(&self) -> String {
        match &self.by {
            Some(by) => format!("the constructor of {} allocates it, called by {by}", self.class),
            None => format!("the constructor of {} allocates it", self.class),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Option<(String, Option<String>)> {
        let origin = |name: &str| if name.contains("::") { Origin::Native } else { Origin::Java };
        let function = |name: &&str| Function { name: (*name).into(), origin: origin(name), ..Function::default() };
        let functions: Vec<Function> = names.iter().map(function).collect();
        Maker::of_frames(functions.iter()).map(|maker| (maker.class, maker.by))
    }

    #[test]
    fn the_nearest_constructor_is_the_objects_and_who_called_it_is_no_constructor() {
        let store = "org.apache.kafka.RocksDBStore";
        let open = format!("{store}.openDB");
        let options =
            ["rocksdb::X::X", "org.rocksdb.Options.newOptions", "org.rocksdb.Options.<init>", "acme.Sub.<init>", &open];
        assert_eq!(of(&options), Some(("org.rocksdb.Options".to_owned(), Some(open.clone()))));
        assert_eq!(of(&["rocksdb::Get", "org.rocksdb.RocksDB.get", &open]), None);
        assert_eq!(of(&["a::b", "acme.A.a", "acme.A.b", "acme.A.c", "acme.A.d", "acme.Main.<init>"]), None);
        assert_eq!(of(&["a::b", "acme.Main.<init>"]), Some(("acme.Main".to_owned(), None)));
        assert_eq!(of(&["a::b", "c::d"]), None);
    }
}
