//! The slow path of the exports: a thread's wait is over, or a block is a sampled one.
//!
//! ```text
//! allocate  the wait is over: a sampled block, or a plain one     free   a sampled block, and its size
//! resize    realloc and its kin, where either block is sampled    wait   the thread's bytes until its next sample
//! counted   a request and the wait that it was counted in         plain  requests that jemalloc serves
//! ```
//!
//! Every function here preserves `errno` unless there is no memory, and falls back to plain jemalloc where the profiler
//! takes no sample.
//!
//! A request counts once it has been served. A request that fails leaves the thread's wait as it was before: the same
//! wait then ends with a later request, so sampling stays unbiased. (A request that is not due and that jemalloc then
//! refuses has used up its bytes of the wait: the fast path does not see it fail. But the door of `mmap` sees jemalloc
//! get no memory, and makes the thread's next request due, so the first or the second failure is noted.)

#![cfg_attr(test, allow(unused_imports, reason = "the exports, which use them, are not part of unit tests"))]

mod allocate;
mod counted;
mod free;
mod plain;
mod resize;
mod wait;

pub(crate) use allocate::allocate;
pub(crate) use free::{free, is_sampled, usable_size};
pub(crate) use plain::{note_refusal, out_of_memory};
pub(crate) use resize::{reallocate, reallocate_to_nothing, replace, resize_in_place};
pub(crate) use wait::{is_due, uncount};
