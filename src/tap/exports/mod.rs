//! The exported functions. Each is a line or a few: forward to jemalloc, or take the slow path.
//!
//! The four that count ([`four`]) are written in assembly, and so is what must leave the caller's frame as it is
//! (`dlopen`, `syscall`). Contracts: malloc(3), posix_memalign(3), POSIX.1-2024, C23 7.24.3.
//!
//! # Safety
//! The callers are C programs: pointers are live blocks of ours or null, by the contracts above.

mod aligned;
mod credentials;
mod end;
mod exec;
mod extended;
mod four;
mod limits;
mod loader;
mod mallctl;
mod mappings;
mod names;
mod namespaces;
mod real;
mod serving;
mod statistics;
mod syscalls;
mod threads;
