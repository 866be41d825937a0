//! Reads memory of this process that may go away meanwhile: the kernel copies it, and says so where there is none.
//!
//! By a checked copy, or where a filter of the program does not allow that, through `/proc/self/mem`. For errands: it
//! may open a file.

use super::checked::{self, Copied};
use super::file::File;
use std::cell::OnceCell;

/// A reader of this process's memory.
#[derive(Default)]
pub(crate) struct Peek {
    /// Opened when the system call is refused for the first time.
    memory: OnceCell<Option<File>>,
}

impl Peek {
    /// Fills the buffer from an address on. `false`: not all of it is there to be read.
    pub(crate) fn at(&self, address: usize, into: &mut [u8]) -> bool {
        if self.memory.get().is_none() {
            match checked::copy(address, into) {
                Copied::Whole => return true,
                Copied::Fault => return false,
                Copied::Refused => {}
            }
        }
        let memory = self.memory.get_or_init(|| File::open(c"/proc/self/mem"));
        memory.as_ref().is_some_and(|memory| memory.fill_from(address as u64, into))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_read_and_what_is_not_is_refused() {
        let word = 0x1234_5678_9abc_def0_u64.to_ne_bytes();
        let address = word.as_ptr().expose_provenance();
        for peek in [Peek::default(), Peek { memory: OnceCell::from(File::open(c"/proc/self/mem")) }] {
            let mut copy = [0; 8];
            assert!(peek.at(address, &mut copy) && copy == word);
            assert!(!peek.at(8, &mut copy) && !peek.at(usize::MAX - 64, &mut copy));
        }
    }
}
