//! The history in a region: a timeline of the process, events beside it, and rows of what each stack held.
//!
//! The keeper alone writes it. A **moment** ([`Moment`]) is one checkpoint of the process; its *tick* is the second of
//! the life that it stands for. At some moments it looks at every stack, too: a stack whose sums have changed since
//! then gets an **entry** (tick, [`Totals`]) in its row. What a stack held at a moment is its latest entry that is not
//! younger. When there is no room for another moment every second one goes, and an entry of a tick that went is
//! given the next one that stayed: no answer about a moment that stayed is changed by that. So a reader may see rows of
//! before or after; what it must not see is a moment whose entries are not all written, or are already given to
//! later ones. The keeper writes entries before their moment, and takes moments away before it touches their entries; a
//! reader keeps the moments that were there before and after it read the rows.
//!
//! Stacks that were recycled are in no row. Each moment has the totals of all rows at its time and of what was
//! recycled before, so what is in no row any more is a difference, never negative but for what was counted meanwhile.

use super::records::{join, split};
use super::totals::Totals;

/// Most moments that a region keeps.
pub(crate) const MOST_MOMENTS: usize = 256;
/// Most of them at which stacks were looked at.
pub(crate) const MOST_ROW_MOMENTS: usize = 32;
/// Words of a moment after its state word.
pub(crate) const MOMENT_WORDS: usize = 39;
/// Most incidents that a region keeps.
pub(crate) const MOST_INCIDENTS: usize = 256;
/// Classes of resident memory that a moment has room for.
pub(crate) const CLASSES: usize = 12;
/// Entries in one record of a row.
pub(crate) const ENTRIES: usize = 3;
/// Words of a record of a row after its state word.
pub(crate) const ROW_WORDS: usize = 15;

/// A word that says: not known.
const UNKNOWN: u64 = u64::MAX;

/// The process at one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Second of the life that it stands for.
    pub(crate) tick: u32,
    /// Whether every stack was looked at.
    pub(crate) has_rows: bool,
    /// How many resets there were before: rows of before another one are of nothing that is now.
    pub(crate) resets: u32,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub(crate) at_ns: u64,
    /// Live bytes, estimated.
    pub(crate) live_bytes: u64,
    /// Live objects, estimated and scaled.
    pub(crate) live_objects: u64,
    /// Bytes requested since the start, estimated.
    pub(crate) allocated_bytes: u64,
    /// Sampling period in force, bytes.
    pub(crate) period: u64,
    /// Resident memory, bytes.
    pub(crate) resident_bytes: Option<u64>,
    /// Of it, anonymous memory, bytes.
    pub(crate) anonymous_bytes: Option<u64>,
    /// Of it, mapped files, bytes.
    pub(crate) file_bytes: Option<u64>,
    /// Of it, shared memory, bytes.
    pub(crate) shared_bytes: Option<u64>,
    /// Pages of malloc that may be resident: those that blocks lie in, and free ones that the allocator keeps, bytes.
    pub(crate) malloc_bytes: Option<u64>,
    /// What the control group uses, bytes.
    pub(crate) group_used_bytes: Option<u64>,
    /// What it may use, bytes.
    pub(crate) group_limit_bytes: Option<u64>,
    /// Threads.
    pub(crate) threads: Option<u64>,
    /// Open descriptors.
    pub(crate) descriptors: Option<u64>,
    /// Bytes in use of the Java heap.
    pub(crate) java_used_bytes: Option<u64>,
    /// Bytes committed to the Java heap.
    pub(crate) java_committed_bytes: Option<u64>,
    /// Of all stacks together, where `has_rows`; those that were recycled before included.
    pub(crate) totals: Totals,
    /// Classes of the resident memory, bytes, in the order of [`MEASURED`](crate::wire::resident::class::MEASURED), and
    /// as the last what is swapped out; all zeros: nobody looked.
    pub(crate) classes: [u64; CLASSES],
}

