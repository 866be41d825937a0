//! The mappings of a process as `/proc/<pid>/smaps` tells them (proc_pid_smaps(5)), line by line, in a few words each.
//!
//! What is not of the text's form is skipped.

use crate::wire::maps_line::MapsLine;

/// What stands behind a mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Backing {
    /// Nothing, and nobody shares it.
    Anonymous,
    /// A file.
    File,
    /// An archive of Java classes; the archived objects in it lie in the Java heap.
    JavaArchive,
    /// The file without a name that ZGC keeps the Java heap in.
    JavaHeap,
    /// The Java VM's library.
    JavaVm,
    /// The tap's library or region.
    Tap,
    /// What `brk` gave.
    Break,
    /// The main thread's stack.
    Stack,
    /// Shared memory.
    Shared,
    /// The kernel's own.
    #[default]
    Kernel,
}

impl Backing {
    fn of(line: &MapsLine<'_>) -> Backing {
        let is_private = line.permissions.last() == Some(&b'p');
        let name = line.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        match line.path {
            b"" => match is_private {
                true => Backing::Anonymous,
                false => Backing::Kernel,
            },
            b"[heap]" => Backing::Break,
            b"[stack]" => Backing::Stack,
            path if path.starts_with(b"[anon:") && is_private => Backing::Anonymous,
            path if path.starts_with(b"/memfd:java_heap") => Backing::JavaHeap,
            path if path.starts_with(b"/dev/shm/heaptap-") && name.ends_with(b".region") => Backing::Tap,
            _ if name.starts_with(b"libheaptap") => Backing::Tap,
            path if [&b"/dev/zero"[..], b"/memfd:", b"/SYSV", b"/dev/shm/"].iter().any(|it| path.starts_with(it)) => {
                Backing::Shared
            }
            _ if name == b"libjvm.so" => Backing::JavaVm,
            _ if name.ends_with(b".jsa") => Backing::JavaArchive,
            path if path.starts_with(b"/") => Backing::File,
            _ => Backing::Kernel,
        }
    }
}

/// Longest `.bss` that is believed; libjvm's has half a MiB.
const MOST_ZEROS: u64 = 2 << 20;

/// One mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Area {
    /// First address.
    pub(crate) start: u64,
    /// One past the last.
    pub(crate) end: u64,
    /// What stands behind it.
    pub(crate) backing: Backing,
    /// May be executed.
    pub(crate) is_code: bool,
    /// May be written.
    pub(crate) is_writable: bool,
    /// May not be touched at all.
    pub(crate) is_closed: bool,
    /// Made with MAP_NORESERVE (`nr`).
    pub(crate) is_unreserved: bool,
    /// Resident bytes.
    pub(crate) resident: u64,
    /// Bytes that are swapped out.
    pub(crate) swapped: u64,
}

impl Area {
    /// Anonymous memory that is not code.
    pub(crate) fn is_data(&self) -> bool {
        self.backing == Backing::Anonymous && !self.is_code
    }

    /// Whether a mapping right behind is of this one's library: its zeros (`.bss`), which are of some size at most.
    pub(crate) fn has_more(&self, next: &Area) -> bool {
        let is_library = matches!(self.backing, Backing::File | Backing::JavaVm | Backing::Tap);
        let is_zeros = next.is_data() && next.is_writable && !next.is_unreserved;
        self.is_writable && is_library && is_zeros && next.end - next.start <= MOST_ZEROS
    }

    /// What a table that the Java VM has reserved and commits by need may consist of.
    pub(crate) fn is_table(&self) -> bool {
        self.is_data() && !self.is_guard() && !(self.is_writable && self.is_unreserved)
    }

    /// The page or pages below a stack: no access, and neither reserved nor accounted.
    pub(crate) fn is_guard(&self) -> bool {
        self.is_data() && self.is_closed && !self.is_unreserved && self.end - self.start <= 1 << 20
    }
}

/// All mappings, in the order of their addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Areas(Vec<Area>);

impl Areas {
    /// Those of a whole text.
    #[cfg(any(test, feature = "cli"))]
    pub(crate) fn of(smaps: &[u8]) -> Areas {
        let mut areas = Areas::default();
        smaps.split(|&byte| byte == b'\n').for_each(|line| areas.take(line));
        areas
    }

