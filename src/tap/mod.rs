//! The tap: everything that runs inside the host process, floor by floor (imports go down only).

pub(crate) mod backend;
pub(crate) mod code_address;
pub(crate) mod dump;
pub(crate) mod errand;
#[cfg(not(test))]
mod exports;
pub(crate) mod governor;
pub(crate) mod guard;
mod hash;
pub(crate) mod heap;
pub(crate) mod jvm;
pub(crate) mod keeper;
pub(crate) mod lifecycle;
pub(crate) mod os;
pub(crate) mod own_memory;
pub(crate) mod prof_controls;
pub(crate) mod profiler;
pub(crate) mod sampler;
pub(crate) mod settings;
pub(crate) mod slow;
pub(crate) mod stack;
pub(crate) mod store;
pub(crate) mod triggers;
pub(crate) mod unwind;
pub(crate) mod visit;

/// The tap's own allocations come from below its exports.
#[global_allocator]
static ALLOCATOR: own_memory::OwnMemory = own_memory::OwnMemory::new();
