//! Our own entries in place of libc's: they ask the kernel directly.
//!
//! jemalloc calls libc under its locks and while it boots. A second preloaded library (libfaketime, fakechroot, a
//! profiler of locks) may stand in front of libc's function and allocate there: the process then waits for itself. So
//! every such name is defined here too, hidden: the link binds the references of jemalloc, of the standard library
//! and of the tap to these, and no other object sees them. What still comes from libc stands in `tests/tidy/libc.txt`.
//!
//! `mmap` and `munmap` are exports (`exports/mappings`), which know calls of the tap's own and send them here.
//!
//! The entries keep libc's contract (`errno`, return values), with one difference: none is a cancellation point.
//!
//! # Safety
//! The callers hold libc's contract for the function of the same name.
#![allow(unsafe_code)]

mod configuration;
#[cfg(target_arch = "x86_64")]
mod destructors;
mod files;
pub(super) mod libcs;
mod locks;
pub(super) mod memory;
mod processors;
mod raw;
mod signals;
mod time;
mod vdso;

#[cfg(not(test))]
use super::handlers;

/// The jump to an entry. (Attributes on single lines of assembly are newer than our oldest Rust.)
#[cfg(all(target_arch = "x86_64", not(test)))]
macro_rules! jump {
    () => {
        "jmp {entry}"
    };
}
#[cfg(all(target_arch = "aarch64", not(test)))]
macro_rules! jump {
    () => {
        "b {entry}"
    };
}

/// Defines hidden symbols that jump to an entry.
#[cfg(not(test))]
macro_rules! bind {
    ($($name:literal => $entry:path;)*) => {$(
        std::arch::global_asm!(
            concat!(".pushsection .text.heaptap_", $name, ",\"ax\",@progbits"),
            ".p2align 4",
            concat!(".globl ", $name),
            concat!(".hidden ", $name),
            concat!(".type ", $name, ",@function"),
            concat!($name, ":"),
            jump!(),
            concat!(".size ", $name, ", . - ", $name),
            ".popsection",
            entry = sym $entry,
        );
    )*};
}

#[cfg(not(test))]
bind! {
    "clock_gettime" => time::clock_gettime;
    "gettimeofday" => time::gettimeofday;

    "mprotect" => memory::mprotect;
    "madvise" => memory::madvise;

    "pthread_mutex_init" => locks::mutex_init;
    "pthread_mutex_lock" => locks::mutex_lock;
    "pthread_mutex_trylock" => locks::mutex_trylock;
    "pthread_mutex_unlock" => locks::mutex_unlock;
    "pthread_mutexattr_init" => locks::attributes_init;
    "pthread_mutexattr_settype" => locks::attributes_settype;
    "pthread_mutexattr_destroy" => locks::attributes_destroy;
    "pthread_cond_init" => locks::condition_init;
    "pthread_cond_signal" => locks::condition_signal;
    "pthread_cond_wait" => locks::condition_wait;
    "pthread_cond_timedwait" => locks::condition_timedwait;

    "getpid" => processors::getpid;
    "gettid" => processors::gettid;
    "sched_getaffinity" => processors::sched_getaffinity;
    "sched_setaffinity" => processors::sched_setaffinity;
    "sched_getcpu" => processors::sched_getcpu;
    "sched_yield" => processors::sched_yield;
    "__sched_cpucount" => processors::sched_cpucount;
    "getrlimit" => processors::getrlimit;

    "secure_getenv" => configuration::secure_getenv;
    "readlink" => configuration::readlink;
    "strerror_r" => configuration::strerror_r;

    "pthread_sigmask" => signals::pthread_sigmask;
    "pthread_atfork" => handlers::at_fork;

    "sbrk" => libcs::sbrk;
    "sysconf" => libcs::sysconf;
    "pthread_key_create" => libcs::key_create;
    "pthread_getspecific" => libcs::get_specific;
    "pthread_setspecific" => libcs::set_specific;

    "open" => files::open;
    "open64" => files::open;
    "close" => files::close;
    "read" => files::read;
    "pread64" => files::pread;
    "write" => files::write;
    "pwrite64" => files::pwrite;
    "ftruncate64" => files::ftruncate;
    "writev" => files::writev;
    "lseek64" => files::lseek;
    "fstat" => files::fstat;
    "fstat64" => files::fstat;
    "stat64" => files::stat;
    "lstat64" => files::lstat;
    "fstatat" => files::fstatat;
    "statx" => files::statx;
    "flock" => files::flock;
    "getcwd" => files::getcwd;
    "rename" => files::rename;
    "linkat" => files::linkat;
    "unlink" => files::unlink;
}