impl Moment {
    /// The words after the state word.
    pub(crate) fn pack(&self) -> [u64; MOMENT_WORDS] {
        let known = |value: Option<u64>| value.unwrap_or(UNKNOWN);
        let mut words = [0; MOMENT_WORDS];
        let head = [
            u64::from(self.tick) << 1 | u64::from(self.has_rows),
            u64::from(self.resets),
            self.at_ns,
            self.live_bytes,
            self.live_objects,
            self.allocated_bytes,
            self.period,
            known(self.resident_bytes),
            known(self.group_used_bytes),
            known(self.group_limit_bytes),
            known(self.threads),
            known(self.descriptors),
            known(self.java_used_bytes),
            known(self.java_committed_bytes),
        ];
        let resident = [self.anonymous_bytes, self.file_bytes, self.shared_bytes, self.malloc_bytes].map(known);
        let all = head.into_iter().chain(self.totals.to_words()).chain(self.classes).chain(resident);
        words.iter_mut().zip(all).for_each(|(word, value)| *word = value);
        words
    }

    /// Reads what [`pack`](Self::pack) wrote.
    pub(crate) fn unpack(words: &[u64; MOMENT_WORDS]) -> Moment {
        let word = |at: usize| words.get(at).copied().unwrap_or(0);
        let known = |at: usize| Some(word(at)).filter(|&value| value != UNKNOWN);
        Moment {
            tick: (word(0) >> 1) as u32,
            has_rows: word(0) & 1 != 0,
            resets: word(1) as u32,
            at_ns: word(2),
            live_bytes: word(3),
            live_objects: word(4),
            allocated_bytes: word(5),
            period: word(6),
            resident_bytes: known(7),
            group_used_bytes: known(8),
            group_limit_bytes: known(9),
            threads: known(10),
            descriptors: known(11),
            java_used_bytes: known(12),
            java_committed_bytes: known(13),
            totals: Totals::of_words([word(14), word(15), word(16), word(17)]),
            classes: std::array::from_fn(|n| word(18 + n)),
            anonymous_bytes: known(30),
            file_bytes: known(31),
            shared_bytes: known(32),
            malloc_bytes: known(33),
        }
    }
}

/// What a stack's sums were from a tick on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The tick at which they were found.
    pub(crate) tick: u32,
    /// The sums.
    pub(crate) totals: Totals,
}

/// A record of a row: some entries of one stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowRecord {
    /// Number of the stack.
    pub(crate) stack: u32,
    /// Which stack of that number: the low half of its record's generation.
    pub(crate) generation: u32,
    /// The record with the stack's entries before these, for the writer.
    pub(crate) previous: Option<u32>,
    /// Oldest first; those that there are not are at the end.
    pub(crate) entries: [Option<Entry>; ENTRIES],
}

impl RowRecord {
    /// The words after the state word: who, previous and the first tick, the other ticks, the sums.
    pub(crate) fn pack(&self) -> [u64; ROW_WORDS] {
        let tick = |n: usize| self.entries.get(n).copied().flatten().map_or(0, |entry| entry.tick.wrapping_add(1));
        let sums = |entry: Option<Entry>| entry.map_or([0; 4], |entry| entry.totals.to_words());
        let head = [
            join(self.stack, self.generation),
            join(self.previous.map_or(0, |previous| previous.wrapping_add(1)), tick(0)),
            join(tick(1), tick(2)),
        ];
        let mut words = [0; ROW_WORDS];
        let all = head.into_iter().chain(self.entries.into_iter().flat_map(sums));
        words.iter_mut().zip(all).for_each(|(word, value)| *word = value);
        words
    }

    /// Reads what [`pack`](Self::pack) wrote.
    pub(crate) fn unpack(words: &[u64; ROW_WORDS]) -> RowRecord {
        let word = |at: usize| words.get(at).copied().unwrap_or(0);
        let (stack, generation) = split(word(0));
        let (previous, first) = split(word(1));
        let (second, third) = split(word(2));
        let ticks = [first, second, third];
        let entry = |n: usize| {
            let at = 3 + 4 * n;
            let totals = Totals::of_words([word(at), word(at + 1), word(at + 2), word(at + 3)]);
            Some(Entry { tick: ticks.get(n)?.checked_sub(1)?, totals })
        };
        RowRecord { stack, generation, previous: previous.checked_sub(1), entries: std::array::from_fn(entry) }
    }
}

