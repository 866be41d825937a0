//! The tap: everything that runs inside the host process, floor by floor (imports go down only).

pub(crate) mod backend;
pub(crate) mod guard;
#[allow(dead_code, reason = "the profiler that walks with it lands next")]
pub(crate) mod jvm;
pub(crate) mod os;
pub(crate) mod sampler;
pub(crate) mod stack;
pub(crate) mod store;
pub(crate) mod unwind;
