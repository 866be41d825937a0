//! What lies on disk, shared by the tap and the CLI: no unsafe, and no I/O but how a file gets its place.

pub(crate) mod ages;
pub(crate) mod control;
pub(crate) mod crc;
pub(crate) mod dump_file;
pub(crate) mod dump_name;
pub(crate) mod heap_v2;
pub(crate) mod java_pc;
pub(crate) mod life_lock;
pub(crate) mod life_name;
pub(crate) mod live;
pub(crate) mod math;
pub(crate) mod options;
pub(crate) mod pattern;
pub(crate) mod sidecar;
pub(crate) mod stack_end;
pub(crate) mod time;
pub(crate) mod whole_file;
