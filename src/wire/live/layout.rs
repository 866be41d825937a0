//! The layout of a region: where each section lies, and the header that says so.

use super::words::Words;
use super::{counters, history};
use crate::wire::java_pc;

/// First word of a region: "HEAPTAP\1" read as a little-endian number.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"HEAPTAP\x01");
/// Version of everything in this folder; readers refuse another one.
pub(crate) const VERSION: u64 = 8;
/// Words of the header; the first section starts behind it.
pub(crate) const HEADER_WORDS: usize = 512;
/// Bytes of a region unless `prof_region_bytes` says otherwise.
pub(crate) const DEFAULT_BYTES: usize = 48 << 20;
/// Smallest region that makes sense.
pub(crate) const MIN_BYTES: usize = 1 << 20;
/// Largest region: what index fields of 32 bits can address in every section, with room to spare.
pub(crate) const MAX_BYTES: usize = 16 << 30;

/// Value of [`Head::Kind`] in a mirror.
pub(crate) const MIRROR: u64 = 1;

/// Value of [`Head::Ending`]: the process lives on as another user, in a life and a region of its own.
pub(crate) const OTHER_USER: u64 = 2;

/// Header words with a meaning of their own (indices into the region).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Head {
    /// [`MAGIC`], stored last of all when the region is made.
    Magic = 0,
    /// [`VERSION`].
    Version = 1,
    /// Size of the whole region in words.
    Words = 2,
    /// Process id as the process sees itself.
    Pid = 3,
    /// 64-bit token of this life of the process (see `token`).
    Token = 4,
    /// Wall clock when the region was made, nanoseconds since 1970.
    StartWallNs = 5,
    /// CLOCK_MONOTONIC when the region was made, nanoseconds.
    StartMonotonicNs = 6,
    /// Sampling period in force now, bytes.
    Period = 7,
    /// Inode of the pid namespace that the pid belongs to, 0: unknown.
    PidNamespace = 8,
    /// CLOCK_MONOTONIC when the process was last known to live, nanoseconds: the keeper's pulse.
    PulseNs = 9,
    /// Which half of the text section is valid, and how long it is (see `text`).
    Text = 10,
    /// 0: a region; [`MIRROR`]: a settled copy of one (see `mirror`), whose last word is a checksum.
    Kind = 11,
    /// 1: as long as the process lives, its keeper holds a shared lock (flock) on the claim; of a mirror: on the
    /// mirror. Told before the lock may be missed: what says so and is not locked is a dead process's.
    Guarded = 12,
    /// 1: the process is worth a file (it lived long enough, held enough, or was asked for).
    Significant = 13,
    /// 1: the process began to end, and has not written the final dump that it was to write. [`OTHER_USER`]: it lives
    /// on.
    Ending = 14,
    /// Of a mirror: records that were left out because they were being written.
    Torn = 15,
    /// 1: no samples are taken now (`prof_active:false`, `heaptap stop`).
    Paused = 16,
    /// CLOCK_MONOTONIC since when samples are taken, or since they were last forgotten, nanoseconds.
    SinceNs = 17,
    /// How often samples were forgotten (`heaptap reset`).
    Resets = 18,
    /// Address of the embedded jemalloc's tree of pages (`emap.h`), 0: not told. For who looks for blocks in the
    /// process's memory.
    BlockTree = 19,
}

/// First header word of the ranges that the process knows of its memory, two words each (see
/// [`Known::pack`](crate::wire::resident::known::Known::pack)); zeros end them. They lie side by side, so that a
/// reader that sees half of a change takes one range for another's neighbour, never a pointer for a size.
pub(crate) const RANGES_AT: usize = 256;
/// How many there may be.
pub(crate) const MOST_RANGES: usize = 64;

const SECTIONS_AT: usize = 64;
const SECTION_WORDS: usize = 4;

