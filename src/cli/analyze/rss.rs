//! Where the resident memory of a process is: classes that sum up to it.
//!
//! The kernel says of each mapping what is resident and how it was made (`/proc/<pid>/smaps`), but not for whom. What
//! tells anonymous mappings apart:
//!
//! - jemalloc and the tap ask with MAP_NORESERVE (`nr`, glibc's arenas too); the JVM commits without it. So writable `nr` is malloc's.
//! - a thread's stack lies on a guard, which is neither reserved (`nr`) nor accounted (`ac`);
//! - code is executable;
//! - the Java heap is the row of mappings that is as long as the heap may become, which the JVM's counters
//!   (hsperfdata) or its command line say; without them the longest row below 32 GiB;
//! - metaspace is known by size only, from the same counters; what the JVM has besides (card tables, mark bitmaps,
//!   archived classes) stays together.
//!
//! Malloc's part is divided by the profile: live bytes, and what the allocator keeps beside them (free pages that it has
//! not returned, rounding, its own tables). Live memory that nobody has touched is not resident, hence "at most".

use serde::Serialize;
use std::ops::Range;

/// A kind of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    /// Objects of the Java program.
    JavaHeap,
    /// Classes of the Java program.
    Metaspace,
    /// Compiled Java code, and other code without a file.
    CodeCache,
    /// What else the JVM has mapped for itself.
    JvmOther,
    /// Stacks of threads.
    ThreadStacks,
    /// All of malloc; divided into the next two once the live bytes are known.
    Malloc,
    /// What the program has from malloc.
    MallocLive,
    /// What the allocator keeps.
    MallocRetained,
    /// The tap's tables and code.
    Tap,
    /// Files: programs, libraries, indices. The kernel can take most of it back.
    MappedFiles,
    /// Shared memory.
    Shared,
    /// Anonymous memory of which nothing is known.
    Other,
}

/// Classes in the order of declaration, without those that malloc is divided into.
const MEASURED: [Class; 10] = [
    Class::JavaHeap,
    Class::Metaspace,
    Class::CodeCache,
    Class::JvmOther,
    Class::ThreadStacks,
    Class::Malloc,
    Class::Tap,
    Class::MappedFiles,
    Class::Shared,
    Class::Other,
];

impl Class {
    /// Its word in the metadata of dumps (`rss_<word>: <bytes>`).
    pub(crate) fn word(self) -> &'static str {
        match self {
            Class::JavaHeap => "java_heap",
            Class::Metaspace => "metaspace",
            Class::CodeCache => "code_cache",
            Class::JvmOther => "jvm_other",
            Class::ThreadStacks => "thread_stacks",
            Class::Malloc => "malloc",
            Class::MallocLive => "malloc_live",
            Class::MallocRetained => "malloc_retained",
            Class::Tap => "tap",
            Class::MappedFiles => "mapped_files",
            Class::Shared => "shared",
            Class::Other => "other",
        }
    }

    /// Its name for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Class::JavaHeap => "Java heap",
            Class::Metaspace => "metaspace",
            Class::CodeCache => "code cache",
            Class::JvmOther => "JVM, other",
            Class::ThreadStacks => "thread stacks",
            Class::Malloc => "malloc",
            Class::MallocLive => "malloc, live",
            Class::MallocRetained => "malloc, retained",
            Class::Tap => "heaptap",
            Class::MappedFiles => "mapped files",
            Class::Shared => "shared memory",
            Class::Other => "other",
        }
    }

    /// Where to look, or what to do, if it is this that grows.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Class::JavaHeap => "a heap dump, or -Xmx: jcmd PID GC.class_histogram",
            Class::Metaspace => {
                "classes that are loaded again and again: jcmd PID VM.classloader_stats, -XX:MaxMetaspaceSize"
            }
            Class::CodeCache => "jcmd PID Compiler.codecache, -XX:ReservedCodeCacheSize",
            Class::JvmOther => "-XX:NativeMemoryTracking=summary and jcmd PID VM.native_memory",
            Class::ThreadStacks => "threads that do not end: jcmd PID Thread.print",
            Class::Malloc | Class::MallocLive => "heaptap growth, heaptap leaks",
            Class::MallocRetained => {
                "fragmentation or peaks: jcmd PID System.trim_native_heap, or dirty_decay_ms:1000 in MALLOC_CONF"
            }
            Class::Tap => "prof_region_bytes bounds it",
            Class::MappedFiles => "mapped indices and libraries; the kernel takes them back when memory is short",
            Class::Shared => "shared mappings and tmpfs: /proc/PID/smaps names them",
            Class::Other => "memory from mmap: /proc/PID/smaps, strace -e mmap",
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

