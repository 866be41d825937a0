//! The embedded jemalloc: its option string (`conf`) and its controls by name (`mallctl`); and the process's own
//! allocator, where that is kept ([`next`], `redirect`).
//!
//! Unsampled requests are forwarded by the exports themselves; sampled ones are the [`heap`](super::heap)'s.

mod conf;
pub(crate) mod keep;
mod mallctl;
pub(crate) mod next;
pub(crate) mod next_stats;
#[cfg(not(test))]
pub(crate) mod redirect;

pub(crate) use conf::Conf;
#[cfg_attr(test, allow(unused_imports, reason = "the exports, which use them, are not part of unit tests"))]
pub(crate) use mallctl::{ControlName, OwnArena, block_tree, boot, decay, has_arena, page_bytes, stop_retaining};
