//! Names that were found on another machine, or by another process, as text.
//!
//!     module <tab> build id or - <tab> whence, in words <tab> path
//!     place <tab> offset in the file (hexadecimal; the address itself where there is no file)
//!     frame <tab> line or 0 <tab> n or j <tab> name <tab> full name <tab> source file
//!
//! Frames belong to the place before them, innermost first; places to the module before them.
//! Backslash, tab and newline in names are written `\\`, `\t`, `\n`. Lines of another shape are
//! skipped, so that a later version can add some; nothing panics on any text.

use crate::cli::profile::Profile;
use crate::cli::profile::location::{Function, Location, Origin};
use crate::cli::symbolize::module::Module;
use rustc_hash::FxHashMap;
use std::io::{self, BufRead, Write};

/// The functions at one place, innermost first, each with its source line.
pub(crate) type Frames = Vec<(Function, u32)>;

/// A text that is recorded.
pub(crate) enum Text<'a> {
    /// Name of a function.
    Name(&'a str),
    /// Path of a mapped file or a source file.
    Path(&'a str),
    /// Where names came from, in words.
    Source(&'a str),
}

/// What is known about one mapped file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordedModule {
    /// Where the names came from, in words.
    pub(crate) source: String,
    /// By offset in the file.
    pub(crate) places: FxHashMap<u64, Frames>,
}

/// Names of places, by path and build id of their files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recorded {
    modules: FxHashMap<(String, Option<String>), RecordedModule>,
}

impl Recorded {
    /// The names of a symbolised profile, but for those that its dumps tell themselves.
    pub(crate) fn of(profile: &Profile, modules: &[Module]) -> Recorded {
        let mut recorded = Recorded::default();
        for module in modules.iter().filter(|module| module.path.starts_with('/')) {
            let entry = recorded.modules.entry((module.path.clone(), module.build_id.clone())).or_default();
            entry.source = module.source.to_string();
        }
        for location in &profile.locations {
            let Some((key, offset)) = place_of(profile, location) else { continue };
            let frames = location.lines.iter().filter_map(|line| {
                let function = profile.function(line.function)?;
                (function.origin != Origin::Unknown).then(|| (function.clone(), line.line))
            });
            let frames: Frames = frames.collect();
            if !frames.is_empty() {
                recorded.modules.entry(key).or_default().places.insert(offset, frames);
            }
        }
        recorded
    }

    /// The names of one file, whatever its build id.
    pub(super) fn one(path: String, module: RecordedModule) -> Recorded {
        Recorded { modules: FxHashMap::from_iter([((path, None), module)]) }
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }

    /// What is known about a file.
    pub(crate) fn module(&self, path: &str, build_id: Option<&str>) -> Option<&RecordedModule> {
        self.modules.get(&(path.to_owned(), build_id.map(str::to_owned)))
    }

    /// The same with other texts.
    pub(crate) fn renamed(&self, rename: &mut dyn FnMut(&Text<'_>) -> String) -> Recorded {
        let mut recorded = Recorded::default();
        let mut modules: Vec<_> = self.modules.iter().collect();
        modules.sort_by_key(|(key, _)| *key);
        for ((path, build_id), module) in modules {
            let key = (rename(&Text::Path(path)), build_id.clone());
            let entry = recorded.modules.entry(key).or_default();
            entry.source = rename(&Text::Source(&module.source));
            let mut places: Vec<_> = module.places.iter().collect();
            places.sort_by_key(|(offset, _)| **offset);
            for (place, frames) in places {
                let frames = frames.iter().map(|(function, line)| (renamed(function, rename), *line)).collect();
                entry.places.insert(*place, frames);
            }
        }
        recorded
    }

    /// Adds another's names; they win.
    pub(crate) fn extend(&mut self, other: Recorded) {
        for (key, module) in other.modules {
            let known = self.modules.entry(key).or_default();
            known.source = module.source;
            known.places.extend(module.places);
        }
    }

    /// Writes the text; the same names make the same text.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut modules: Vec<_> = self.modules.iter().collect();
        modules.sort_by_key(|(key, _)| *key);
        for ((path, build_id), module) in modules {
            let build_id = build_id.as_deref().unwrap_or("-");
            writeln!(out, "module\t{build_id}\t{}\t{}", escaped(&module.source), escaped(path))?;
            let mut places: Vec<_> = module.places.iter().collect();
            places.sort_by_key(|(offset, _)| **offset);
            for (offset, frames) in places {
                write_place(*offset, frames, out)?;
            }
        }
        Ok(())
    }

