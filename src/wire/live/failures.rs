//! The first failures of a life: what the program asked for and did not get, and what was in force then.
//!
//! They stand in the region's header, written by the thread that met them: first the failure itself, as that must not
//! wait, then what it took files to find out. A reader that comes between sees a failure of which less is known.

use super::records::{join, split};

/// First header word of the failures.
pub(crate) const FAILURES_AT: usize = 384;
/// Words of one: the first is its state.
pub(crate) const FAILURE_WORDS: usize = 16;
/// The word of one at which its circumstances begin: behind the state and four words of the failure itself.
pub(crate) const CIRCUMSTANCES_AT: usize = 5;
/// How many are kept.
pub(crate) const MOST_FAILURES: usize = 8;
/// State of one that is being written.
pub(crate) const BUSY: u64 = 1;
/// State of one that can be read.
pub(crate) const WHOLE: u64 = 2;

const UNKNOWN: u64 = u64::MAX;

/// What the program asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Wish {
    /// A thread (pthread_create).
    Thread = 1,
    /// Memory (the malloc family).
    Memory = 2,
    /// A mapping (mmap, mremap).
    Mapping = 3,
}

impl Wish {
    const ALL: [Wish; 3] = [Wish::Thread, Wish::Memory, Wish::Mapping];

    /// Its word in a dump.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Wish::Thread => "thread",
            Wish::Memory => "memory",
            Wish::Mapping => "mapping",
        }
    }

    /// The wish of that word.
    pub(crate) fn of_word(word: &str) -> Option<Wish> {
        Wish::ALL.into_iter().find(|wish| wish.word() == word)
    }
}

/// What was in force and in use when something failed; `None`: not known, or no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Circumstances {
    /// Threads of the process.
    pub(crate) threads: Option<u64>,
    /// Its mappings.
    pub(crate) mappings: Option<u64>,
    /// Its resident memory, bytes.
    pub(crate) resident_bytes: Option<u64>,
    /// Its address space, bytes.
    pub(crate) virtual_bytes: Option<u64>,
    /// RLIMIT_NPROC: processes and threads of the user.
    pub(crate) most_processes: Option<u64>,
    /// RLIMIT_AS: bytes of address space.
    pub(crate) most_virtual: Option<u64>,
    /// Tasks of the control group (`pids.current`),
    pub(crate) tasks: Option<u64>,
    /// and how many it may have (`pids.max`).
    pub(crate) most_tasks: Option<u64>,
    /// Memory of the control group, bytes,
    pub(crate) memory_bytes: Option<u64>,
    /// and how much it may have.
    pub(crate) most_memory: Option<u64>,
    /// `vm.max_map_count`.
    pub(crate) most_mappings: Option<u64>,
    /// `vm.overcommit_memory`.
    pub(crate) overcommit: Option<u64>,
}

/// Number of [`Circumstances`].
pub(crate) const CIRCUMSTANCES: usize = 12;

// The last two share a word.
const _: () = assert!(CIRCUMSTANCES_AT + CIRCUMSTANCES - 1 == FAILURE_WORDS);

impl Circumstances {
    /// In the order of declaration.
    pub(crate) fn to_array(self) -> [Option<u64>; CIRCUMSTANCES] {
        [
            self.threads,
            self.mappings,
            self.resident_bytes,
            self.virtual_bytes,
            self.most_processes,
            self.most_virtual,
            self.tasks,
            self.most_tasks,
            self.memory_bytes,
            self.most_memory,
            self.most_mappings,
            self.overcommit,
        ]
    }

    /// Reads what [`to_array`](Self::to_array) made.
    pub(crate) fn of_array(all: [Option<u64>; CIRCUMSTANCES]) -> Circumstances {
        let [threads, mappings, resident_bytes, virtual_bytes, most_processes, most_virtual, ..] = all;
        let [.., tasks, most_tasks, memory_bytes, most_memory, most_mappings, overcommit] = all;
        Circumstances {
            threads,
            mappings,
            resident_bytes,
            virtual_bytes,
            most_processes,
            most_virtual,
            tasks,
            most_tasks,
            memory_bytes,
            most_memory,
            most_mappings,
            overcommit,
        }
    }

