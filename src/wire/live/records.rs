//! The records of a region, and how each is packed into words.
//!
//! `WORDS` of a record follow its state word (`state`), which the writer handles itself.

use super::supply::Supply;
use super::totals::Totals;

/// One sampled allocation that is live (8 words).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SampleRecord {
    /// Address that the program got.
    pub(crate) address: u64,
    /// Usable size that the same request gets unsampled: its size class, bytes.
    pub(crate) usable: u64,
    /// Size that the program asked for, bytes.
    pub(crate) requested: u64,
    /// CLOCK_MONOTONIC at the allocation, nanoseconds.
    pub(crate) birth_ns: u64,
    /// Bytes that this sample stands for: usable / (1 - exp(-requested / period)).
    pub(crate) weight_bytes: u64,
    /// Index of its stack.
    pub(crate) stack: u32,
    /// Index of the thread that allocated it.
    pub(crate) thread: u32,
    /// Sampling period in force at the allocation, bytes.
    pub(crate) period: u64,
}

impl SampleRecord {
    /// The words after the state word.
    pub(crate) fn pack(&self) -> [u64; 7] {
        [
            self.address,
            self.usable,
            self.requested,
            self.birth_ns,
            self.weight_bytes,
            join(self.stack, self.thread),
            self.period,
        ]
    }

    /// Reads what [`pack`](Self::pack) wrote.
    pub(crate) fn unpack(words: [u64; 7]) -> SampleRecord {
        let [address, usable, requested, birth_ns, weight_bytes, indices, period] = words;
        let (stack, thread) = split(indices);
        SampleRecord { address, usable, requested, birth_ns, weight_bytes, stack, thread, period }
    }

    /// Objects that this sample stands for, scaled.
    #[inline]
    pub(crate) fn scaled_objects(&self) -> u64 {
        scaled_objects(self.weight_bytes, self.usable)
    }
}

/// Number of bins in [`StackRecord::ages`].
pub(crate) const AGE_BINS: usize = 32;

/// One distinct call stack (32 words), with what was counted for it.
///
/// Words: 0 state, 1 hash, 2 depth | end << 16 | supply << 24 | first chunk << 32, 8 references,
/// 9 samples ever, 10 objects ever (x 2^16, estimated), 11 bytes ever (estimated),
/// 12 objects freed (as 10), 13 bytes freed (as 11), 14..30 age bins, 31 bytes lost.
///
/// A cache line has eight words. Threads that look for their stack read the first line, which nobody writes to; what a
/// sample and its free count lies in the second, the ages of short lives with it. So a line that two processors write
/// to in turn goes to and fro twice for each pair of them, not four times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StackRecord {
    /// Number of frames.
    pub(crate) depth: u16,
    /// Why it ends (number of a [`StackEnd`](crate::wire::stack_end::StackEnd)).
    pub(crate) end: u8,
    /// What gave the memory that is counted here.
    pub(crate) supply: Supply,
    /// First chunk of its frames.
    pub(crate) first_chunk: u32,
    /// Samples ever taken on it.
    pub(crate) samples: u64,
    /// Objects ever allocated on it, estimated, scaled (see [`scaled_objects`]).
    pub(crate) scaled_objects: u64,
    /// Bytes ever allocated on it, estimated.
    pub(crate) bytes: u64,
    /// Bytes that could not be followed to their free, estimated: the sample found no room.
    pub(crate) lost_bytes: u64,
    /// Objects freed on it, estimated, scaled.
    pub(crate) freed_objects: u64,
    /// Bytes freed on it, estimated.
    pub(crate) freed_bytes: u64,
    /// Freed samples by age: bin [`age_bin`].
    pub(crate) ages: [u32; AGE_BINS],
}

/// Word of a stack record that counts references (live samples, and samples that are being added).
pub(crate) const STACK_REFERENCES: usize = 8;
/// Word of a stack record that holds its hash.
pub(crate) const STACK_HASH: usize = 1;
/// Word of a stack record with depth, end and first chunk.
pub(crate) const STACK_SHAPE: usize = 2;
/// Word of a stack record that counts samples ever; objects ever, in sixteenths, and bytes ever follow.
pub(crate) const STACK_SAMPLES: usize = 9;
/// Word of a stack record that counts bytes that could not be followed.
pub(crate) const STACK_LOST: usize = 31;
/// Word of a stack record that counts the objects freed, as those ever; bytes freed follow.
pub(crate) const STACK_FREED: usize = 12;
/// First word of the age bins, two bins to a word.
pub(crate) const STACK_AGES: usize = 14;