/// What a row held at a tick: its latest entry that is not younger.
pub(crate) fn at(row: &[Entry], tick: u32) -> Totals {
    let after = row.partition_point(|entry| entry.tick <= tick);
    after.checked_sub(1).and_then(|last| row.get(last)).map_or(Totals::default(), |entry| entry.totals)
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incident {
    /// CLOCK_MONOTONIC, nanoseconds: when the keeper saw it.
    pub(crate) at_ns: u64,
    /// What it was.
    pub(crate) kind: EventKind,
    /// See [`EventKind`].
    pub(crate) value: u64,
}

impl Incident {
    /// The words after the state word.
    pub(crate) fn pack(&self) -> [u64; 3] {
        [self.at_ns, self.kind as u64, self.value]
    }

    /// Reads what [`pack`](Self::pack) wrote.
    pub(crate) fn unpack([at_ns, kind, value]: [u64; 3]) -> Option<Incident> {
        Some(Incident { at_ns, kind: EventKind::of_number(kind)?, value })
    }
}

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum EventKind {
    /// Sampling began, or was switched on again.
    SamplingStarted = 1,
    /// Sampling was switched off.
    SamplingStopped = 2,
    /// A dump was written; the value counts them.
    Dump = 3,
    /// A dump could not be written; the value counts them.
    DumpFailed = 4,
    /// Somebody set another sampling period; the value is the new one.
    Rate = 5,
    /// The governor changed the period, because sampling cost too much or did not any more; the value is the new one.
    Governor = 6,
    /// All samples were forgotten.
    Reset = 7,
    /// The program was refused memory; the value counts that.
    RefusedMemory = 8,
    /// The kernel killed for want of memory in this control group; the value counts that.
    OutOfMemory = 9,
    /// A thread could not be started; the value counts that.
    RefusedThread = 10,
}

impl EventKind {
    /// All kinds.
    pub(crate) const ALL: [EventKind; 10] = [
        EventKind::SamplingStarted,
        EventKind::SamplingStopped,
        EventKind::Dump,
        EventKind::DumpFailed,
        EventKind::Rate,
        EventKind::Governor,
        EventKind::Reset,
        EventKind::RefusedMemory,
        EventKind::OutOfMemory,
        EventKind::RefusedThread,
    ];

    /// Its word in a dump.
    pub(crate) fn word(self) -> &'static str {
        match self {
            EventKind::SamplingStarted => "sampling-started",
            EventKind::SamplingStopped => "sampling-stopped",
            EventKind::Dump => "dump",
            EventKind::DumpFailed => "dump-failed",
            EventKind::Rate => "rate",
            EventKind::Governor => "governor",
            EventKind::Reset => "reset",
            EventKind::RefusedMemory => "refused-memory",
            EventKind::OutOfMemory => "out-of-memory",
            EventKind::RefusedThread => "refused-thread",
        }
    }

    /// The kind of that word.
    pub(crate) fn of_word(word: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The kind of that number.
    pub(crate) fn of_number(number: u64) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| *kind as u64 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_packing() {
        let totals = Totals { live_objects: 1, live_bytes: 2, ever_objects: 3, ever_bytes: 4 };
        let mut moment = Moment { tick: u32::MAX, has_rows: true, resets: 5, at_ns: 6, totals, ..Moment::default() };
        (moment.resident_bytes, moment.java_committed_bytes, moment.classes[CLASSES - 1]) = (Some(0), Some(7), 8);
        (moment.anonymous_bytes, moment.malloc_bytes) = (Some(9), Some(0));
        assert_eq!(Moment::unpack(&moment.pack()), moment);
        let entry = |tick| Some(Entry { tick, totals });
        let mut row = RowRecord { stack: 9, generation: 10, previous: Some(0), entries: [entry(0), entry(7), None] };
        assert_eq!(RowRecord::unpack(&row.pack()), row);
        (row.entries[2], row.previous) = (entry(u32::MAX - 1), None);
        assert_eq!(RowRecord::unpack(&row.pack()), row);
        for kind in EventKind::ALL {
            let incident = Incident { at_ns: 1, kind, value: 2 };
            assert_eq!(Incident::unpack(incident.pack()), Some(incident));
            assert_eq!(EventKind::of_word(kind.word()), Some(kind));
        }
    }

    #[test]
    fn a_row_holds_what_its_latest_entry_says() {
        let entry = |tick, live_bytes| Entry { tick, totals: Totals { live_bytes, ..Totals::default() } };
        let row = [entry(4, 40), entry(9, 90)];
        assert_eq!([0, 4, 8, 9, 100].map(|tick| at(&row, tick).live_bytes), [0, 40, 40, 90, 90]);
    }
}
