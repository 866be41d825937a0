//! A mirror: a snapshot as a file of the region's own layout, beside the dumps, on a disk.
//!
//! It is what remains when a container goes with its tmpfs. Sections hold what is live and no more; the last word
//! is a checksum over all before it, because a disk may keep half of a file that was whole in memory. Readers of
//! regions read mirrors, too.

use super::failures::{FAILURE_WORDS, FAILURES_AT, Failure, MOST_FAILURES, WHOLE};
use super::history::{ENTRIES, Entry, RowRecord};
use super::layout::{Head, Layout, LayoutError, MAGIC, MIRROR, SectionId};
use super::mapped::MappingRecord;
use super::records::{CHUNK_BYTES, CHUNK_FRAMES, JavaMethodRecord};
use super::snapshot::{JavaMethod, Snapshot};
use super::state::{self, LIVE};
use crate::wire::crc::Crc;
use crate::wire::{java_pc, order, word};
use std::io::{self, Write};

/// Generation of all records but methods.
const GENERATION: u64 = 1;
/// Stands above the checksum, so that zeros are none.
const SEAL: u64 = 0x5ea1 << 32;

/// Checks the words of a mirror against their checksum.
pub(crate) fn check(words: &[u64]) -> Result<(), LayoutError> {
    let Some((seal, sealed)) = words.split_last() else { return Err(LayoutError::Checksum) };
    let mut crc = Crc::new();
    sealed.iter().for_each(|word| crc.add(&word.to_ne_bytes()));
    if *seal == SEAL | u64::from(crc.value()) { Ok(()) } else { Err(LayoutError::Checksum) }
}

/// Writes a snapshot as a mirror.
pub(crate) fn write(snapshot: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    let writer = Writer::of(snapshot);
    let mut out = Sealed { out, crc: Crc::new() };
    writer.header(&mut out)?;
    writer.counters(&mut out)?;
    writer.text(&mut out)?;
    writer.timeline(&mut out)?;
    writer.events(&mut out)?;
    writer.threads(&mut out)?;
    writer.java_methods(&mut out)?;
    writer.names(&mut out)?;
    writer.rows(&mut out)?;
    writer.stacks(&mut out)?;
    writer.chunks(&mut out)?;
    writer.samples(&mut out)?;
    writer.mappings(&mut out)?;
    out.seal()
}

/// Words on their way into the file and its checksum.
struct Sealed<'a> {
    out: &'a mut dyn Write,
    crc: Crc,
}

impl Sealed<'_> {
    fn word(&mut self, word: u64) -> io::Result<()> {
        let bytes = word.to_ne_bytes();
        self.crc.add(&bytes);
        self.out.write_all(&bytes)
    }

    /// A record of a section that has `words` words after its state; `None`: a place without one.
    fn record(&mut self, id: SectionId, words: Option<&[u64]>) -> io::Result<()> {
        self.record_of(id, GENERATION, words)
    }

    /// The same in a generation.
    fn record_of(&mut self, id: SectionId, generation: u64, words: Option<&[u64]>) -> io::Result<()> {
        self.word(words.map_or(0, |_| state::word(LIVE, generation)))?;
        let mut words = words.unwrap_or_default().iter();
        (1..id.record_words()).try_for_each(|_| self.word(words.next().copied().unwrap_or(0)))
    }

    fn bytes(&mut self, bytes: &[u8], words: usize) -> io::Result<()> {
        let mut chunks = bytes.chunks(8);
        (0..words).try_for_each(|_| {
            let mut word = [0; 8];
            word.iter_mut().zip(chunks.next().unwrap_or_default()).for_each(|(to, from)| *to = *from);
            self.word(u64::from_le_bytes(word))
        })
    }

    fn seal(self) -> io::Result<()> {
        let seal = SEAL | u64::from(self.crc.value());
        self.out.write_all(&seal.to_ne_bytes())
    }
}

struct Writer<'a> {
    snapshot: &'a Snapshot,
    layout: Layout,
    text: Vec<u8>,
    /// Java methods by their records, with the generation that a record is in.
    methods: Vec<(u32, u64, &'a JavaMethod)>,
    /// Numbers of the stacks as the region has them: a stack's place here is its number in the mirror.
    stacks: Vec<u32>,
}

