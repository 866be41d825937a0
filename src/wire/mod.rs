//! What lies on disk, shared by the tap and the CLI: no unsafe, and no I/O but how a file gets its place, and how an
//! open one is judged.

pub(crate) mod ages;
pub(crate) mod cgroup;
pub(crate) mod claim;
pub(crate) mod control;
pub(crate) mod crc;
pub(crate) mod dump_file;
pub(crate) mod dump_name;
pub(crate) mod elf;
pub(crate) mod file_group;
pub(crate) mod heap_v2;
pub(crate) mod identity;
pub(crate) mod java_pc;
pub(crate) mod live;
pub(crate) mod liveness;
pub(crate) mod maps_line;
pub(crate) mod math;
pub(crate) mod options;
pub(crate) mod order;
pub(crate) mod pattern;
pub(crate) mod proc_status;
pub(crate) mod resident;
pub(crate) mod sidecar;
pub(crate) mod stack_end;
pub(crate) mod time;
pub(crate) mod title;
pub(crate) mod whole_file;
pub(crate) mod word;
