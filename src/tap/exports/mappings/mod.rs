//! `mmap`, `munmap` and `mremap`, to know which memory is not malloc's (`profiler/mapped`).
//!
//! The functions that the program would call without the tap do the work: libc's, or those of a library that stands
//! before libc's. They are found by the constructor, as a look for a name may allocate and lock; what comes before goes
//! to the kernel directly. Calls of the tap and of its jemalloc end at the doors (`doors`), a comparison of
//! the return address with the tap's own code, and go to the kernel, too: they are nobody's mappings, and no other
//! library may be called below jemalloc's locks.
//!
//! What is not followed, because it says little that `/proc/PID/smaps` and the records do not say together: `mprotect`
//! (it changes what may be touched, not what is mapped), `brk` (nothing but allocators calls it), `shmat` (few
//! segments, which have a class of their own), and system calls by number.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod doors;
mod own;
mod program;
#[cfg(target_arch = "x86_64")]
mod x86_64;
