//! A place in code: its address, the mapping it lies in, and the names it has.

use super::mapping::MappingId;

/// Index of a [`Location`] in its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LocationId(pub(crate) u32);

impl LocationId {
    /// Position in `Profile::locations`.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Index of a [`Function`] in its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub(crate) struct FunctionId(pub(crate) u32);

impl FunctionId {
    /// Position in `Profile::functions`.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A code address of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Location {
    /// The address to look up: the dump's return address less one, so that it points *into* the
    /// call; the leaf's address as it stands (jeprof does the same).
    pub(crate) address: u64,
    /// The file it was mapped from.
    pub(crate) mapping: Option<MappingId>,
    /// Its functions, innermost (inlined) first; empty until symbolised.
    pub(crate) lines: Vec<Line>,
}

/// One function at a location, and the source line there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Line {
    /// The function.
    pub(crate) function: FunctionId,
    /// Source line, 0 if unknown.
    pub(crate) line: u32,
}

/// What kind of code a function is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// Machine code of an ELF object, with a name from its symbols.
    #[default]
    Native,
    /// A Java method.
    Java,
    /// A thread (see `threads`).
    Thread,
    /// No name was found: the name is `lib.so+0x…` or an address.
    Unknown,
}

/// A named piece of code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Function {
    /// Demangled, without parameters and return type; Java: `package.Class.method`.
    pub(crate) name: String,
    /// Demangled in full; empty where that is `name`.
    pub(crate) full_name: String,
    /// Source file, empty if unknown.
    pub(crate) file: String,
    /// File name of the library or program, empty for Java.
    pub(crate) library: String,
    /// What kind of code it is.
    pub(crate) origin: Origin,
}
