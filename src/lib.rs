//! Root of the tap: the library that is preloaded into other people's processes.
//!
//! `wire` says what lies on disk, `tap` is everything that runs inside the host. Nothing links this
//! crate as a Rust library: whoever did would define `malloc` (see `src/README.md`).

#[cfg_attr(test, allow(dead_code, reason = "the exports, which use it all, would replace the test harness's malloc"))]
mod tap;
#[allow(dead_code, reason = "the other root uses the rest")]
mod wire;