    /// The words behind the failure itself.
    pub(crate) fn pack(self) -> [u64; CIRCUMSTANCES - 1] {
        let mut words = [0; CIRCUMSTANCES - 1];
        let word = |value: Option<u64>| value.unwrap_or(UNKNOWN);
        words.iter_mut().zip(self.to_array()).for_each(|(place, value)| *place = word(value));
        // The last two are small.
        let small = |value: Option<u64>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(u32::MAX);
        if let Some(last) = words.last_mut() {
            *last = join(small(self.most_mappings), small(self.overcommit));
        }
        words
    }

    fn unpack(words: &[u64; CIRCUMSTANCES - 1]) -> Circumstances {
        let mut all = [None; CIRCUMSTANCES];
        all.iter_mut().zip(words).for_each(|(place, word)| *place = Some(*word).filter(|&word| word != UNKNOWN));
        let (mappings, overcommit) = split(words.last().copied().unwrap_or(UNKNOWN));
        let known = |value: u32| Some(u64::from(value)).filter(|_| value != u32::MAX);
        Circumstances { most_mappings: known(mappings), overcommit: known(overcommit), ..Circumstances::of_array(all) }
    }
}

/// A failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub(crate) at_ns: u64,
    /// What was asked for.
    pub(crate) wish: Wish,
    /// What came instead.
    pub(crate) errno: u16,
    /// Kernel id of the thread that asked.
    pub(crate) thread: u32,
    /// Bytes of the block, or of the thread's stack; 0: not known.
    pub(crate) bytes: u64,
    /// Number of the call stack.
    pub(crate) stack: Option<u32>,
    /// What was in force.
    pub(crate) circumstances: Circumstances,
}

impl Failure {
    /// The words after the state: four of the failure itself, then its circumstances.
    pub(crate) fn pack(&self) -> [u64; FAILURE_WORDS - 1] {
        let what = join(u32::from(self.wish as u8) | u32::from(self.errno) << 8, self.thread);
        let stack = self.stack.map_or(0, |stack| u64::from(stack) + 1);
        let mut words = [0; FAILURE_WORDS - 1];
        let all = [self.at_ns, what, self.bytes, stack].into_iter().chain(self.circumstances.pack());
        words.iter_mut().zip(all).for_each(|(word, value)| *word = value);
        words
    }

    /// Reads what [`pack`](Self::pack) wrote.
    pub(crate) fn unpack(words: &[u64; FAILURE_WORDS - 1]) -> Option<Failure> {
        let [at_ns, what, bytes, stack, circumstances @ ..] = words;
        let (what, thread) = split(*what);
        let wish = Wish::ALL.into_iter().find(|wish| u32::from(*wish as u8) == what & 0xff)?;
        Some(Failure {
            at_ns: *at_ns,
            wish,
            errno: (what >> 8) as u16,
            thread,
            bytes: *bytes,
            stack: stack.checked_sub(1).and_then(|stack| u32::try_from(stack).ok()),
            circumstances: Circumstances::unpack(circumstances),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_survive_packing() {
        let numbers: [Option<u64>; CIRCUMSTANCES] = std::array::from_fn(|n| (n % 3 != 0).then_some(n as u64 * 7));
        let circumstances = Circumstances::of_array(numbers);
        assert_eq!(circumstances.to_array(), numbers);
        let failure =
            Failure { at_ns: 1, wish: Wish::Thread, errno: 11, thread: 7, bytes: 8, stack: Some(0), circumstances };
        assert_eq!(Failure::unpack(&failure.pack()), Some(failure));
        let bare = Failure { stack: None, circumstances: Circumstances::default(), wish: Wish::Memory, ..failure };
        assert_eq!(Failure::unpack(&bare.pack()), Some(bare));
        assert_eq!(Failure::unpack(&[0; FAILURE_WORDS - 1]), None);
    }
}
