//! The threads that a dump tells of.

/// One thread that the dump's header names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Thread {
    /// jemalloc's number of the thread, from 0 in order of first sample.
    pub(crate) uid: u64,
    /// Its name, where the profiler knew one.
    pub(crate) name: Option<String>,
}
