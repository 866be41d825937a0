//! What one call stack has mapped, or which threads it started.

use super::history::Past;
use super::location::LocationId;
use crate::wire::heap_v2::mapped::Sums;

/// What the Java VM maps for itself, by class.
pub(super) const NAMES: [&str; 6] =
    ["[Java heap]", "[metaspace]", "[GC structures]", "[code cache]", "[JVM, other]", "[threads of the JVM]"];

/// What one call stack has mapped.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MappedStack {
    /// Leaf first.
    pub(crate) stack: Box<[LocationId]>,
    /// How much, and what it is.
    pub(crate) sums: Sums,
    /// What it was at each of the history's times; empty where that is not known.
    pub(crate) past: Box<[Past]>,
    /// Place in the names of what it is of the Java VM's own.
    pub(crate) class: Option<usize>,
}

impl MappedStack {
    /// What of the Java VM's own it is, in words.
    pub(crate) fn class_name(&self) -> Option<&'static str> {
        NAMES.get(self.class?).copied()
    }
}