impl<'a> Writer<'a> {
    fn of(snapshot: &'a Snapshot) -> Writer<'a> {
        let text = snapshot.text.to_bytes();
        let methods = snapshot.java_methods.iter();
        let mut methods: Vec<(u32, u64, &JavaMethod)> =
            methods.map(|(number, method)| (java_pc::record(*number), java_pc::life(*number), method)).collect();
        order::by_number(&mut methods, |(record, ..)| u64::from(*record));
        // Of several that a record held the last one stays.
        methods.dedup_by(|later, earlier| {
            let is_same = later.0 == earlier.0;
            if is_same {
                *earlier = *later;
            }
            is_same
        });
        let stacks: Vec<u32> = snapshot.stacks.keys().copied().collect();
        let chunks = snapshot.stacks.values().map(|stack| snapshot.frames(stack).len().div_ceil(CHUNK_FRAMES)).sum();
        let end = |last: Option<&u32>| last.map_or(0, |last| *last as usize + 1);
        let layout = Layout::compact([
            snapshot.counters_in_use(),
            2 * word::needed_for(text.len()),
            snapshot.timeline.len(),
            snapshot.events.len(),
            end(snapshot.threads.keys().next_back()),
            end(methods.last().map(|(record, ..)| record)),
            methods.iter().map(|(.., method)| name_chunks(method)).sum(),
            snapshot.stacks.values().map(|stack| row_records(stack.row.as_deref()).count()).sum(),
            stacks.len(),
            chunks,
            snapshot.samples.len(),
            snapshot.mappings.len(),
        ]);
        Writer { snapshot, layout, text, methods, stacks }
    }

    fn count(&self, id: SectionId) -> usize {
        self.layout.section(id).capacity
    }

    fn header(&self, out: &mut Sealed<'_>) -> io::Result<()> {
        let snapshot = self.snapshot;
        let mut header = vec![0; super::layout::HEADER_WORDS];
        let mut set = |index: usize, value: u64| {
            if let Some(word) = header.get_mut(index) {
                *word = value;
            }
        };
        self.layout.header().for_each(|(index, value)| set(index, value));
        SectionId::ALL.into_iter().for_each(|id| set(Layout::used_word(id), self.count(id) as u64));
        let head = [
            (Head::Magic, MAGIC),
            // The checksum's word is one more.
            (Head::Words, self.layout.words() as u64 + 1),
            (Head::Pid, u64::from(snapshot.pid)),
            (Head::Token, snapshot.token),
            (Head::StartWallNs, snapshot.start_wall_ns),
            (Head::StartMonotonicNs, snapshot.start_monotonic_ns),
            (Head::Period, snapshot.period),
            (Head::PidNamespace, snapshot.pid_namespace),
            (Head::PulseNs, snapshot.pulse_ns),
            (Head::Text, self.text.len() as u64),
            (Head::Kind, MIRROR),
            (Head::Guarded, u64::from(snapshot.is_guarded)),
            (Head::Significant, u64::from(snapshot.is_significant)),
            (Head::Ending, u64::from(snapshot.is_ending)),
            (Head::Torn, snapshot.torn),
            (Head::Paused, u64::from(snapshot.is_paused)),
            (Head::SinceNs, snapshot.since_ns),
            (Head::Resets, snapshot.resets),
        ];
        head.into_iter().for_each(|(word, value)| set(word as usize, value));
        for (n, failure) in snapshot.failures.iter().take(MOST_FAILURES).enumerate() {
            let stack = failure.stack.and_then(|stack| self.stacks.binary_search(&stack).ok());
            let failure = Failure { stack: stack.map(|stack| stack as u32), ..*failure };
            let at = FAILURES_AT + n * FAILURE_WORDS;
            let words = [WHOLE].into_iter().chain(failure.pack());
            (at..).zip(words).for_each(|(at, word)| set(at, word));
        }
        header.into_iter().try_for_each(|word| out.word(word))
    }

    fn counters(&self, out: &mut Sealed<'_>) -> io::Result<()> {
        (0..self.count(SectionId::Counters)).try_for_each(|index| out.word(self.snapshot.counter_at(index)))
    }

    /// The first half of the section holds it; the second, which a live region needs, nothing.
    fn text(&self, out: &mut Sealed<'_>) -> io::Result<()> {
        out.bytes(&self.text, self.count(SectionId::Text))
    }

    fn timeline(&self, out: &mut Sealed<'_>) -> io::Result<()> {
        let mut moments = self.snapshot.timeline.iter();
        moments.try_for_each(|moment| out.record(SectionId::Timeline, Some(&moment.pack())))
    }

    fn events(&self, out: &mut Sealed<'_>) -> io::Result<()> {
        let mut events = self.snapshot.events.iter();
        events.try_for_each(|event| out.record(SectionId::Events, Some(&event.pack())))
    }

    /// Stacks have the generation here that [`Sealed::record`] gives all records.
    fn rows(&self, out: &mut Sealed<'_>) -> io::Result<()> {
        for (stack, number) in self.snapshot.stacks.values().zip(0..) {
            for entries in row_records(stack.row.as_deref()) {
                let record = RowRecord { stack: number, generation: GENERATION as u32, previous: None, entries };
                out.record(SectionId::Rows, Some(&record.pack()))?;
            }
        }
        Ok(())
    }

    fn threads(&self, out: &mut Sealed<'_>) -> io::Result<()> {
        (0..self.count(SectionId::Threads) as u32).try_for_each(|index| {
            let record = self.snapshot.threads.get(&index).map(|thread| thread.pack());
            out.record(SectionId::Threads, record.as_ref().map(|record| &record[..]))
        })
    }

    fn java_methods(&self, out: &mut Sealed<'_>) -> io::Result<()> {
        let mut first_chunk = 0;
        (0..self.count(SectionId::JavaMethods) as u32).try_for_each(|index| {
            let found = self.methods.binary_search_by_key(&index, |(record, ..)| *record).ok();
            let Some((_, generation, method)) = found.and_then(|found| self.methods.get(found)) else {
                return out.record(SectionId::JavaMethods, None);
            };
            let (class_len, method_len) = (method.class.len() as u16, method.method.len() as u16);
            let record = JavaMethodRecord { first_chunk, class_len, method_len };
            first_chunk += name_chunks(method) as u32;
            out.record_of(SectionId::JavaMethods, *generation, Some(&[record.pack()]))
        })
    }

    fn names(&self, out: &mut Sealed<'_>) -> io::Result<()> {
        let mut number = 0;
        for (.., method) in &self.methods {
            let names = [&method.class[..], &method.method].concat();
            let last = names.len().div_ceil(CHUNK_BYTES);
            for (n, chunk) in names.chunks(CHUNK_BYTES).enumerate() {
                number += 1;
                out.word(if n + 1 == last { 0 } else { number + 1 })?;
                out.bytes(chunk, word::whole_in(CHUNK_BYTES))?;
            }
        }
        Ok(())
    }

    fn stacks(&self, out: &mut Sealed<'_>) -> io::Result<()> {
        let mut first_chunk = 0;
        self.snapshot.stacks.values().try_for_each(|stack| {
            let frames = self.snapshot.frames(stack).len();
            let mut record = stack.record.clone();
            (record.depth, record.first_chunk) = (frames as u16, first_chunk);
            first_chunk += frames.div_ceil(CHUNK_FRAMES) as u32;
            out.record(SectionId::Stacks, Some(&record.pack()))
        })
    }

    fn chunks(&self, out: &mut Sealed<'_>) -> io::Result<()> {
        let mut number = 0;
        for stack in self.snapshot.stacks.values() {
            let frames = self.snapshot.frames(stack);
            let last = frames.len().div_ceil(CHUNK_FRAMES);
            for (n, chunk) in frames.chunks(CHUNK_FRAMES).enumerate() {
                number += 1;
                out.word(if n + 1 == last { 0 } else { number + 1 })?;
                (0..CHUNK_FRAMES).try_for_each(|n| out.word(chunk.get(n).copied().unwrap_or(0)))?;
            }
        }
        Ok(())
    }

    fn samples(&self, out: &mut Sealed<'_>) -> io::Result<()> {
        self.snapshot.samples.iter().try_for_each(|sample| {
            let mut sample = *sample;
            // Samples of unknown stacks are not in a snapshot.
            sample.stack = self.stacks.binary_search(&sample.stack).unwrap_or(0) as u32;
            out.record(SectionId::Samples, Some(&sample.pack()))
        })
    }

    fn mappings(&self, out: &mut Sealed<'_>) -> io::Result<()> {
        self.snapshot.mappings.iter().try_for_each(|mapping| {
            let stack = self.stacks.binary_search(&mapping.stack).unwrap_or(0) as u32;
            out.record(SectionId::Mappings, Some(&MappingRecord { stack, ..*mapping }.pack()))
        })
    }
}

/// The records that a row takes: none if it is empty, one without entries if it is not known.
fn row_records(row: Option<&[Entry]>) -> impl Iterator<Item = [Option<Entry>; ENTRIES]> + '_ {
    let unknown = row.is_none().then_some([None; ENTRIES]);
    let known = row.unwrap_or_default().chunks(ENTRIES);
    unknown.into_iter().chain(known.map(|chunk| std::array::from_fn(|n| chunk.get(n).copied())))
}

