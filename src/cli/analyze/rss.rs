//! Where the resident memory of a process is: classes that sum up to it, now (`wire/resident`) and over time.
//!
//! Of a JVM that says nothing (not under the tap, or an older one) the heap is guessed: the row of mappings that is as
//! long as the heap may become, which its counters (hsperfdata) or its command line say; without them the longest row
//! below 32 GiB. Metaspace is then known by size only.
//!
//! Malloc's part is divided by the profile: live bytes, and what the allocator keeps beside them (free pages that it
//! has not returned, rounding, its own tables). Live memory that nobody has touched is not resident, hence "at most".

use crate::wire::live::history::CLASSES;
pub(crate) use crate::wire::resident::areas::Areas;
use crate::wire::resident::areas::{Area, Backing};
pub(crate) use crate::wire::resident::class::Class;
use crate::wire::resident::class::MEASURED;
use crate::wire::resident::known::{Known, Owner};
use crate::wire::resident::sums::Sums;
use serde::{Serialize, Serializer};
use std::ops::Range;

impl Serialize for Class {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl Class {
    /// Its name for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Class::JavaHeap => "Java heap",
            Class::Metaspace => "metaspace",
            Class::GcStructures => "GC structures",
            Class::CodeCache => "code cache",
            Class::JvmOther => "JVM, other",
            Class::ThreadStacks => "thread stacks",
            Class::Malloc => "malloc",
            Class::MallocLive => "malloc, live",
            Class::MallocRetained => "malloc, retained",
            Class::Tap => "heaptap",
            Class::MappedFiles => "mapped files",
            Class::Shared => "shared memory",
            Class::Other => "anonymous memory, not from malloc",
        }
    }

    /// The same for a process that is a JVM, or none: no advice about Java to a C program; and none about heaptap's
    /// allocator to one that keeps its own.
    pub(crate) fn advice_for(self, is_jvm: bool, keeps_allocator: bool) -> &'static str {
        match self {
            Class::MallocRetained if keeps_allocator => {
                "the program's own allocator keeps it: heaptap trim PID gives some of it back, and heaptap's allocator \
                 (without prof_allocator:keep) keeps less"
            }
            Class::ThreadStacks if !is_jvm => {
                "threads that do not end: heaptap report --metric mapped says who starts them"
            }
            Class::MallocRetained if !is_jvm => {
                "fragmentation or peaks: malloc_trim, or dirty_decay_ms:1000 in MALLOC_CONF"
            }
            Class::CodeCache if !is_jvm => "code that the program generates: /proc/PID/smaps",
            _ => self.advice(),
        }
    }

    /// Where to look, or what to do, if it is this that grows.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Class::JavaHeap => "a heap dump, or -Xmx: jcmd PID GC.class_histogram",
            Class::Metaspace => {
                "classes that are loaded again and again: jcmd PID VM.classloader_stats, -XX:MaxMetaspaceSize"
            }
            Class::GcStructures => "they follow the heap's size: -Xmx, or another collector",
            Class::CodeCache => "jcmd PID Compiler.codecache, -XX:ReservedCodeCacheSize",
            Class::JvmOther => "-XX:NativeMemoryTracking=summary and jcmd PID VM.native_memory",
            Class::ThreadStacks => {
                "threads that do not end: heaptap report --metric mapped says who starts them, jcmd PID Thread.print"
            }
            Class::Malloc | Class::MallocLive => "heaptap growth, heaptap leaks",
            Class::MallocRetained => {
                "fragmentation or peaks: jcmd PID System.trim_native_heap, or dirty_decay_ms:1000 in MALLOC_CONF"
            }
            Class::Tap => "prof_region_bytes bounds it",
            Class::MappedFiles => {
                "mapped indices and libraries; the kernel takes them back when memory is short: heaptap report --metric resident"
            }
            Class::Shared => "shared mappings and tmpfs: /proc/PID/smaps names them",
            Class::Other => {
                "mmap, or another allocator in the process: heaptap report --metric resident says by whom, /proc/PID/smaps"
            }
        }
    }
}

/// The resident memory of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Account {
    /// All of it: the sum of the classes.
    pub(crate) rss_bytes: u64,
    /// Swapped out, in no class.
    pub(crate) swap_bytes: u64,
    /// Biggest first; no empty one.
    pub(crate) classes: Vec<Share>,
}

/// One class of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Share {
    /// Which.
    pub(crate) class: Class,
    /// How much.
    pub(crate) bytes: u64,
}

/// What a JVM says of itself in its counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct JvmSizes {
    /// How long its heap may become; several if it is not clear.
    pub(crate) heap: Vec<u64>,
    /// Metaspace in use.
    pub(crate) metaspace: Option<u64>,
}

impl JvmSizes {
    /// Adds what these sizes tell of mappings to what is known, where that is less.
    pub(crate) fn complete(&self, areas: &Areas, known: &mut Known) {
        known.metaspace_bytes = self.metaspace.unwrap_or(0);
        if areas.is_jvm() && known.first(Owner::JavaHeap).is_none() {
            let heap = heap(areas.all(), &self.heap);
            known.ranges.extend((heap.start < heap.end).then_some((Owner::JavaHeap, heap)));
            known.add_tables(areas);
        }
    }
}

