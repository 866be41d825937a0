//! System calls that the tap can do without, one by one.
//!
//! A filter of the program's that kills for one of them (`filter`) is no reason to stop sampling: that call is not made
//! any more, and what it would have told stays unknown. It never comes back: filters are not taken away.

use std::sync::atomic::{AtomicU32, Ordering};

/// One of these calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum OptionalCall {
    /// Copies memory that may not be there (`checked`).
    Copy = 1,
    /// Tells processor time, which the vDSO cannot.
    ProcessorTime = 1 << 1,
    /// Tells limits.
    Limit = 1 << 2,
    /// Tells whether a thread exists.
    Thread = 1 << 3,
    /// Tells which signals are pending.
    Pending = 1 << 4,
    /// Tells the user.
    User = 1 << 5,
    /// Tells the process. Nothing is sampled without it, but a fork child may have to begin.
    Process = 1 << 6,
}

/// Some of these calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OptionalCalls(u32);

impl OptionalCalls {
    /// None of them.
    pub(crate) const NONE: OptionalCalls = OptionalCalls(0);
    /// All of them.
    pub(crate) const ALL: OptionalCalls = OptionalCalls(u32::MAX);

    /// These, and one more.
    pub(crate) fn with(self, call: OptionalCall) -> OptionalCalls {
        OptionalCalls(self.0 | call as u32)
    }
}

/// Those that would end the process. A static: the floors below the profiler cannot ask the profiler.
static DEADLY: AtomicU32 = AtomicU32::new(0);

/// Whether a call would end the process.
#[inline]
pub(crate) fn is_deadly(call: OptionalCall) -> bool {
    // Relaxed: the calling thread has just installed the filter, and another one's begins to hold at any instant.
    DEADLY.load(Ordering::Relaxed) & call as u32 != 0
}

/// From now on these are not made: a filter of system calls kills for them.
pub(crate) fn give_up(calls: OptionalCalls) {
    DEADLY.fetch_or(calls.0, Ordering::Relaxed);
}
