//! The program's stderr, to which we send a line now and then.
//!
//! Descriptor 2 need not be it: a program started without one, or a daemon that closed it, gets that number
//! for a file or a socket of its own, where a line of ours would be damage. So what stands behind it at the
//! first call is remembered, and a line is written only where the same thing still stands. The
//! keeper has a descriptor table of its own, without any; it borrows the program's for the moment.
//!
//! # Safety
//! System calls with numbers, and with memory that lives in this frame.
#![allow(unsafe_code)]

use super::{signals, sys, tls};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};

/// The file behind descriptor 2 (device, and inode plus one); zeros: nothing, or not looked at yet.
static DEVICE: AtomicU64 = AtomicU64::new(0);
static INODE: AtomicU64 = AtomicU64::new(0);

/// How long the reader of a full pipe may take to make room for a line.
const PATIENCE_NS: i64 = 100_000_000;

/// Remembers what stands behind descriptor 2 now: called once, by the first call of the process.
pub(crate) fn remember() {
    if let Some((device, inode)) = identity(libc::STDERR_FILENO) {
        DEVICE.store(device, Ordering::Relaxed);
        INODE.store(inode.wrapping_add(1), Ordering::Relaxed);
    }
}

/// Sends one short line to stderr, cut at 512 bytes, in one piece.
pub(crate) fn say(parts: &[&[u8]]) {
    let mut line = [0u8; 512];
    let mut len = 0;
    for byte in parts.iter().copied().flatten().take(line.len() - 1) {
        if let Some(room) = line.get_mut(len) {
            *room = *byte;
            len += 1;
        }
    }
    if let Some(room) = line.get_mut(len) {
        *room = b'\n';
    }
    write(line.get(..=len).unwrap_or(&[]));
}

/// Writes to it, if it is still there. What cannot be written is lost.
pub(crate) fn write(bytes: &[u8]) {
    if INODE.load(Ordering::Relaxed) == 0 {
        return;
    }
    signals::shielded(|| {
        if tls::thread().has_own_descriptors.get() {
            borrow(bytes);
        } else {
            write_to(libc::STDERR_FILENO, bytes);
        }
    });
}

/// The same by a copy of the process's descriptor, from a thread that has other descriptors (Linux 5.6, as
/// new as those threads need anyway).
fn borrow(bytes: &[u8]) {
    // SAFETY: numbers only.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, sys::process_id(), 0) };
    // SAFETY: numbers only; a bad descriptor is an error.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process, libc::STDERR_FILENO, 0) };
    if fd >= 0 {
        write_to(fd as i32, bytes);
    }
    for descriptor in [fd, process] {
        // SAFETY: descriptors of this thread's own table, or -1.
        unsafe { libc::syscall(libc::SYS_close, descriptor) };
    }
}

/// Whether somebody sits before it. Not for threads with other descriptors.
pub(crate) fn is_terminal() -> bool {
    let mut settings = MaybeUninit::<[u8; 128]>::zeroed();
    // SAFETY: numbers, and more room than the kernel's `termios` needs.
    let result = unsafe { libc::syscall(libc::SYS_ioctl, libc::STDERR_FILENO, libc::TCGETS, settings.as_mut_ptr()) };
    result == 0 && is_it(libc::STDERR_FILENO)
}

/// Writes to a descriptor behind which stderr stands, unless that blocks: a pipe that is full and that nobody empties
/// would keep an exiting thread for ever.
fn write_to(fd: i32, bytes: &[u8]) {
    if is_it(fd) && can_be_written(fd) {
        sys::write(fd, bytes);
    }
}

fn can_be_written(fd: i32) -> bool {
    let mut place = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // The kernel leaves in it what remains.
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: PATIENCE_NS };
    let no_mask = std::ptr::null::<u64>();
    // SAFETY: one pollfd and one time, which outlive the call. A kernel that refuses to tell is no reason to be silent.
    unsafe { libc::syscall(libc::SYS_ppoll, &raw mut place, 1, &raw mut time, no_mask, size_of::<u64>()) != 0 }
}

fn is_it(fd: i32) -> bool {
    let known = (DEVICE.load(Ordering::Relaxed), INODE.load(Ordering::Relaxed).wrapping_sub(1));
    identity(fd) == Some(known)
}

/// Device and inode behind a descriptor.
fn identity(fd: i32) -> Option<(u64, u64)> {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the kernel fills one `stat`.
    let result = unsafe { libc::syscall(libc::SYS_fstat, fd, status.as_mut_ptr()) };
    // SAFETY: zeros, or filled by the kernel: both are a `stat`.
    let status = unsafe { status.assume_init() };
    (result == 0).then_some((status.st_dev, status.st_ino))
}