/// The answer of `heaptap rss`. The JSON form is a promise like that of `report`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Resident {
    /// Version of this form.
    pub(crate) schema: u32,
    /// Whose memory it is.
    pub(crate) pid: Option<u32>,
    /// Path of its program.
    pub(crate) exe: Option<String>,
    /// Classes of it.
    #[serde(flatten)]
    pub(crate) account: Account,
    /// Live bytes of malloc, where the process is tapped.
    pub(crate) live_bytes: Option<u64>,
    /// What the control group uses.
    pub(crate) memory_used_bytes: Option<u64>,
    /// What it may use.
    pub(crate) memory_limit_bytes: Option<u64>,
}

/// What a JVM says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct JvmSizes {
    /// How long its heap may become; several if it is not clear.
    pub(crate) heap: Vec<u64>,
    /// Metaspace in use.
    pub(crate) metaspace: Option<u64>,
}

impl Account {
    /// Reads `/proc/<pid>/smaps`.
    pub(crate) fn of_smaps(smaps: &str, jvm: &JvmSizes) -> Account {
        let areas = areas(smaps);
        let mut sums = [0u64; MEASURED.len()];
        for (class, bytes) in classify(&areas, jvm) {
            if let Some(at) = MEASURED.iter().position(|known| *known == class) {
                sums[at] = sums[at].saturating_add(bytes);
            }
        }
        let swap_bytes = sum(areas.iter().map(|area| area.swap));
        Account::new(MEASURED.iter().copied().zip(sums), swap_bytes)
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

/// One mapping.
#[derive(Clone, Debug, Default)]
struct Area<'a> {
    start: u64,
    end: u64,
    permissions: &'a str,
    path: &'a str,
    rss: u64,
    swap: u64,
    flags: &'a str,
}

impl Area<'_> {
    fn has(&self, flag: &str) -> bool {
        self.flags.split(' ').any(|known| known == flag)
    }

    fn is_anonymous(&self) -> bool {
        (self.path.is_empty() || self.path.starts_with("[anon:")) && self.permissions.ends_with('p')
    }

    fn is_code(&self) -> bool {
        self.permissions.as_bytes().get(2) == Some(&b'x')
    }

    fn is_writable(&self) -> bool {
        self.permissions.as_bytes().get(1) == Some(&b'w')
    }

    /// The page or pages below a stack: no access, and neither reserved nor accounted.
    fn is_guard(&self) -> bool {
        self.is_anonymous()
            && self.permissions.starts_with("---")
            && !self.has("nr")
            && self.end - self.start <= 1 << 20
    }

    /// What the JVM's heap consists of: its pages, and the archived objects that it begins with.
    fn may_be_heap(&self) -> bool {
        let is_mallocs = self.is_writable() && self.has("nr");
        let is_of_the_jvm = self.is_anonymous() && !self.is_code() && !self.is_guard() && !is_mallocs;
        self.path.starts_with("/memfd:java_heap") || self.path.ends_with(".jsa") || is_of_the_jvm
    }
}

/// The mappings of smaps text; what is not of its form is skipped.
fn areas(smaps: &str) -> Vec<Area<'_>> {
    let mut areas: Vec<Area<'_>> = Vec::new();
    for line in smaps.lines() {
        if let Some(area) = header(line) {
            areas.push(area);
            continue;
        }
        let (Some(area), Some((key, value))) = (areas.last_mut(), line.split_once(':')) else { continue };
        let number = value.trim().strip_suffix(" kB").and_then(|number| number.parse::<u64>().ok());
        let kibibytes = || number.unwrap_or(0).saturating_mul(1024);
        match key {
            "Rss" | "Private_Hugetlb" | "Shared_Hugetlb" => area.rss = area.rss.saturating_add(kibibytes()),
            "Swap" => area.swap = area.swap.saturating_add(kibibytes()),
            "VmFlags" => area.flags = value.trim(),
            _ => {}
        }
    }
    areas
}

/// `7f5390dff000-7f5390e03000 ---p 00000000 00:00 0   path`.
fn header(line: &str) -> Option<Area<'_>> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    let (permissions, rest) = rest.split_once(' ')?;
    let path = rest.splitn(4, ' ').nth(3).unwrap_or("").trim();
    (start < end).then_some(Area { start, end, permissions, path, ..Area::default() })
}