    /// Reads the text.
    pub(crate) fn read(input: impl BufRead) -> io::Result<Recorded> {
        let mut recorded = Recorded::default();
        let mut module: Option<(String, RecordedModule)> = None;
        let mut key = (String::new(), None);
        let mut place = 0;
        for line in input.split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            let parts: Vec<&str> = line.split('\t').collect();
            match (parts.as_slice(), &mut module) {
                (["module", build_id, source, path], _) => {
                    recorded.keep(&key, module.take());
                    let path = plain(path);
                    key = (path.clone(), Some((*build_id).to_owned()).filter(|id| id != "-"));
                    module = Some((path, RecordedModule { source: plain(source), places: FxHashMap::default() }));
                }
                (["place", offset], Some((_, module))) => {
                    if let Ok(offset) = u64::from_str_radix(offset, 16) {
                        place = offset;
                        module.places.insert(place, Frames::new());
                    }
                }
                (["frame", line, origin, name, full, file], Some((path, module))) => {
                    if let Some(frames) = module.places.get_mut(&place) {
                        frames.push(frame(line, origin, [name, full, file], path));
                    }
                }
                _ => {}
            }
        }
        recorded.keep(&key, module.take());
        Ok(recorded)
    }

    fn keep(&mut self, key: &(String, Option<String>), module: Option<(String, RecordedModule)>) {
        if let Some((_, mut module)) = module {
            module.places.retain(|_, frames| !frames.is_empty());
            self.modules.insert(key.clone(), module);
        }
    }
}

fn renamed(function: &Function, rename: &mut dyn FnMut(&Text<'_>) -> String) -> Function {
    Function {
        name: rename(&Text::Name(&function.name)),
        full_name: rename(&Text::Name(&function.full_name)),
        file: rename(&Text::Path(&function.file)),
        library: function.library.clone(),
        origin: function.origin,
    }
}

/// The file that a place lies in, and where; `None` if its name stands in the dump.
fn place_of(profile: &Profile, location: &Location) -> Option<((String, Option<String>), u64)> {
    let mapping = profile.mapping(location.mapping?)?;
    if !mapping.is_file() {
        return Some(((String::new(), None), location.address));
    }
    let is_java = |function: &Function| function.origin == Origin::Java;
    let first = location.lines.first().and_then(|line| profile.function(line.function));
    let offset = mapping.file_offset(location.address);
    (!first.is_some_and(is_java)).then(|| ((mapping.path.clone(), mapping.build_id.clone()), offset))
}

fn write_place(offset: u64, frames: &Frames, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "place\t{offset:x}")?;
    for (function, line) in frames {
        let origin = if function.origin == Origin::Java { 'j' } else { 'n' };
        let [name, full, file] = [&function.name, &function.full_name, &function.file].map(|text| escaped(text));
        writeln!(out, "frame\t{line}\t{origin}\t{name}\t{full}\t{file}")?;
    }
    Ok(())
}

fn frame(line: &str, origin: &str, texts: [&str; 3], path: &str) -> (Function, u32) {
    let [name, full_name, file] = texts.map(plain);
    let origin = if origin == "j" { Origin::Java } else { Origin::Native };
    let library = if origin == Origin::Java { "" } else { path.rsplit('/').next().unwrap_or("") };
    let function = Function { name, full_name, file, library: library.to_owned(), origin };
    (function, line.parse().unwrap_or(0))
}

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('\t', r"\t").replace('\n', r"\n")
}

fn plain(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('t') => plain.push('\t'),
                Some('n') => plain.push('\n'),
                Some(other) => plain.push(other),
                None => {}
            },
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Recorded {
        let function = Function {
            name: "a\tb\\n\n<T>".into(),
            full_name: "void a\tb(int)".into(),
            file: "/x/a b.cc".into(),
            library: "lib x.so".into(),
            origin: Origin::Native,
        };
        let method = Function { name: "a.B.c".into(), origin: Origin::Java, ..Function::default() };
        let places =
            FxHashMap::from_iter([(0x10, vec![(function.clone(), 7), (function, 0)]), (0x20, vec![(method, 3)])]);
        let module = RecordedModule { source: "symbol table".into(), places };
        Recorded {
            modules: FxHashMap::from_iter([
                (("/x/lib x.so".into(), Some("abcd".into())), module),
                (
                    ("/x/none.so".into(), None),
                    RecordedModule { source: "none: gone".into(), ..RecordedModule::default() },
                ),
            ]),
        }
    }

    fn text(recorded: &Recorded) -> Vec<u8> {
        let mut text = Vec::new();
        recorded.write(&mut text).unwrap();
        text
    }

    #[test]
    fn names_survive_their_text() {
        assert_eq!(Recorded::read(text(&sample()).as_slice()).unwrap(), sample());
    }

    #[test]
    fn no_damage_panics_and_unknown_lines_are_skipped() {
        let whole = text(&sample());
        for at in 0..whole.len() {
            for flip in [0x01, 0x20, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                let read = Recorded::read(bytes.as_slice()).unwrap();
                assert!(read.modules.len() <= 3, "{at}");
            }
            Recorded::read(&whole[..at]).unwrap();
        }
        let later = [b"frame\t1\tn\tlost\t\t\ncolour\tblue\n", whole.as_slice()].concat();
        assert_eq!(Recorded::read(later.as_slice()).unwrap(), sample());
    }
}