/// The sections, in their order in the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum SectionId {
    /// Sets of one word per [`Counter`](super::counters::Counter).
    Counters = 0,
    /// What dumps say besides samples: code mappings and metadata (see `text`).
    Text = 1,
    /// [`Moment`](super::history::Moment)s, in no order.
    Timeline = 2,
    /// [`Incident`](super::history::Incident)s.
    Events = 3,
    /// [`ThreadRecord`](super::records::ThreadRecord)s.
    Threads = 4,
    /// [`JavaMethodRecord`](super::records::JavaMethodRecord)s.
    JavaMethods = 5,
    /// The names of the methods, [`CHUNK_BYTES`](super::records::CHUNK_BYTES) to a chunk.
    Names = 6,
    /// [`RowRecord`](super::history::RowRecord)s: after the timeline, as a copy is made in this order.
    Rows = 7,
    /// [`StackRecord`](super::records::StackRecord)s.
    Stacks = 8,
    /// The frames of the stacks, [`CHUNK_FRAMES`](super::records::CHUNK_FRAMES) to a chunk.
    Chunks = 9,
    /// [`SampleRecord`](super::records::SampleRecord)s.
    Samples = 10,
    /// [`MappingRecord`](super::mapped::MappingRecord)s.
    Mappings = 11,
}

impl SectionId {
    /// All sections, in order.
    pub(crate) const ALL: [SectionId; 12] = [
        SectionId::Counters,
        SectionId::Text,
        SectionId::Timeline,
        SectionId::Events,
        SectionId::Threads,
        SectionId::JavaMethods,
        SectionId::Names,
        SectionId::Rows,
        SectionId::Stacks,
        SectionId::Chunks,
        SectionId::Samples,
        SectionId::Mappings,
    ];

    /// Words of one record of this section.
    pub(crate) const fn record_words(self) -> usize {
        match self {
            SectionId::Counters | SectionId::Text => 1,
            SectionId::JavaMethods | SectionId::Events => 4,
            SectionId::Threads | SectionId::Names | SectionId::Samples | SectionId::Mappings => 8,
            SectionId::Stacks => 32,
            SectionId::Timeline => 40,
            SectionId::Chunks | SectionId::Rows => 16,
        }
    }

    /// Records that the numbers of this section can tell apart.
    const fn most_records(self) -> usize {
        match self {
            SectionId::JavaMethods => java_pc::MAX_METHODS,
            SectionId::Timeline => history::MOST_MOMENTS,
            SectionId::Events => history::MOST_INCIDENTS,
            _ => u32::MAX as usize,
        }
    }

    /// Words that it has in the smallest region, too.
    const fn least_words(self) -> usize {
        match self {
            SectionId::Counters => counters::WORDS,
            _ => 1,
        }
    }

    /// Share of the region, in 1/256, that this section gets.
    const fn share(self) -> usize {
        match self {
            SectionId::Counters | SectionId::Timeline | SectionId::Events => 1,
            SectionId::Text => 3,
            SectionId::Threads => 3,
            SectionId::JavaMethods => 8,
            SectionId::Names => 25,
            SectionId::Rows => 20,
            SectionId::Stacks => 44,
            SectionId::Chunks => 90,
            SectionId::Samples => 56,
            SectionId::Mappings => 4,
        }
    }
}

/// One section: `capacity` records of `record_words` words each, from word `start` on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    /// First word of the section.
    pub(crate) start: usize,
    /// Records that it can hold.
    pub(crate) capacity: usize,
    /// Words of one record.
    pub(crate) record_words: usize,
}

impl Section {
    /// First word of record `index`; `None` beyond the capacity.
    pub(crate) fn record(&self, index: u32) -> Option<usize> {
        let index = index as usize;
        (index < self.capacity).then_some(self.start + index * self.record_words)
    }

    fn end(&self) -> usize {
        self.start + self.capacity * self.record_words
    }
}

/// All sections of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    sections: [Section; SectionId::ALL.len()],
    words: usize,
}