/// Each mapping's class; one whose class holds two things comes twice.
fn classify<'a>(areas: &'a [Area<'a>], jvm: &'a JvmSizes) -> impl Iterator<Item = (Class, u64)> + 'a {
    let is_jvm = areas.iter().any(|area| area.path.ends_with("/libjvm.so"));
    let heap = if is_jvm { heap(areas, &jvm.heap) } else { 0..0 };
    let mut metaspace = jvm.metaspace.unwrap_or(0);
    areas.iter().enumerate().flat_map(move |(index, area)| {
        let on_guard = index
            .checked_sub(1)
            .and_then(|below| areas.get(below))
            .is_some_and(|below| below.end == area.start && below.is_guard());
        let class = match area.path {
            _ if heap.contains(&area.start) => Class::JavaHeap,
            path if path.starts_with("/memfd:java_heap") => Class::JavaHeap,
            path if path.contains("/heaptap-") || path.contains("libheaptap") => Class::Tap,
            "[heap]" => Class::Malloc,
            "[stack]" => Class::ThreadStacks,
            path if path.starts_with("/dev/zero") || path.starts_with("/memfd:") || path.starts_with("/SYSV") => {
                Class::Shared
            }
            path if path.starts_with("/dev/shm/") => Class::Shared,
            path if path.starts_with('/') => Class::MappedFiles,
            _ if !area.is_anonymous() => Class::Other,
            _ if area.is_code() => Class::CodeCache,
            _ if area.has("nr") => Class::Malloc,
            _ if on_guard => Class::ThreadStacks,
            _ if is_jvm => Class::JvmOther,
            _ => Class::Other,
        };
        // By size only: as much of what the JVM has as its counters say.
        let of_classes = if class == Class::JvmOther { area.rss.min(metaspace) } else { 0 };
        metaspace -= of_classes;
        [(Class::Metaspace, of_classes), (class, area.rss - of_classes)]
    })
}

/// Where the Java heap lies: the row of adjacent mappings that is as long as one of `sizes`; else the longest that lies where a
/// heap of less than 32 GiB does.
fn heap(areas: &[Area<'_>], sizes: &[u64]) -> Range<u64> {
    let most = sizes.iter().copied().max().unwrap_or(0);
    let mut longest = 0..0;
    let mut end_of_row = 0;
    for (index, first) in areas.iter().enumerate().filter(|(_, area)| area.may_be_heap()) {
        let mut end = first.start;
        let is_begin = first.start >= end_of_row;
        for area in areas.get(index..).unwrap_or(&[]) {
            if area.start != end || !area.may_be_heap() || !is_begin && end - first.start > most {
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

    #[test]
    fn a_jvms_memory_is_classified_and_sums_up() {
        let jvm = JvmSizes { heap: vec![256 << 20], metaspace: Some(70 << 10) };
        let account = Account::of_smaps(&smaps(JVM), &jvm);
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
        let account = Account::of_smaps(&smaps(JVM), &JvmSizes::default());
        assert_eq!((account.bytes(Class::JavaHeap) >> 10, account.bytes(Class::Metaspace)), (630, 0));
        // A program that is no JVM has none.
        let plain: Vec<_> = JVM.iter().filter(|row| !row.2.contains("libjvm")).copied().collect();
        let account = Account::of_smaps(&smaps(&plain), &JvmSizes { heap: vec![256 << 20], metaspace: None });
        assert_eq!((account.bytes(Class::JavaHeap), account.bytes(Class::JvmOther)), (0, 0));
        assert_eq!(account.bytes(Class::Other) >> 10, 160 + 2 + 60 + 50);
    }

    #[test]
    fn malloc_is_divided_by_what_is_live() {
        let account = Account::of_smaps(&smaps(JVM), &JvmSizes::default());
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
        let account = Account::of_smaps(&smaps(JVM), &JvmSizes::default());
        let lines: Vec<(String, u64)> = account.to_metadata().map(|(word, bytes)| (word.to_owned(), bytes)).collect();
        assert_eq!(Account::of_metadata(&lines), Some(account));
        assert_eq!(Account::of_metadata(&[("nonsense".into(), 7)]), None);
        let absurd = [("tap".into(), u64::MAX), ("other".into(), u64::MAX)];
        assert_eq!(Account::of_metadata(&absurd).unwrap().rss_bytes, u64::MAX);
    }

    #[test]
    fn damaged_text_is_skipped() {
        let text = smaps(JVM);
        for cut in (0..text.len()).step_by(7) {
            let account = Account::of_smaps(&text[..cut], &JvmSizes::default());
            assert!(account.rss_bytes <= 62_968 << 10);
        }
        assert_eq!(
            Account::of_smaps("2-1 rw-p 0 0:0 0\nRss: x kB\nRss: 5\n\u{fffd}-\n", &JvmSizes::default()),
            Account::default()
        );
    }
}
