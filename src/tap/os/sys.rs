//! System calls that must not be cancellation points or touch libc's state.
//!
//! # Safety
//! Each call passes only numbers, or pointers to memory that the caller lends for the call.
#![allow(unsafe_code)]

use super::optional::{self, OptionalCall};

/// The calling thread's kernel id.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}

/// The process id, from the kernel: right in children of `vfork` and raw `clone` too.
pub(crate) fn process_id() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::syscall(libc::SYS_getpid) as u32 }
}

/// The same; `None`: it cannot be asked for.
pub(crate) fn known_process_id() -> Option<u32> {
    (!optional::is_deadly(OptionalCall::Process)).then(process_id)
}

/// Process id of the parent.
pub(crate) fn parent_id() -> u32 {
    // SAFETY: no arguments.
    unsafe { libc::syscall(libc::SYS_getppid) as u32 }
}

/// Whether a thread of this process exists; `true` where it cannot be told.
pub(crate) fn is_thread(process: u32, thread: u32) -> bool {
    // SAFETY: numbers only; signal 0 is none.
    optional::is_deadly(OptionalCall::Thread) || unsafe { libc::syscall(libc::SYS_tgkill, process, thread, 0) == 0 }
}

/// Whether no such thread exists any more. `false` where it cannot be told.
pub(crate) fn has_ended(process: u32, thread: u32) -> bool {
    !is_thread(process, thread) && errno() == libc::ESRCH
}

/// Whether the main thread has not ended. Of one that has the kernel tells no executable.
pub(crate) fn main_thread_lives() -> bool {
    let mut byte = [0u8; 1];
    let path = c"/proc/self/exe".as_ptr();
    // SAFETY: a NUL-terminated path; the kernel writes at most one byte.
    unsafe { libc::syscall(libc::SYS_readlinkat, libc::AT_FDCWD, path, byte.as_mut_ptr(), byte.len()) >= 0 }
}

/// How many threads of this process have not ended; `None` where /proc does not tell. Of an ended main thread an entry
/// remains as long as others live.
pub(crate) fn living_threads() -> Option<u64> {
    let mut status = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: a NUL-terminated path, and a struct to fill.
    let result = unsafe { libc::fstatat(libc::AT_FDCWD, c"/proc/self/task".as_ptr(), status.as_mut_ptr(), 0) };
    // SAFETY: all bit patterns are valid; filled or zeros.
    #[allow(clippy::unnecessary_cast, reason = "on aarch64 it has 32 bits")]
    let links = unsafe { status.assume_init() }.st_nlink as u64;
    // Two links are the folder's own.
    let entries = links.checked_sub(2).filter(|&entries| result == 0 && entries > 0)?;
    Some(entries - u64::from(!main_thread_lives()))
}

/// The effective user id; `None`: it cannot be asked for.
pub(crate) fn known_user_id() -> Option<u32> {
    (!optional::is_deadly(OptionalCall::User)).then(user_id)
}

/// The effective user id, for who may open files.
pub(crate) fn user_id() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::syscall(libc::SYS_geteuid) as u32 }
}

/// A limit of this process; `None` where it cannot be told.
pub(crate) fn limit(resource: libc::__rlimit_resource_t) -> Option<u64> {
    if optional::is_deadly(OptionalCall::Limit) {
        return None;
    }
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let none = std::ptr::null::<libc::rlimit64>();
    // SAFETY: writes one rlimit of this process, which 0 names; sets none.
    let result = unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, none, &raw mut limit) };
    (result == 0).then_some(limit.rlim_cur)
}

/// The real, effective and saved user ids of the calling thread.
pub(crate) fn user_ids() -> [u32; 3] {
    let [mut real, mut effective, mut saved] = [u32::MAX; 3];
    // SAFETY: writes three numbers.
    unsafe { libc::syscall(libc::SYS_getresuid, &raw mut real, &raw mut effective, &raw mut saved) };
    [real, effective, saved]
}

/// Whether these are all one.
pub(crate) fn is_one_user() -> bool {
    let [real, effective, saved] = user_ids();
    real == effective && effective == saved
}

/// Largest file that this process may make; beyond it the kernel sends SIGXFSZ.
pub(crate) fn file_size_limit() -> u64 {
    limit(libc::RLIMIT_FSIZE).unwrap_or(0)
}

/// Inode of this process's pid namespace, 0 if it cannot be told.
pub(crate) fn pid_namespace() -> u64 {
    let mut status = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: a NUL-terminated path, and a struct to fill.
    unsafe {
        libc::syscall(libc::SYS_newfstatat, libc::AT_FDCWD, c"/proc/self/ns/pid".as_ptr(), status.as_mut_ptr(), 0)
    };
    // SAFETY: all bit patterns are valid; filled or zeros.
    unsafe { status.assume_init() }.st_ino
}

