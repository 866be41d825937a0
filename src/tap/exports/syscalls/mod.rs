//! `syscall`, `prctl` and `capset`, to see filters of system calls, and what gives the calling thread other rights
//! than the keeper has.
//!
//! They are a few instructions in libc, and nearly the same few here: the doors (`x86_64`, `aarch64`), so that nothing
//! needs to be looked up. What does not concern the tap goes straight on to the kernel (`kernel`), the rest through one
//! function (`watched`). `syscall` and `prctl` are protected: what jemalloc and the tap call by these names is this,
//! and never another library's.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod kernel;
mod watched;
#[cfg(target_arch = "x86_64")]
mod x86_64;
