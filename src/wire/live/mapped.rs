//! Memory that the program has not from malloc: mappings, and the stacks of threads.
//!
//! A record is one range of addresses that one call gave, or what is left of it: all of 64 KiB and more are followed,
//! none is sampled. Its call stack is one of the region's stacks, whose counters are then about mappings: how many
//! ranges and bytes there ever were, and how many are gone.

use super::records::{join, split};

/// What a mapping is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum MappingKind {
    /// Private memory without a file.
    #[default]
    Anonymous = 1,
    /// A file.
    File = 2,
    /// Memory without a file that may be shared.
    Shared = 3,
    /// Address space that could not be touched when it was mapped (PROT_NONE).
    Reserved = 4,
    /// The stack of a thread.
    Stack = 5,
}

impl MappingKind {
    /// All kinds.
    pub(crate) const ALL: [MappingKind; 5] =
        [MappingKind::Anonymous, MappingKind::File, MappingKind::Shared, MappingKind::Reserved, MappingKind::Stack];

    /// Its word in a dump and in JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            MappingKind::Anonymous => "anonymous",
            MappingKind::File => "file",
            MappingKind::Shared => "shared",
            MappingKind::Reserved => "reserved",
            MappingKind::Stack => "stack",
        }
    }

    /// The kind of that word.
    pub(crate) fn of_word(word: &str) -> Option<MappingKind> {
        MappingKind::ALL.into_iter().find(|kind| kind.word() == word)
    }

    fn of_number(number: u32) -> MappingKind {
        MappingKind::ALL.into_iter().find(|kind| *kind as u32 == number).unwrap_or_default()
    }
}

/// Word of a record, counted from its state, that holds the resident bytes plus one; 0: nobody looked. The keeper
/// stores it while the record is live.
pub(crate) const MAPPING_RESIDENT: usize = 6;

/// Smallest range that is followed, bytes. Stacks of threads are followed whatever their size.
pub(crate) const LEAST_MAPPING: usize = 64 << 10;

/// A range of mapped memory (8 words).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MappingRecord {
    /// First address.
    pub(crate) start: u64,
    /// Length.
    pub(crate) bytes: u64,
    /// CLOCK_MONOTONIC when it was mapped, nanoseconds.
    pub(crate) birth_ns: u64,
    /// Index of its stack.
    pub(crate) stack: u32,
    /// Index of the thread that mapped it.
    pub(crate) thread: u32,
    /// What it is of.
    pub(crate) kind: MappingKind,
    /// Of a thread's stack: the kernel's id of the thread.
    pub(crate) tid: u32,
    /// Resident bytes when somebody looked last.
    pub(crate) resident: Option<u64>,
}

impl MappingRecord {
    /// The words after the state word.
    pub(crate) fn pack(&self) -> [u64; 7] {
        [
            self.start,
            self.bytes,
            self.birth_ns,
            join(self.stack, self.thread),
            join(self.kind as u32, self.tid),
            self.resident.map_or(0, |bytes| bytes.saturating_add(1)),
            0,
        ]
    }

    /// Reads what [`pack`](Self::pack) wrote.
    pub(crate) fn unpack(words: [u64; 7]) -> MappingRecord {
        let [start, bytes, birth_ns, indices, kind, resident, _] = words;
        let ((stack, thread), (kind, tid)) = (split(indices), split(kind));
        let resident = resident.checked_sub(1).map(|resident| resident.min(bytes));
        MappingRecord { start, bytes, birth_ns, stack, thread, kind: MappingKind::of_number(kind), tid, resident }
    }

    /// One past its last address.
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_packing() {
        for (kind, resident) in MappingKind::ALL.into_iter().zip([None, Some(0), Some(9), Some(2), Some(1)]) {
            let record = MappingRecord { start: 1, bytes: 9, birth_ns: 3, stack: 4, thread: 5, kind, tid: 6, resident };
            assert_eq!(MappingRecord::unpack(record.pack()), record);
            assert_eq!(MappingKind::of_word(kind.word()), Some(kind));
        }
    }
}