/// The directory that this process is in; `None`: it is gone, or cannot be told.
pub(crate) fn current_directory() -> Option<std::path::PathBuf> {
    let mut place = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: the kernel writes at most the length of `place`.
    unsafe { libc::syscall(libc::SYS_getcwd, place.as_mut_ptr(), place.len()) };
    let path = std::ffi::CStr::from_bytes_until_nul(&place).ok()?;
    let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path.to_bytes());
    std::path::Path::new(path).is_absolute().then(|| path.into())
}

/// The path of the program that runs, as far as there is room for it; empty where it cannot be told.
pub(crate) fn executable(place: &mut [u8]) -> &[u8] {
    let path = c"/proc/self/exe".as_ptr();
    // SAFETY: a NUL-terminated path; the kernel writes at most the length of `place`.
    let length = unsafe { libc::syscall(libc::SYS_readlinkat, libc::AT_FDCWD, path, place.as_mut_ptr(), place.len()) };
    place.get(..usize::try_from(length).unwrap_or(0)).unwrap_or_default()
}

/// The path of the file that a descriptor is open for, as far as there is room for it; empty where it cannot be told.
pub(crate) fn file_of(fd: i32, place: &mut [u8]) -> &[u8] {
    use std::io::Write;
    // The folder of this thread: that of an ended main thread is empty.
    let mut path = [0u8; 40];
    if write!(&mut path[..39], "/proc/thread-self/fd/{fd}").is_err() {
        return &[];
    }
    let path = path.as_ptr();
    // SAFETY: a NUL-terminated path; the kernel writes at most the length of `place`.
    let length = unsafe { libc::syscall(libc::SYS_readlinkat, libc::AT_FDCWD, path, place.as_mut_ptr(), place.len()) };
    place.get(..usize::try_from(length).unwrap_or(0)).unwrap_or_default()
}

/// The calling thread's name, NUL-padded.
pub(crate) fn thread_name() -> [u8; 16] {
    let mut name = [0u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes (prctl(2)), and `name` has them.
    unsafe { libc::syscall(libc::SYS_prctl, libc::PR_GET_NAME, name.as_mut_ptr(), 0, 0, 0) };
    name
}

/// Writes to a descriptor; what cannot be written is lost.
pub(crate) fn write(fd: i32, bytes: &[u8]) {
    // SAFETY: the kernel reads `bytes.len()` bytes of `bytes`.
    unsafe { libc::syscall(libc::SYS_write, fd, bytes.as_ptr(), bytes.len()) };
}

/// Ends the process without any handler.
pub(crate) fn exit_group(status: i32) -> ! {
    loop {
        // SAFETY: does not return; the loop only says so to the compiler.
        unsafe { libc::syscall(libc::SYS_exit_group, status) };
    }
}

/// Sleeps until `word` no longer holds `expected`, a thread wakes it, or the time is over.
pub(crate) fn futex_wait(word: &std::sync::atomic::AtomicU32, expected: u32, nanoseconds: u64) {
    let time = libc::timespec {
        tv_sec: (nanoseconds / 1_000_000_000) as libc::time_t,
        tv_nsec: (nanoseconds % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: word and time outlive the call; a spurious return is allowed.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            &raw const time,
        );
    }
}

/// Wakes the threads that sleep on `word`.
pub(crate) fn futex_wake(word: &std::sync::atomic::AtomicU32) {
    // SAFETY: only the address of the word is used.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, i32::MAX) };
}

/// The calling thread's `errno`, put back when this is dropped: a call that succeeds must not change it.
pub(crate) struct KeptErrno {
    place: *mut i32,
    before: i32,
}

impl KeptErrno {
    /// What it is now.
    #[inline]
    pub(crate) fn now() -> KeptErrno {
        // SAFETY: yields the calling thread's own errno, valid as long as the thread.
        let place = unsafe { libc::__errno_location() };
        // SAFETY: as above.
        KeptErrno { place, before: unsafe { place.read() } }
    }
}

impl Drop for KeptErrno {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the thread's own errno: a raw pointer does not leave its thread.
        unsafe { self.place.write(self.before) };
    }
}

/// Runs `work` and puts `errno` back.
#[inline]
pub(crate) fn keep_errno<T>(work: impl FnOnce() -> T) -> T {
    let _kept = KeptErrno::now();
    work()
}

/// The calling thread's `errno`.
pub(crate) fn errno() -> i32 {
    // SAFETY: the calling thread's own errno.
    unsafe { libc::__errno_location().read() }
}

/// Sets `errno`.
pub(crate) fn set_errno(value: i32) {
    // SAFETY: the calling thread's own errno.
    unsafe { libc::__errno_location().write(value) };
}
