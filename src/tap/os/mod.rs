//! Floor 1: the outside world, as thin as it can be. Thread block, address range, mappings, clock,
//! environment, system calls. Nothing here knows what a profiler is.

pub(crate) mod cgroup;
pub(crate) mod clock;
pub(crate) mod environment;
pub(crate) mod filter;
pub(crate) mod folder;
pub(crate) mod life;
pub(crate) mod loader_list;
pub(crate) mod loads;
pub(crate) mod map;
#[cfg(not(test))]
mod no_unwinder;
pub(crate) mod range;
pub(crate) mod shared;
pub(crate) mod signals;
pub(crate) mod space;
pub(crate) mod spare_stack;
pub(crate) mod stderr;
pub(crate) mod sys;
pub(crate) mod tls;