impl Layout {
    /// The layout of a region of about `bytes` bytes (clipped to the allowed sizes), for pages of 4 KiB.
    #[cfg(test)]
    pub(crate) fn for_bytes(bytes: usize) -> Layout {
        Layout::for_pages(bytes, 512)
    }

    /// The same for pages of so many words: sections begin at page boundaries, so that each can be given memory page by
    /// page.
    pub(crate) fn for_pages(bytes: usize, page_words: usize) -> Layout {
        const WORDS: usize = 512;
        let parts = bytes.clamp(MIN_BYTES, MAX_BYTES) / (8 * WORDS);
        let mut sections = [Section::default(); SectionId::ALL.len()];
        let mut start = HEADER_WORDS.next_multiple_of(page_words);
        for (section, id) in sections.iter_mut().zip(SectionId::ALL) {
            let words = (parts * id.share() / 256 * WORDS).max(id.least_words()).next_multiple_of(page_words);
            let record_words = id.record_words();
            *section = Section { start, capacity: (words / record_words).min(id.most_records()), record_words };
            start += words;
        }
        Layout { sections, words: start }
    }

    /// The layout of a file that holds so many records of each section and no more.
    pub(crate) fn compact(records: [usize; SectionId::ALL.len()]) -> Layout {
        let mut sections = [Section::default(); SectionId::ALL.len()];
        let mut start = HEADER_WORDS;
        for ((section, id), capacity) in sections.iter_mut().zip(SectionId::ALL).zip(records) {
            *section = Section { start, capacity, record_words: id.record_words() };
            start = section.end();
        }
        Layout { sections, words: start }
    }

    /// Size of the whole region in words.
    #[inline]
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// One of its sections.
    #[inline]
    pub(crate) fn section(&self, id: SectionId) -> Section {
        self.sections.get(id as usize).copied().unwrap_or_default()
    }

    /// The value of the counter at this index: the sum over all sets. A mirror has one set only, and that may be cut
    /// short.
    pub(crate) fn counter(&self, words: &(impl Words + ?Sized), index: usize) -> u64 {
        let section = self.section(SectionId::Counters);
        let places = (0..counters::SETS).map(|set| set * counters::SET_WORDS + index);
        let places = places.take_while(|&at| at < section.capacity);
        counters::sum(places.map(|at| words.word(section.start + at)))
    }

    /// The words of a section that may hold anything, by the header in `words`.
    pub(crate) fn used(&self, words: &(impl Words + ?Sized), id: SectionId) -> std::ops::Range<usize> {
        let section = self.section(id);
        let used = match id {
            SectionId::Counters => counters::WORDS.min(section.capacity),
            SectionId::Text => section.capacity,
            _ => usize::try_from(words.word(Layout::used_word(id)))
                .map_or(section.capacity, |used| used.min(section.capacity)),
        };
        section.start..section.start + used * section.record_words
    }

    /// The header words that describe this layout, as (index, value) pairs.
    pub(crate) fn header(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let fixed = [(Head::Version as usize, VERSION), (Head::Words as usize, self.words as u64)];
        let sections = self.sections.iter().enumerate().flat_map(|(n, section)| {
            let at = SECTIONS_AT + n * SECTION_WORDS;
            [(at, section.start as u64), (at + 1, section.capacity as u64), (at + 2, section.record_words as u64)]
        });
        fixed.into_iter().chain(sections)
    }

    /// Index of the header word that holds how many records of a section may be in use.
    pub(crate) const fn used_word(id: SectionId) -> usize {
        SECTIONS_AT + id as usize * SECTION_WORDS + 3
    }

