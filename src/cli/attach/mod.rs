//! Finds profiles, in files and in processes. The only floor that lists
//! directories and reads dumps.

pub(crate) mod allocators;
pub(crate) mod capability;
pub(crate) mod child;
pub(crate) mod control;
pub(crate) mod discovery;
pub(crate) mod files;
pub(crate) mod fleet;
pub(crate) mod glance;
pub(crate) mod glibc;
mod glibc_blocks;
mod glob;
pub(crate) mod holders;
pub(crate) mod hprof;
pub(crate) mod jvm;
pub(crate) mod memory;
pub(crate) mod musl;
pub(crate) mod openat;
pub(crate) mod owner;
pub(crate) mod pack;
pub(crate) mod peer_memory;
mod perf_data;
pub(crate) mod process;
pub(crate) mod program;
mod redacted_dump;
pub(crate) mod redaction;
pub(crate) mod region;
pub(crate) mod room;
pub(crate) mod source;
mod tar;
pub(crate) mod unit_file;
pub(crate) mod worth;
