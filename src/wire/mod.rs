//! What lies on disk, shared by the tap and the CLI: no I/O, no unsafe.

pub(crate) mod ages;
pub(crate) mod control;
pub(crate) mod dump_name;
pub(crate) mod heap_v2;
pub(crate) mod java_pc;
pub(crate) mod live;
pub(crate) mod math;
pub(crate) mod options;
pub(crate) mod sidecar;
pub(crate) mod stack_end;
pub(crate) mod time;