    /// Takes the next line, without its newline.
    pub(crate) fn take(&mut self, line: &[u8]) {
        // `Rss:     12 kB`, `VmFlags: rd wr`; a mapping's own line begins with a digit of its address.
        let known = [&b"Rss:"[..], b"Private_Hugetlb:", b"Shared_Hugetlb:", b"Swap:", b"VmFlags:"];
        let key = known.iter().find_map(|key| Some((*key, line.strip_prefix(*key)?)));
        let Some((key, value)) = key else {
            if let Some(line) = MapsLine::read(line) {
                self.0.push(area(&line));
            }
            return;
        };
        let Some(area) = self.0.last_mut() else { return };
        match key {
            b"VmFlags:" => area.is_unreserved = value.split(|&byte| byte == b' ').any(|flag| flag == b"nr"),
            b"Swap:" => area.swapped = area.swapped.saturating_add(kibibytes(value)),
            _ => area.resident = area.resident.saturating_add(kibibytes(value)),
        }
    }

    /// Reads them.
    pub(crate) fn all(&self) -> &[Area] {
        &self.0
    }

    /// Whether it is a process with a Java VM.
    pub(crate) fn is_jvm(&self) -> bool {
        self.0.iter().any(|area| area.backing == Backing::JavaVm)
    }

    /// How much of a range is mapped, and how much of that is resident: a mapping that it has a part of is divided by
    /// length.
    pub(crate) fn within(&self, start: u64, end: u64) -> (u64, u64) {
        let from = self.0.partition_point(|area| area.end <= start);
        let inside = self.0.get(from..).unwrap_or_default().iter().take_while(|area| area.start < end);
        inside.fold((0, 0), |(mapped, resident): (u64, u64), area| {
            let common = area.end.min(end) - area.start.max(start);
            let part = u128::from(area.resident) * u128::from(common) / u128::from((area.end - area.start).max(1));
            (mapped + common, resident.saturating_add(part as u64))
        })
    }

    /// The parts of a range where nothing is mapped.
    pub(crate) fn gaps(&self, start: u64, end: u64) -> Vec<std::ops::Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = start;
        let from = self.0.partition_point(|area| area.end <= start);
        for area in self.0.get(from..).unwrap_or_default().iter().take_while(|area| area.start < end) {
            if area.start > at {
                gaps.push(at..area.start);
            }
            at = at.max(area.end);
        }
        if at < end {
            gaps.push(at..end);
        }
        gaps
    }

    /// The row of adjacent mappings of a kind that an address lies in.
    pub(crate) fn row(&self, address: u64, is_of: impl Fn(&Area) -> bool) -> Option<std::ops::Range<u64>> {
        let at = self.0.partition_point(|area| area.end <= address);
        let here = self.0.get(at).filter(|area| area.start <= address && is_of(area))?;
        let (mut start, mut end) = (here.start, here.end);
        for area in self.0.get(..at)?.iter().rev().take_while(|area| is_of(area)) {
            if area.end != start {
                break;
            }
            start = area.start;
        }
        for area in self.0.get(at + 1..)?.iter().take_while(|area| is_of(area)) {
            if area.start != end {
                break;
            }
            end = area.end;
        }
        Some(start..end)
    }
}

fn area(line: &MapsLine<'_>) -> Area {
    let may = |at: usize, letter: u8| line.permissions.get(at) == Some(&letter);
    Area {
        start: line.start,
        end: line.end,
        backing: Backing::of(line),
        is_code: line.is_code(),
        is_writable: may(1, b'w'),
        is_closed: may(0, b'-') && may(1, b'-') && may(2, b'-'),
        ..Area::default()
    }
}

/// `    12 kB` in bytes.
fn kibibytes(value: &[u8]) -> u64 {
    let number = value.trim_ascii().strip_suffix(b" kB").and_then(|number| std::str::from_utf8(number).ok());
    number.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_ranges_are_mapped_resident_and_gaps() {
        let smaps = b"1000-3000 rw-p 00000000 00:00 0 \nRss: 4 kB\n3000-4000 rw-p 00000000 00:00 0 \n\
                      Rss: 4 kB\n6000-8000 rw-p 00000000 00:00 0 \nRss: 8 kB\n";
        let areas = Areas::of(smaps);
        assert_eq!(areas.within(0x2000, 0x7000), (0x3000, 0x800 + 0x1000 + 0x1000));
        assert_eq!(areas.gaps(0x2000, 0x7000), vec![0x4000..0x6000]);
        assert_eq!(areas.gaps(0, 0x9000), [0..0x1000, 0x4000..0x6000, 0x8000..0x9000]);
        assert_eq!((areas.within(0x4000, 0x6000), areas.gaps(0x1000, 0x4000)), ((0, 0), vec![]));
    }
}
