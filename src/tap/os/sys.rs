//! System calls that must not be cancellation points or touch libc's state.
//!
//! # Safety
//! Each call passes only numbers, or pointers to memory that the caller lends for the call.
#![allow(unsafe_code)]

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

/// Whether a thread of this process exists.
pub(crate) fn is_thread(process: u32, thread: u32) -> bool {
    // SAFETY: numbers only; signal 0 is none.
    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, 0) == 0 }
}

/// The effective user id.
pub(crate) fn user_id() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::syscall(libc::SYS_geteuid) as u32 }
}

/// Largest file that this process may make; beyond it the kernel sends SIGXFSZ.
pub(crate) fn file_size_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one rlimit.
    unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) };
    limit.rlim_cur
}

/// Inode of this process's pid namespace, 0 if it cannot be told.
pub(crate) fn pid_namespace() -> u64 {
    let mut status = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: a NUL-terminated path, and a struct to fill.
    unsafe { libc::fstatat(libc::AT_FDCWD, c"/proc/self/ns/pid".as_ptr(), status.as_mut_ptr(), 0) };
    // SAFETY: all bit patterns are valid; filled or zeros.
    unsafe { status.assume_init() }.st_ino
}

/// The path of the program that runs, as far as there is room for it; empty where it cannot be told.
pub(crate) fn executable(place: &mut [u8]) -> &[u8] {
    let path = c"/proc/self/exe".as_ptr();
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

/// Sends one short line to stderr, cut at 512 bytes, in one piece.
pub(crate) fn say(parts: &[&[u8]]) {
    let mut line = [0u8; 512];
    let mut len = 0;
    for byte in parts.iter().copied().flatten().take(line.len() - 1) {
        if let Some(slot) = line.get_mut(len) {
            *slot = *byte;
            len += 1;
        }
    }
    if let Some(slot) = line.get_mut(len) {
        *slot = b'\n';
    }
    super::stderr::write(line.get(..=len).unwrap_or(&[]));
}

/// Ends the process without any handler.
pub(crate) fn exit_group(status: i32) -> ! {
    loop {
        // SAFETY: does not return; the loop only says so to the compiler.
        unsafe { libc::syscall(libc::SYS_exit_group, status) };
    }
}

/// Sleeps until `word` no longer holds `expected`, somebody wakes it, or the time is over.
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

/// Wakes whoever sleeps on `word`.
pub(crate) fn futex_wake(word: &std::sync::atomic::AtomicU32) {
    // SAFETY: only the address of the word is used.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, i32::MAX) };
}

/// Runs `work` and puts `errno` back: a call that succeeds must not change it.
pub(crate) fn keep_errno<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: yields the calling thread's own errno, valid as long as the thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { errno.read() };
    let result = work();
    // SAFETY: as above.
    unsafe { errno.write(before) };
    result
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