    /// Reads and checks the layout of a region that may be damaged or hostile.
    pub(crate) fn read(words: &(impl Words + ?Sized)) -> Result<Layout, LayoutError> {
        match words.word(Head::Magic as usize) {
            MAGIC => {}
            0 => return Err(LayoutError::Unfinished),
            _ => return Err(LayoutError::NotARegion),
        }
        let version = words.word(Head::Version as usize);
        if version != VERSION {
            return Err(LayoutError::Version(version));
        }
        let mut layout = Layout { sections: [Section::default(); SectionId::ALL.len()], words: words.len() };
        let mut previous_end = HEADER_WORDS;
        for (section, id) in layout.sections.iter_mut().zip(SectionId::ALL) {
            let at = SECTIONS_AT + id as usize * SECTION_WORDS;
            let number = |word: usize| usize::try_from(words.word(word)).unwrap_or(usize::MAX);
            let read = Section { start: number(at), capacity: number(at + 1), record_words: number(at + 2) };
            let end = read.capacity.checked_mul(read.record_words).and_then(|size| size.checked_add(read.start));
            let sound = read.record_words == id.record_words() && read.start >= previous_end;
            if !sound || end.is_none_or(|end| end > words.len()) || read.capacity > u32::MAX as usize {
                return Err(LayoutError::Section(id));
            }
            previous_end = read.end();
            *section = read;
        }
        Ok(layout)
    }
}

/// Why a file is not a region that this version can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayoutError {
    /// The first word is not [`MAGIC`]: another kind of file.
    NotARegion,
    /// It is 0: the process is making the region, or was killed meanwhile. Nothing was recorded.
    Unfinished,
    /// Written by another version of heaptap.
    Version(u64),
    /// A section does not lie inside the file, or does not have the record size it must have.
    Section(SectionId),
    /// A mirror that is not what was written.
    Checksum,
}

impl std::error::Error for LayoutError {}

impl std::fmt::Display for LayoutError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LayoutError::NotARegion => f.write_str("not a heaptap region (wrong first word)"),
            LayoutError::Unfinished => f.write_str("not finished: its process is making it, or was killed meanwhile"),
            LayoutError::Version(found) => {
                write!(f, "region of layout version {found}, this heaptap reads {VERSION}: use the matching heaptap")
            }
            LayoutError::Section(id) => write!(f, "damaged region: section {id:?} does not fit"),
            LayoutError::Checksum => f.write_str("damaged mirror: its checksum is wrong"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(layout: &Layout) -> Vec<u64> {
        let mut words = vec![0; layout.words()];
        words[Head::Magic as usize] = MAGIC;
        layout.header().for_each(|(index, value)| words[index] = value);
        words
    }

    #[test]
    fn read_finds_what_header_wrote() {
        for bytes in [0, MIN_BYTES, DEFAULT_BYTES, 300 << 20] {
            let layout = Layout::for_bytes(bytes);
            assert!(layout.words() * 8 <= bytes.max(MIN_BYTES) + 8 * 4096, "{bytes}");
            assert_eq!(Layout::read(region(&layout).as_slice()), Ok(layout));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes under Miri")]
    fn every_word_damaged_is_refused_or_harmless() {
        let layout = Layout::for_bytes(MIN_BYTES);
        let sound = region(&layout);
        for index in 0..HEADER_WORDS {
            for value in [0, 1, u64::MAX, sound[index].wrapping_add(1)] {
                let mut words = sound.clone();
                words[index] = value;
                if let Ok(read) = Layout::read(words.as_slice()) {
                    for id in SectionId::ALL {
                        assert!(read.section(id).end() <= words.len());
                    }
                }
            }
        }
    }

    #[test]
    fn sections_start_at_pages_and_do_not_overlap() {
        for (bytes, page_words) in [(DEFAULT_BYTES, 512), (DEFAULT_BYTES, 8192), (MIN_BYTES, 8192)] {
            let layout = Layout::for_pages(bytes, page_words);
            let mut end = HEADER_WORDS;
            for id in SectionId::ALL {
                let section = layout.section(id);
                assert!(section.start.is_multiple_of(page_words) && section.start >= end && section.capacity > 0);
                end = section.end();
            }
            assert!(end <= layout.words() && layout.words() * 8 <= bytes + MIN_BYTES);
        }
    }
}
