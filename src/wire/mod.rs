//! What lies on disk, shared by the tap and the CLI: no I/O, no unsafe.

pub(crate) mod dump_name;
pub(crate) mod stack_end;
