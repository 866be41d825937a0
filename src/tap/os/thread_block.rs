//! The kernel's id of another thread of this process, from libc's control block of it (`struct pthread`).
//!
//! Where the id stands in it is no interface. In glibc it has been the same since 2.4, in musl in all of 1.2: it is
//! believed where it is right for the calling thread. The block is copied by the kernel, for a thread that has ended
//! may be gone with its stack.
//!
//! # Safety
//! Asks libc for the calling thread's handle.
#![allow(unsafe_code)]

use super::checked::{self, Copied};
use super::libc_names::is_glibc;
use super::sys;

/// Where the id stands in glibc's.
#[cfg(target_arch = "x86_64")]
const TID_AT: usize = 720;
#[cfg(target_arch = "aarch64")]
const TID_AT: usize = 208;
/// And in musl's; there the words about the stack follow.
#[cfg(target_arch = "x86_64")]
const MUSLS_TID_AT: usize = 48;
#[cfg(target_arch = "aarch64")]
const MUSLS_TID_AT: usize = 32;
/// From the id to `map_base`, `map_size`, `stack`, `stack_size`, `guard_size`.
const MUSLS_STACK_BEHIND: usize = 24;

/// The id of the thread with this control block. `None`: it has ended, or it cannot be told.
pub(crate) fn tid(control_block: usize) -> Option<u32> {
    // SAFETY: takes nothing.
    let own = unsafe { libc::pthread_self() } as usize;
    let is_known = read(own)? == sys::thread_id();
    read(control_block).filter(|&tid| is_known && tid != 0)
}

/// Start and end of the stack that musl has mapped for the thread with this control block: without its guard, with what
/// lies above it. `None`: the thread runs on memory of the program's, or it cannot be told.
pub(crate) fn musls_stack(control_block: usize) -> Option<(usize, usize)> {
    let mut words = [0; 5];
    for (number, word) in words.iter_mut().enumerate() {
        let at = MUSLS_TID_AT + MUSLS_STACK_BEHIND + number * size_of::<usize>();
        *word = usize::from_ne_bytes(copy(control_block, at)?);
    }
    let [base, bytes, end, stack_bytes, guard] = words;
    let (start, limit) = (base.checked_add(guard)?, base.checked_add(bytes)?);
    (base != 0 && end.checked_sub(stack_bytes)? == start && end <= limit).then_some((start, limit))
}

fn read(control_block: usize) -> Option<u32> {
    copy(control_block, if is_glibc() { TID_AT } else { MUSLS_TID_AT }).map(u32::from_ne_bytes)
}

fn copy<const BYTES: usize>(control_block: usize, at: usize) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    let copied = checked::copy(control_block.checked_add(at)?, &mut bytes);
    (copied == Copied::Whole).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_thread_is_known_by_its_control_block_as_long_as_it_runs() {
        let (told, id) = mpsc::channel();
        let (end, wait) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            // SAFETY: takes nothing.
            told.send((unsafe { libc::pthread_self() } as usize, sys::thread_id())).unwrap();
            wait.recv().unwrap();
        });
        let (block, own) = id.recv().unwrap();
        let found = tid(block);
        end.send(()).unwrap();
        thread.join().unwrap();
        assert_eq!(found, Some(own));
        assert_eq!(tid(1 << 47), None);
    }
}
