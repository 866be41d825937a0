//! The outside world, as thin as it can be. Thread block, address range, mappings, clock,
//! environment, system calls. Nothing here knows what a profiler is.

#[cfg(not(test))]
pub(crate) use entries::libcs::find as find_libcs;

pub(crate) mod anchor;
pub(crate) mod atomic;
pub(crate) mod boot_memory;
pub(crate) mod cancel;
pub(crate) mod cgroup;
pub(crate) mod checked;
pub(crate) mod clock;
pub(crate) mod deadline;
pub(crate) mod dlopen_count;
mod entries;
pub(crate) mod environment;
pub(crate) mod exit_word;
pub(crate) mod faults;
pub(crate) mod file;
pub(crate) mod filter;
pub(crate) mod folder;
pub(crate) mod handlers;
pub(crate) mod identity;
pub(crate) mod initial_stack;
pub(crate) mod known_threads;
pub(crate) mod libc_names;
pub(crate) mod map;
#[cfg(not(test))]
mod no_unwinder;
pub(crate) mod optional;
pub(crate) mod peek;
pub(crate) mod processors;
pub(crate) mod range;
pub(crate) mod recent_pages;
pub(crate) mod schedule;
pub(crate) mod shared;
pub(crate) mod signals;
pub(crate) mod spare_stack;
pub(crate) mod statfs;
pub(crate) mod stderr;
pub(crate) mod sys;
pub(crate) mod thread_block;
pub(crate) mod tls;
pub(crate) mod usdt;
