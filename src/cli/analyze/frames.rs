//! Which frames a reader wants to see: allocators and their wrappers are folded from the leaf, and
//! the first frame that is neither runtime nor system library is where somebody's own code begins.
//!
//! The names stand in `frames.txt`. They are short names: without parameters and return type.

use crate::cli::profile::Profile;
use crate::cli::profile::location::{Function, FunctionId, Line, Origin};
use crate::cli::profile::sample::Sample;
use crate::wire::file_group;
use rustc_hash::FxHashSet;

const TABLE: &str = include_str!("frames.txt");

/// What a frame is to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Allocator machinery or a wrapper around it.
    Glue,
    /// Runtime, system library, code without a name.
    System,
    /// The program's own code.
    Own,
}

/// The kind of every function of one profile, worked out once.
pub(crate) struct Kinds {
    kinds: Vec<Kind>,
}

impl Kinds {
    /// Looks every function up.
    pub(crate) fn of(profile: &Profile) -> Kinds {
        let table = Table::read();
        let kind = |function| match table.kind(function) {
            Kind::Glue if profile.shows_glue => Kind::System,
            kind => kind,
        };
        Kinds { kinds: profile.functions.iter().map(kind).collect() }
    }

    /// The kind of a function of that profile.
    pub(crate) fn kind(&self, id: FunctionId) -> Kind {
        self.kinds.get(id.index()).copied().unwrap_or(Kind::System)
    }

    /// The frames of a sample, leaf first, inlined ones expanded, allocator glue folded away from
    /// the leaf. A stack of nothing but glue keeps its outermost frame.
    pub(crate) fn visible(&self, profile: &Profile, sample: &Sample) -> Vec<Line> {
        let mut frames = Vec::with_capacity(sample.stack.len());
        self.visible_until(profile, sample, |_, _| false, &mut frames);
        frames
    }

    /// As [`Kinds::visible`], into a vector that is used again and again, and only until `is_enough`
    /// says so of a frame and its position.
    pub(crate) fn visible_until(
        &self,
        profile: &Profile,
        sample: &Sample,
        mut is_enough: impl FnMut(usize, Kind) -> bool,
        frames: &mut Vec<Line>,
    ) {
        frames.clear();
        let mut outermost_glue = None;
        // Two loops: the longest part of a big report, and flattened it takes twice as long.
        for id in &sample.stack {
            for &line in &profile.location(*id).lines {
                let kind = self.kind(line.function);
                if frames.is_empty() && kind == Kind::Glue {
                    outermost_glue = Some(line);
                    continue;
                }
                frames.push(line);
                if is_enough(frames.len() - 1, kind) {
                    return;
                }
            }
        }
        if frames.is_empty() {
            frames.extend(outermost_glue);
        }
    }
}

/// `frames.txt`, taken apart.
#[derive(Default)]
struct Table {
    glue: FxHashSet<&'static str>,
    glue_prefixes: Vec<&'static str>,
    glue_libraries: Vec<&'static str>,
    system_libraries: Vec<&'static str>,
    platform_prefixes: Vec<&'static str>,
}

impl Table {
    fn read() -> Table {
        let mut table = Table::default();
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let Some((kind, names)) = line.split_once(' ') else { continue };
            let words = names.split(' ');
            match kind {
                "glue" if names.starts_with("operator ") => table.glue.extend([names]),
                "glue" => table.glue.extend(words),
                "glue-prefix" => table.glue_prefixes.extend(words),
                "glue-library" => table.glue_libraries.extend(words),
                "system-library" => table.system_libraries.extend(words),
                "platform-prefix" => table.platform_prefixes.extend(words),
                _ => {}
            }
        }
        table
    }

    fn kind(&self, function: &Function) -> Kind {
        let begins = |text: &str, prefixes: &[&str]| prefixes.iter().any(|prefix| text.starts_with(prefix));
        let (name, library) = (function.name.as_str(), function.library.as_str());
        if function.origin == Origin::Java {
            if file_group::is_group(name.as_bytes()) {
                return Kind::System;
            }
            return if begins(name, &self.platform_prefixes) { Kind::System } else { Kind::Own };
        }
        let is_glue = begins(library, &self.glue_libraries)
            || self.glue.contains(name)
            || begins(name, &self.glue_prefixes)
            || name.ends_with("::operator new");
        let is_unnamed_java = function.origin == Origin::Unknown && name == "[Java code]";
        match function.origin {
            _ if is_glue => Kind::Glue,
            Origin::Native if !library.is_empty() && !begins(library, &self.system_libraries) => Kind::Own,
            _ if is_unnamed_java => Kind::Own,
            _ => Kind::System,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::location::{Location, LocationId};

    fn kind(name: &str, library: &str, origin: Origin) -> Kind {
        Table::read().kind(&Function { name: name.into(), library: library.into(), origin, ..Function::default() })
    }

    #[test]
    fn glue_system_and_own_code_are_told_apart() {
        let glue =
            [("malloc", "libc.so.6"), ("x", "libjemalloc.so.2"), ("operator new[]", "a"), ("Chunk::operator new", "")];
        assert!(glue.iter().all(|(name, library)| kind(name, library, Origin::Native) == Kind::Glue));
        assert_eq!(kind("deflateInit2_", "libz.so.1", Origin::Native), Kind::System);
        assert_eq!(kind("load_table", "server", Origin::Native), Kind::Own);
        assert_eq!(kind("je_main", "", Origin::Java), Kind::Own);
        assert_eq!(kind("java.util.zip.Inflater.init", "", Origin::Java), Kind::System);
        assert_eq!(kind("[Java code]", "", Origin::Unknown), Kind::Own);
        assert_eq!(kind("server+0x12", "server", Origin::Unknown), Kind::System);
    }

    #[test]
    fn glue_is_folded_unless_the_reader_wants_it() {
        let names = ["malloc", "os::malloc", "Unsafe_AllocateMemory0", "java.nio.ByteBuffer.allocateDirect"];
        let function = |name: &&str| Function { name: (*name).into(), origin: Origin::Native, ..Function::default() };
        let line = |n: u32| Line { function: FunctionId(n), line: 0 };
        let location = |n| Location { address: 0, mapping: None, lines: vec![line(n)] };
        let mut profile = Profile {
            functions: names.iter().map(function).collect(),
            locations: (0..4).map(location).collect(),
            ..Profile::default()
        };
        let sample = Sample { stack: (0..4).map(LocationId).collect(), ..Sample::default() };
        assert_eq!(Kinds::of(&profile).visible(&profile, &sample), [line(2), line(3)]);
        profile.shows_glue = true;
        assert_eq!(Kinds::of(&profile).visible(&profile, &sample), [0, 1, 2, 3].map(line));
    }

    #[test]
    fn every_line_of_the_table_has_a_known_kind() {
        let kinds = ["glue", "glue-prefix", "glue-library", "system-library", "platform-prefix"];
        let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        assert!(lines.clone().count() > 10);
        for line in lines {
            let (kind, names) = line.split_once(' ').unwrap();
            assert!(kinds.contains(&kind) && !names.split(' ').any(str::is_empty), "{line}");
        }
    }
}
