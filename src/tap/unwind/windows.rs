//! Windows: copies of memory that a walk reads through the kernel, because it may go away.
//!
//! Two kinds of memory: stacks that are not the thread's own (coroutines, signal stacks: their neighbours come and go),
//! and unwind tables of objects that can be unloaded, or that a guess has led to. Both are copied a window at a time
//! (`os::checked`), so that a stack costs one system call a page, and a new pc of such an object two or three where
//! others were looked up before (`pivots`). Windows are forgotten between walks: stacks change. What could not be
//! copied is not there.
//!
//! 29 KiB, in the scratch space of a sample, never on the program's stack. No allocation, no lock, no errno.

use super::pivots::Pivots;
use super::reader::Segment;
use crate::tap::os::checked::{self, Copied};
use crate::tap::os::faults;
use crate::tap::os::sys;

const PAGE: usize = 4096;
/// System calls that one walk may make: a runaway costs a millisecond at most.
const MOST_COPIES: u32 = 600;
/// Longest unwind entry of one function; compilers write some hundred bytes.
const ENTRY: usize = 16 << 10;
/// Bytes that are copied of an entry at first, and of what entries have in common.
const SHORT: usize = 1 << 10;

/// A copy of memory.
struct Window<const N: usize> {
    start: usize,
    len: usize,
    bytes: [u8; N],
}

impl<const N: usize> Window<N> {
    const fn new() -> Window<N> {
        Window { start: 0, len: 0, bytes: [0; N] }
    }

    /// Copies as much as there is of `wanted` bytes from `start` on.
    fn load(&mut self, start: usize, wanted: usize) -> Result<(), Copied> {
        (self.start, self.len) = (start, 0);
        let place = self.bytes.get_mut(..wanted.min(N)).ok_or(Copied::Fault)?;
        self.len = sys::keep_errno(|| checked::copy_some(start, place))?;
        Ok(())
    }

    fn segment(&self) -> Segment<'_> {
        Segment { bytes: self.bytes.get(..self.len).unwrap_or(&[]), address: self.start }
    }

    fn word(&self, address: usize) -> Option<usize> {
        let rest = self.segment().reader_at(address)?.rest();
        rest.first_chunk().map(|bytes| faults::word(usize::from_ne_bytes(*bytes)))
    }
}

/// The windows of one walk.
pub(crate) struct Windows {
    stack: [Window<PAGE>; 2],
    search: Window<PAGE>,
    entry: Window<ENTRY>,
    common: Window<SHORT>,
    /// Which of the stack's windows was used last.
    last: usize,
    copies: u32,
    is_guessing: bool,
    /// The generation of rules that pivots of tables are kept in; `None`: none are.
    generation: Option<u64>,
}

impl Windows {
    /// Nothing copied. All bits are zero.
    pub(crate) const fn new() -> Windows {
        Windows {
            stack: [const { Window::new() }; 2],
            search: Window::new(),
            entry: Window::new(),
            common: Window::new(),
            last: 0,
            copies: 0,
            is_guessing: false,
            generation: None,
        }
    }

    /// Forgets the walk before.
    pub(crate) fn begin(&mut self) {
        self.stack.iter_mut().for_each(|window| window.len = 0);
        (self.copies, self.is_guessing, self.generation) = (0, false, None);
    }

    /// Searches of tables go by what others have seen in this generation of rules, and keep what they see.
    pub(super) fn remember(&mut self, generation: u64) {
        self.generation = Some(generation);
    }

    /// What was seen of a table.
    pub(super) fn pivots(&self, table: usize) -> Option<Pivots> {
        self.generation.map(|generation| Pivots::of(table, generation))
    }

    /// System calls of this walk.
    #[cfg(test)]
    pub(super) fn copies(&self) -> u32 {
        self.copies
    }

    /// From here on the walk rests on a guess: what it leads to need not be there.
    pub(crate) fn guess(&mut self) {
        self.is_guessing = true;
    }

    /// Whether the walk rests on a guess.
    pub(crate) fn is_guessing(&self) -> bool {
        self.is_guessing
    }

    /// The aligned word of a foreign stack at `address`.
    pub(super) fn word(&mut self, address: usize) -> Option<usize> {
        if !address.is_multiple_of(size_of::<usize>()) {
            return None;
        }
        let start = address & !(PAGE - 1);
        let holds = |window: &Window<PAGE>| window.len != 0 && window.start == start;
        let place = match self.stack.iter().position(holds) {
            Some(place) => place,
            None => {
                self.count()?;
                let place = self.last ^ 1;
                self.stack.get_mut(place)?.load(start, PAGE).ok()?;
                place
            }
        };
        self.last = place;
        self.stack.get(place)?.word(address)
    }

    /// The readable bytes of the page's length from `address` on, for the search of a table.
    pub(super) fn search(&mut self, address: usize) -> Result<Segment<'_>, Copied> {
        let held = self.search.segment();
        // Half of it: a search asks for a pair in the middle of what it wants to see.
        if held.address > address || address - held.address > held.bytes.len() / 2 {
            self.count().ok_or(Copied::Fault)?;
            self.search.load(address, PAGE)?;
        }
        Ok(self.search.segment())
    }

    /// Copies the unwind entry at `address`, the length of which is its first word.
    pub(super) fn load_entry(&mut self, address: usize) -> Result<(), Copied> {
        self.count().ok_or(Copied::Fault)?;
        self.entry.load(address, SHORT)?;
        let length = self.entry.segment().reader_at(address).and_then(|mut reader| reader.u32()).unwrap_or(0) as usize;
        if length > SHORT - 4 && length <= ENTRY - 4 {
            self.count().ok_or(Copied::Fault)?;
            self.entry.load(address, length + 4)?;
        }
        Ok(())
    }

    /// Copies what entries have in common, at `address`. The last walk's will do: tables do not change, and one that is
    /// gone makes a wrong rule, which reads what is checked.
    pub(super) fn load_common(&mut self, address: usize) -> Result<(), Copied> {
        if self.common.start != address || self.common.len == 0 {
            self.count().ok_or(Copied::Fault)?;
            self.common.load(address, SHORT)?;
        }
        Ok(())
    }

    /// The entry and what it has in common with others, as far as they are copied.
    pub(super) fn entry(&self) -> [Segment<'_>; 2] {
        [self.entry.segment(), self.common.segment()]
    }

    fn count(&mut self) -> Option<()> {
        self.copies += 1;
        (self.copies <= MOST_COPIES).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::os::map;

    #[test]
    #[allow(unsafe_code)]
    fn a_foreign_stack_is_read_page_by_page_until_it_ends() {
        let start = map::anonymous(3 * PAGE).expect("there is memory").as_ptr() as usize;
        for word in (start..start + 2 * PAGE).step_by(8) {
            // SAFETY: inside of what was mapped above.
            unsafe { (word as *mut usize).write(word) };
        }
        // SAFETY: the last of the three pages.
        unsafe { map::unmap((start + 2 * PAGE) as *mut u8, PAGE) };
        let mut windows = Box::new(Windows::new());
        if checked::copy(start, &mut [0; 8]) == Copied::Refused {
            return;
        }
        for address in [start + 8, start + PAGE - 8, start + 2 * PAGE - 8, start] {
            assert_eq!(windows.word(address), Some(address));
        }
        assert_eq!(windows.copies, 2, "a page is copied once");
        assert_eq!([start + 2 * PAGE, start + 1, 0, usize::MAX].map(|address| windows.word(address)), [None; 4]);
        windows.begin();
        assert_eq!((windows.word(start), windows.copies), (Some(start), 1), "a walk later it is copied anew");
    }
}
