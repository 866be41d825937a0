//! The tap: everything that runs inside the host process, floor by floor (imports go down only).

pub(crate) mod stack;
pub(crate) mod unwind;
