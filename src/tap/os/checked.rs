//! Reads of memory that may not be there: the kernel copies it, and says where it could not.
//!
//! For every address that was guessed, that a foreign table names, or that a program hands to a system call which the
//! kernel has not looked at yet. The call is `process_vm_readv(2)` on the calling thread itself: it needs no right (the
//! kernel asks none for one's own memory, whatever Yama says), blocks no other thread and costs 0.4-1.5 us, four
//! kilobytes included. By thread id and not by process id: the first thread of a process may have ended, and has no
//! memory then.
//!
//! Old container engines and services refuse it with an error: callers then do without. Where a filter of the program
//! kills for it, it is not called any more (`optional`).
//!
//! # Safety
//! The kernel writes into exclusive buffers of the caller, of the length that it is told, and checks what it reads.
#![allow(unsafe_code)]

use super::faults;
use super::optional::{self, OptionalCall};
use std::ptr;

/// The kernel's answer to a checked copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    /// All bytes are there.
    Whole,
    /// Some of the bytes are not mapped, or not readable.
    Fault,
    /// The kernel, an emulator or a sandbox does not let us ask.
    Refused,
}

/// Copies `into.len()` bytes from `address` on. Changes `errno`.
pub(crate) fn copy(address: usize, into: &mut [u8]) -> Copied {
    outcome(copy_some(address, into), into.len())
}

/// The same for what a program hands to a system call: the one copy that decides what the tap may do, and that is true
/// in a build for fault injection, too.
pub(crate) fn copy_argument(address: usize, into: &mut [u8]) -> Copied {
    outcome(ask_kernel(address, into), into.len())
}

fn outcome(copied: Result<usize, Copied>, wanted: usize) -> Copied {
    match copied {
        Ok(count) if count == wanted => Copied::Whole,
        Ok(_) => Copied::Fault,
        Err(trouble) => trouble,
    }
}

/// Copies what is readable of the `into.len()` bytes from `address` on, up to the first page that is not: how many
/// bytes those were. Changes `errno`.
pub(crate) fn copy_some(address: usize, into: &mut [u8]) -> Result<usize, Copied> {
    let copied = ask_kernel(address, into);
    faults::copied(copied, into, [Copied::Fault, Copied::Refused])
}

fn ask_kernel(address: usize, into: &mut [u8]) -> Result<usize, Copied> {
    if optional::is_deadly(OptionalCall::Copy) {
        return Err(Copied::Refused);
    }
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: ptr::with_exposed_provenance_mut(address), iov_len: into.len() };
    let thread = super::sys::thread_id();
    // SAFETY: `local` is the caller's exclusive buffer; the kernel checks `remote`, which is our own process.
    let count = unsafe {
        libc::syscall(
            libc::SYS_process_vm_readv,
            thread,
            &raw const local,
            1_usize,
            &raw const remote,
            1_usize,
            0_usize,
        )
    };
    match usize::try_from(count) {
        Ok(count) => Ok(count),
        Err(_) if super::sys::errno() == libc::EFAULT => Err(Copied::Fault),
        Err(_) => Err(Copied::Refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_copied_and_what_is_not_is_said() {
        let word = 77_u64;
        let mut bytes = [0; 8];
        let copied = copy((&raw const word).expose_provenance(), &mut bytes);
        if copied == Copied::Refused {
            return;
        }
        assert_eq!((copied, u64::from_ne_bytes(bytes)), (Copied::Whole, 77));
        assert_eq!([8, 1 << 47, usize::MAX - 3].map(|address| copy(address, &mut bytes)), [Copied::Fault; 3]);
    }

    #[test]
    fn a_copy_ends_at_the_first_page_that_is_missing() {
        let start = super::super::map::anonymous(8192).expect("there is memory").as_ptr() as usize;
        // SAFETY: the second of the two pages that were mapped above.
        unsafe { super::super::map::unmap((start + 4096) as *mut u8, 4096) };
        let mut bytes = [1; 64];
        assert_eq!(copy(start + 4096 - 16, &mut bytes), Copied::Fault);
        match copy_some(start + 4096 - 16, &mut bytes) {
            Ok(count) => assert_eq!((count, bytes[15], bytes[16]), (16, 0, 1)),
            Err(trouble) => assert_eq!(trouble, Copied::Refused),
        }
    }
}
