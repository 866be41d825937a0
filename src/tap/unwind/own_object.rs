//! The object that this code is in.
//!
//! # Safety
//! Reads our own first page, and a vector of the kernel's that never changes.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};

use super::elf::{self, Range};

unsafe extern "C" {
    /// The linker's name for our own ELF header.
    static __ehdr_start: u8;
}

/// The code of the object that this function is in: `libheaptap.so`, or a test's executable.
///
/// Frames in it are ours. Computed once, without lock: all threads would store the same.
pub(crate) fn own_object() -> (usize, usize) {
    static START: AtomicUsize = AtomicUsize::new(0);
    static END: AtomicUsize = AtomicUsize::new(0);
    let known = (START.load(Ordering::Relaxed), END.load(Ordering::Relaxed));
    if known.0 != 0 && known.1 != 0 {
        return known;
    }
    let Some(Range { start, end }) = own_code() else { return (0, 0) };
    START.store(start, Ordering::Relaxed);
    END.store(end, Ordering::Relaxed);
    (start, end)
}

fn own_code() -> Option<Range> {
    let start = &raw const __ehdr_start as usize;
    // SAFETY: our own first page, mapped as long as we run.
    let segments = unsafe { elf::segments(start) }?;
    elf::code_range(segments, elf::bias(segments, start)?)
}

/// Whether this is the program, libc, or our own library: what can be told of an object where the loader gives no
/// record of it.
pub(super) fn is_essential(mapping: &Range) -> bool {
    // SAFETY: reads a vector that never changes.
    let program = unsafe { libc::getauxval(libc::AT_PHDR) } as usize;
    [program, libc::getauxval as *const () as usize, own_object().0].iter().any(|address| mapping.contains(*address))
}

#[cfg(test)]
mod tests {
    use super::super::objects::find;
    use super::*;

    #[test]
    fn our_own_code_is_known() {
        let (start, end) = own_object();
        let inside = |pc: usize| start <= pc && pc < end;
        assert!(inside(own_object as *const () as usize) && inside(find as *const () as usize));
        assert!(!inside(libc::qsort as *const () as usize) && !inside(&raw const end as usize));
        assert_eq!(own_object(), (start, end));
    }
}