impl Account {
    /// Classifies the mappings of a process.
    pub(crate) fn of(areas: &Areas, known: &Known) -> Account {
        Account::of_sums(&Sums::of(areas, known))
    }

    /// What a checkpoint holds; `None`: nobody looked.
    pub(crate) fn of_checkpoint(words: &[u64; CLASSES]) -> Option<Account> {
        Sums::of_words(words).map(|sums| Account::of_sums(&sums))
    }

    fn of_sums(sums: &Sums) -> Account {
        Account::new(MEASURED.into_iter().zip(sums.classes), sums.swapped)
    }

    /// Reads the `rss_…` lines of a dump; `None` if it has none.
    pub(crate) fn of_metadata(lines: &[(String, u64)]) -> Option<Account> {
        let value = |word: &str| lines.iter().find(|(known, _)| known == word).map_or(0, |(_, bytes)| *bytes);
        let account = Account::new(MEASURED.iter().map(|class| (*class, value(class.word()))), value("swap"));
        (account.rss_bytes > 0).then_some(account)
    }

    /// Its lines for a dump's metadata, without the `rss_`.
    pub(crate) fn to_metadata(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let classes = self.classes.iter().map(|share| (share.class.word(), share.bytes));
        classes.chain((self.swap_bytes > 0).then_some(("swap", self.swap_bytes)))
    }

    /// Divides malloc's part, of which so much is live.
    pub(crate) fn with_live(&self, live_bytes: f64) -> Account {
        let malloc = self.bytes(Class::Malloc);
        let live = (live_bytes.max(0.0) as u64).min(malloc);
        let rest = self.classes.iter().filter(|share| share.class != Class::Malloc);
        let parts = [(Class::MallocLive, live), (Class::MallocRetained, malloc - live)];
        Account::new(rest.map(|share| (share.class, share.bytes)).chain(parts), self.swap_bytes)
    }

    /// What is in a class.
    pub(crate) fn bytes(&self, class: Class) -> u64 {
        sum(self.classes.iter().filter(|share| share.class == class).map(|share| share.bytes))
    }

    fn new(classes: impl Iterator<Item = (Class, u64)>, swap_bytes: u64) -> Account {
        let mut classes: Vec<Share> =
            classes.filter(|(_, bytes)| *bytes > 0).map(|(class, bytes)| Share { class, bytes }).collect();
        classes.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.class.cmp(&b.class)));
        Account { rss_bytes: sum(classes.iter().map(|share| share.bytes)), swap_bytes, classes }
    }
}

/// What a file says may be anything: sums end at the largest number.
fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// What the JVM's heap consists of: its pages, and the archived objects that it begins with.
fn may_be_heap(area: &Area) -> bool {
    matches!(area.backing, Backing::JavaHeap | Backing::JavaArchive) || area.is_table()
}

