//! Names of files that were found once, for who names the profiles of many processes: they have mapped the same files,
//! and to look into a libjvm.so for each takes seconds.
//!
//! A file is known by its path, its build id and whose files were believed; one without a build id may be another each
//! time, and is never known.

use super::mapped_file::{MappedFile, Place};
use super::module::{Module, Source};
use super::recorded::Frames;
use crate::cli::open::Owners;
use crate::cli::profile::location::LocationId;
use rustc_hash::FxHashMap;
use std::cell::RefCell;

/// What was found so far. `None` at an offset: there is no name.
#[derive(Debug, Default)]
pub(crate) struct Known {
    files: RefCell<FxHashMap<Key, FxHashMap<u64, Option<Frames>>>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    path: String,
    build_id: String,
    is_deleted: bool,
    owners: Owners,
    /// What a running process has mapped is looked for in its own world.
    running: Option<u32>,
}

/// What became of a file, and the functions at its places.
type Found = (Module, Vec<(LocationId, Frames)>);

impl Known {
    /// Places that are remembered.
    pub(crate) fn places(&self) -> usize {
        self.files.borrow().values().map(FxHashMap::len).sum()
    }

    /// Names the places of a file: what is not known is looked for by `find`, and remembered.
    pub(super) fn name(
        &self,
        file: &MappedFile,
        (owners, running): (Owners, Option<u32>),
        find: impl FnOnce(&MappedFile) -> Found,
    ) -> Found {
        let Some(build_id) = file.build_id.clone() else { return find(file) };
        let (path, is_deleted) = (file.path.clone(), file.is_deleted);
        let mut files = self.files.borrow_mut();
        let known = files.entry(Key { path, build_id, is_deleted, owners, running }).or_default();
        let is_known = |place: &Place| known.contains_key(&place.file_offset);
        let (there, places): (Vec<Place>, Vec<Place>) = file.places.iter().partition(|place| is_known(place));
        let (mut module, mut names) = match places.is_empty() {
            true => (Module::of(file, Source::Recorded("named before".into())), Vec::new()),
            false => find(&MappedFile { places: places.clone(), ..file.clone() }),
        };
        let of_before = |place: &Place| Some((place.location, known.get(&place.file_offset)?.clone()?));
        let of_before: Vec<(LocationId, Frames)> = there.iter().filter_map(of_before).collect();
        // Who was warned of a file is warned of it again.
        if module.warning.is_none() {
            let found: FxHashMap<_, &Frames> = names.iter().map(|(id, frames)| (*id, frames)).collect();
            for place in &places {
                known.insert(place.file_offset, found.get(&place.location).map(|frames| (*frames).clone()));
            }
        }
        names.extend(of_before);
        (module.places, module.named) = (file.places.len(), names.len());
        (module, names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::location::Function;

    fn frames(name: &str) -> Frames {
        vec![(Function { name: name.to_owned(), ..Function::default() }, 0)]
    }

    #[test]
    fn a_second_profile_gets_the_names_of_the_first() {
        let place = |id, file_offset| Place { location: LocationId(id), file_offset };
        let file = |build_id: &str, places| MappedFile {
            path: "/lib/x.so".to_owned(),
            build_id: Some(build_id.to_owned()),
            places,
            ..MappedFile::default()
        };
        let known = Known::default();
        // Even offsets have names.
        let named = |file: &MappedFile, expected: &[u64]| {
            let mut asked = Vec::new();
            let (module, mut names) = known.name(file, (Owners::default(), None), |file| {
                asked = file.places.iter().map(|place| place.file_offset).collect();
                let even = file.places.iter().filter(|place| place.file_offset % 2 == 0);
                let even = even.map(|place| (place.location, frames(&format!("f{}", place.file_offset))));
                let names: Vec<_> = even.collect();
                (Module { named: names.len(), ..Module::of(file, Source::SymbolTable) }, names)
            });
            assert_eq!(asked, expected);
            assert_eq!((module.places, module.named), (file.places.len(), names.len()));
            names.sort_by_key(|(id, _)| *id);
            names.iter().map(|(id, frames)| format!("{}={}", id.0, frames[0].0.name)).collect::<Vec<_>>()
        };
        assert_eq!(named(&file("ab", vec![place(3, 2), place(4, 5)]), &[2, 5]), ["3=f2"]);
        // One place is known under another number, one has no name, and one is new.
        assert_eq!(named(&file("ab", vec![place(7, 2), place(8, 5), place(9, 6)]), &[6]), ["7=f2", "9=f6"]);
        assert_eq!(named(&file("ab", vec![place(1, 6), place(2, 2)]), &[]), ["1=f6", "2=f2"]);
        // The same path with another build id is another file, and without one it may be any.
        assert_eq!(named(&file("cd", vec![place(7, 2)]), &[2]), ["7=f2"]);
        let any = MappedFile { build_id: None, ..file("", vec![place(7, 2)]) };
        assert_eq!(named(&any, &[2]), ["7=f2"]);
        assert_eq!(named(&any, &[2]), ["7=f2"]);
    }
}