/// Chunks that the names of a method take.
fn name_chunks(method: &JavaMethod) -> usize {
    (method.class.len() + method.method.len()).div_ceil(CHUNK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::super::copy;
    use super::*;

    fn words_of(bytes: &[u8]) -> io::Result<Vec<u64>> {
        copy::words(bytes.len() as u64, u64::MAX, &mut |at, piece| {
            let at = at as usize;
            piece.copy_from_slice(bytes.get(at..at + piece.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn mirror() -> Vec<u8> {
        let mut snapshot = Snapshot::default();
        (snapshot.pid, snapshot.token, snapshot.period, snapshot.torn) = (7, 8, 9, 2);
        snapshot.set("exe", "/bin/program");
        let mut bytes = Vec::new();
        write(&snapshot, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn an_empty_mirror_is_read_back() {
        let words = words_of(&mirror()).unwrap();
        let read = Snapshot::take(words.as_slice()).unwrap();
        assert_eq!((read.pid, read.token, read.period, read.torn, read.is_mirror), (7, 8, 9, 2, true));
        assert_eq!(read.text.metadata, [("exe".to_owned(), "/bin/program".to_owned())]);
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes under Miri")]
    fn every_damaged_byte_is_noticed() {
        let sound = mirror();
        assert!(words_of(&sound).is_ok());
        for at in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[at] ^= 1 << (at % 8);
            // Without its kind it would be a region, which has no checksum, and nothing in it.
            let is_other = at / 8 == Head::Kind as usize;
            assert!(words_of(&damaged).is_err() || is_other, "byte {at}");
        }
        for cut in 0..sound.len() {
            assert!(words_of(&sound[..cut]).is_err(), "cut at {cut}");
        }
    }
}
