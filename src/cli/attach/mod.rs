//! Floor 5 of the CLI: finds profiles, in files and in processes. The only floor that lists
//! directories and reads dumps.

pub(crate) mod beneath;
pub(crate) mod child;
pub(crate) mod control;
pub(crate) mod files;
mod glob;
pub(crate) mod jvm;
pub(crate) mod lives;
pub(crate) mod memory;
pub(crate) mod pack;
mod perf_data;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod region;
mod tar;