/// Packs a stack's shape word.
pub(crate) fn stack_shape(depth: u16, end: u8, supply: Supply, first_chunk: u32) -> u64 {
    u64::from(depth) | u64::from(end) << 16 | (supply as u64) << 24 | u64::from(first_chunk) << 32
}

/// What gave the memory that the stack of this shape word counts.
pub(crate) fn supply_of(shape: u64) -> Supply {
    Supply::of_number((shape >> 24) as u8)
}

/// Objects that a sample of so many usable bytes stands for if it stands for `weight_bytes`, as they are summed up: in
/// units of 2^-16, because a sixteenth would be three percent of a weight near one. Whole numbers: what is added at a
/// birth is taken off at the death, to the last bit.
#[inline]
pub(crate) fn scaled_objects(weight_bytes: u64, usable: u64) -> u64 {
    let usable = usable.max(1);
    // Larger ones are no blocks.
    (weight_bytes.min(u64::MAX >> OBJECTS_LG) << OBJECTS_LG) / usable
}

/// Objects of a scaled number.
pub(crate) fn objects(scaled: u64) -> f64 {
    scaled as f64 / (1u64 << OBJECTS_LG) as f64
}

/// Binary digits of a scaled number of objects behind the point.
pub(crate) const OBJECTS_LG: u32 = 16;

impl StackRecord {
    /// What is live of it and what was allocated, as far as it is counted.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            live_objects: self.scaled_objects.saturating_sub(self.freed_objects),
            live_bytes: self.bytes.saturating_sub(self.freed_bytes),
            ever_objects: self.scaled_objects,
            ever_bytes: self.bytes,
        }
    }

    /// The words after the state word, for a reader: without hash and references.
    pub(crate) fn pack(&self) -> [u64; 31] {
        let mut words = [0; 31];
        let mut set = |n: usize, value: u64| {
            if let Some(word) = words.get_mut(n - 1) {
                *word = value;
            }
        };
        set(STACK_SHAPE, stack_shape(self.depth, self.end, self.supply, self.first_chunk));
        set(STACK_SAMPLES, self.samples);
        set(STACK_SAMPLES + 1, self.scaled_objects);
        set(STACK_SAMPLES + 2, self.bytes);
        set(STACK_LOST, self.lost_bytes);
        set(STACK_FREED, self.freed_objects);
        set(STACK_FREED + 1, self.freed_bytes);
        for (n, ages) in self.ages.chunks_exact(2).enumerate() {
            let age = |bin: usize| ages.get(bin).copied().unwrap_or(0);
            set(STACK_AGES + n, join(age(0), age(1)));
        }
        words
    }

    /// Reads a record through `word(i)`, the i-th of its 32 words.
    pub(crate) fn unpack(word: impl Fn(usize) -> u64) -> StackRecord {
        let shape = word(STACK_SHAPE);
        let mut ages = [0; AGE_BINS];
        for (bin, age) in ages.iter_mut().enumerate() {
            *age = (word(STACK_AGES + bin / 2) >> (32 * (bin % 2))) as u32;
        }
        StackRecord {
            depth: shape as u16,
            end: (shape >> 16) as u8,
            supply: supply_of(shape),
            first_chunk: (shape >> 32) as u32,
            samples: word(STACK_SAMPLES),
            scaled_objects: word(STACK_SAMPLES + 1),
            bytes: word(STACK_SAMPLES + 2),
            lost_bytes: word(STACK_LOST),
            freed_objects: word(STACK_FREED),
            freed_bytes: word(STACK_FREED + 1),
            ages,
        }
    }
}

/// The age bin of a freed sample: bin b holds ages from 2^(16+b) ns (bin 0: everything below
/// 131 us) up to the next; the last bin everything from 39 hours on.
pub(crate) fn age_bin(age_ns: u64) -> usize {
    let log2 = 63 - (age_ns | 1).leading_zeros() as usize;
    log2.saturating_sub(16).min(AGE_BINS - 1)
}