/// Where the Java heap lies: the row of adjacent mappings that is as long as one of `sizes`; else the longest that lies
/// where a heap of less than 32 GiB does.
fn heap(areas: &[Area], sizes: &[u64]) -> Range<u64> {
    let most = sizes.iter().copied().max().unwrap_or(0);
    let mut longest = 0..0;
    let mut end_of_row = 0;
    for (index, first) in areas.iter().enumerate().filter(|(_, area)| may_be_heap(area)) {
        let mut end = first.start;
        let is_begin = first.start >= end_of_row;
        for area in areas.get(index..).unwrap_or(&[]) {
            if area.start != end || !may_be_heap(area) || !is_begin && end - first.start > most {
                break;
            }
            end = area.end;
            if sizes.contains(&(end - first.start)) {
                return first.start..end;
            }
        }
        if is_begin {
            end_of_row = end;
            let is_longer = end - first.start > longest.end - longest.start;
            if first.start < 32 << 30 && is_longer {
                longest = first.start..end;
            }
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mappings as (range, permissions, path, resident KiB, flags).
    fn smaps(rows: &[(&str, &str, &str, u64, &str)]) -> String {
        let row = |(range, permissions, path, rss, flags): &(&str, &str, &str, u64, &str)| {
            format!(
                "{range} {permissions} 00000000 00:00 0                          {path}\nSize:  1 kB\nRss:    {rss} kB\nPss:   1 kB\n\
                 Swap:  3 kB\nTHPeligible:    0\nVmFlags: rd wr mr {flags} \n"
            )
        };
        rows.iter().map(row).collect()
    }

    /// A small JVM of release 17 under the tap, as it stood: heap of 256 MiB.
    const JVM: &[(&str, &str, &str, u64, &str)] = &[
        ("f0000000-ffe00000", "rw-p", "", 160, "ac"),
        ("ffe00000-ffe75000", "rw-p", "/jdk/lib/server/classes.jsa", 468, "ac"),
        ("ffe75000-100000000", "rw-p", "", 2, "ac"),
        ("7e0000000000-7e0003700000", "rw-p", "", 40_000, "nr"),
        ("7f5390dff000-7f5390e03000", "---p", "", 0, ""),
        ("7f5390e03000-7f5390eff000", "rw-p", "", 88, "ac nh"),
        ("7f5392400000-7f5392410000", "rw-p", "", 60, "ac"),
        ("7f5392410000-7f5396000000", "---p", "", 0, "nr"),
        ("7f5396000000-7f5396bc7000", "rw-p", "/jdk/lib/server/classes.jsa", 5000, "ac"),
        ("7f5397000000-7f5397010000", "rw-p", "", 50, "ac"),
        ("7f53dba00000-7f53dbc70000", "rwxp", "", 700, "ac"),
        ("7f53f3000000-7f53f3251000", "r--p", "/jdk/lib/server/libjvm.so", 2000, ""),
        ("7f53f50ff000-7f53f8000000", "rw-s", "/dev/shm/heaptap-0/12832.9e8336f797f43eb4.region", 300, "nr"),
        ("7f53f8000000-7f53f8800000", "rw-p", "", 6000, "nr"),
        ("7f53f8b20000-7f53f8ba8000", "rw-p", "/usr/lib/libheaptap.so", 100, "ac"),
        ("7ffe5c0e5000-7ffe5c106000", "rw-p", "[stack]", 36, "gd ac"),
    ];

    fn of_text(text: &str, jvm: &JvmSizes) -> Account {
        let areas = Areas::of(text.as_bytes());
        let mut known = Known::default();
        jvm.complete(&areas, &mut known);
        Account::of(&areas, &known)
    }

    #[test]
    fn a_jvms_memory_is_classified_and_sums_up() {
        let jvm = JvmSizes { heap: vec![256 << 20], metaspace: Some(70 << 10) };
        let account = of_text(&smaps(JVM), &jvm);
        let kib = |class| account.bytes(class) >> 10;
        let expected = [
            (Class::JavaHeap, 630),
            (Class::Metaspace, 70),
            (Class::JvmOther, 40),
            (Class::CodeCache, 700),
            (Class::ThreadStacks, 124),
            (Class::Malloc, 46_000),
            (Class::Tap, 400),
            (Class::MappedFiles, 7000),
            (Class::Other, 0),
        ];
        for (class, bytes) in expected {
            assert_eq!(kib(class), bytes, "{class:?}");
        }
        let all: u64 = JVM.iter().map(|row| row.3).sum();
        assert_eq!((account.rss_bytes >> 10, account.swap_bytes >> 10), (all, 3 * JVM.len() as u64));
        assert_eq!(account.classes[0].class, Class::Malloc);
    }

    #[test]
    fn the_heap_is_found_without_its_size_and_not_made_up() {
        let account = of_text(&smaps(JVM), &JvmSizes::default());
        assert_eq!((account.bytes(Class::JavaHeap) >> 10, account.bytes(Class::Metaspace)), (630, 0));
        // A program that is no JVM has none.
        let plain: Vec<_> = JVM.iter().filter(|row| !row.2.contains("libjvm")).copied().collect();
        let account = of_text(&smaps(&plain), &JvmSizes { heap: vec![256 << 20], metaspace: None });
        assert_eq!((account.bytes(Class::JavaHeap), account.bytes(Class::JvmOther)), (0, 0));
        assert_eq!(account.bytes(Class::Other) >> 10, 160 + 2 + 60 + 50);
    }

    #[test]
    fn malloc_is_divided_by_what_is_live() {
        let account = of_text(&smaps(JVM), &JvmSizes::default());
        let divided = account.with_live(40.0 * 1048576.0);
        assert_eq!(
            (divided.bytes(Class::MallocLive) >> 10, divided.bytes(Class::MallocRetained) >> 10),
            (40_960, 5_040)
        );
        assert_eq!((divided.rss_bytes, divided.bytes(Class::Malloc)), (account.rss_bytes, 0));
        // More live than resident: not touched yet.
        assert_eq!(account.with_live(1e12).bytes(Class::MallocRetained), 0);
    }

    #[test]
    fn it_survives_the_metadata_of_a_dump() {
        let account = of_text(&smaps(JVM), &JvmSizes::default());
        let lines: Vec<(String, u64)> = account.to_metadata().map(|(word, bytes)| (word.to_owned(), bytes)).collect();
        assert_eq!(Account::of_metadata(&lines), Some(account));
        assert_eq!(Account::of_metadata(&[("nonsense".into(), 7)]), None);
        let absurd = [("tap".into(), u64::MAX), ("other".into(), u64::MAX)];
        assert_eq!(Account::of_metadata(&absurd).unwrap().rss_bytes, u64::MAX);
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes under Miri")]
    fn damaged_text_is_skipped() {
        let text = smaps(JVM);
        for cut in (0..text.len()).step_by(7) {
            let account = of_text(&text[..cut], &JvmSizes::default());
            assert!(account.rss_bytes <= 62_968 << 10);
        }
        assert_eq!(
            of_text("2-1 rw-p 0 0:0 0\nRss: x kB\nRss: 5\n\u{fffd}-\n", &JvmSizes::default()),
            Account::default()
        );
    }
}