/// Frames that one chunk holds, after one word with the index of the next chunk plus one (0: the last).
pub(crate) const CHUNK_FRAMES: usize = 15;

/// A thread that has sampled (8 words).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadRecord {
    /// Kernel thread id.
    pub(crate) tid: u32,
    /// Its name (at most 15 bytes, NUL-padded), when last looked at.
    pub(crate) name: [u8; 16],
}

impl ThreadRecord {
    /// The words after the state word that are in use.
    pub(crate) fn pack(&self) -> [u64; 3] {
        let name = u128::from_le_bytes(self.name);
        [u64::from(self.tid), name as u64, (name >> 64) as u64]
    }

    /// Reads what [`pack`](Self::pack) wrote.
    pub(crate) fn unpack(words: [u64; 3]) -> ThreadRecord {
        let [tid, low, high] = words;
        let name = u128::from(high) << 64 | u128::from(low);
        ThreadRecord { tid: tid as u32, name: name.to_le_bytes() }
    }

    /// The name without padding, if there is one.
    pub(crate) fn name(&self) -> Option<&[u8]> {
        self.name.split(|&byte| byte == 0).next().filter(|name| !name.is_empty())
    }
}

/// Bytes that one chunk of names holds, after one word with the index of the next chunk plus one (0: the last).
pub(crate) const CHUNK_BYTES: usize = 56;

/// Word of a method record that says when it was last asked for, for the writer alone.
pub(crate) const METHOD_USED: usize = 2;
/// Word of a method record that holds the hash of both names, for the writer's index.
pub(crate) const METHOD_HASH: usize = 3;

/// A Java method (or the text of a pseudo frame): what fake pcs stand for (4 words).
///
/// Words: 0 state (its generation is the life in [`java_pc::number`](crate::wire::java_pc::number)),
/// 1 first chunk | class length << 32 | method length << 48, 2 [`METHOD_USED`], 3 [`METHOD_HASH`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct JavaMethodRecord {
    /// First chunk of the names: that of the class in internal form, `java/util/zip/Deflater`, and right behind it the
    /// method's.
    pub(crate) first_chunk: u32,
    /// Bytes of the class; 0 for a pseudo frame.
    pub(crate) class_len: u16,
    /// Bytes of the method, or of the text of a pseudo frame.
    pub(crate) method_len: u16,
}

impl JavaMethodRecord {
    /// Word 1.
    pub(crate) fn pack(&self) -> u64 {
        join(self.first_chunk, u32::from(self.class_len) | u32::from(self.method_len) << 16)
    }

    /// Reads what [`pack`](Self::pack) wrote.
    pub(crate) fn unpack(word: u64) -> JavaMethodRecord {
        let (first_chunk, lengths) = split(word);
        JavaMethodRecord { first_chunk, class_len: lengths as u16, method_len: (lengths >> 16) as u16 }
    }
}

pub(crate) fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

pub(crate) fn split(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_packing() {
        let sample = SampleRecord {
            address: 1,
            usable: 2,
            requested: 3,
            birth_ns: 4,
            weight_bytes: 5,
            stack: 6,
            thread: 7,
            period: 8,
        };
        assert_eq!(SampleRecord::unpack(sample.pack()), sample);
        let mut stack = StackRecord { depth: 3, end: 4, first_chunk: 5, samples: 6, ..StackRecord::default() };
        (stack.scaled_objects, stack.bytes, stack.ages[0], stack.ages[31]) = (7, 8, 9, 10);
        let words = stack.pack();
        assert_eq!(StackRecord::unpack(|n| words[n - 1]), stack);
        let thread = ThreadRecord { tid: 77, name: *b"elasticsearch[n\0" };
        assert_eq!(ThreadRecord::unpack(thread.pack()), thread);
        assert_eq!(thread.name(), Some(&b"elasticsearch[n"[..]));
        let method = JavaMethodRecord { first_chunk: u32::MAX, class_len: 10, method_len: u16::MAX };
        assert_eq!(JavaMethodRecord::unpack(method.pack()), method);
    }

    #[test]
    fn ages_fall_into_powers_of_two() {
        let bins = [0, 1 << 16, (1 << 17) - 1, 1 << 17, 1 << 40, u64::MAX].map(age_bin);
        assert_eq!(bins, [0, 0, 0, 1, 24, AGE_BINS - 1]);
    }
}
