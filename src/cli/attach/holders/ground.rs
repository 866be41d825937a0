//! What a process has mapped, as a search for pointers sees it: what is to be read, and whose a word there is.

use crate::cli::attach::peer_memory::Wanted;
use crate::wire::maps_line::MapsLine;
use crate::wire::resident::known::{Known, Owner};
use std::ops::Range;

/// Longest zeros (`.bss`) behind a library that are believed to be its own.
const MOST_ZEROS: u64 = 64 << 20;

/// What a mapping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Variables of a program or library: its data, or the zeros behind it.
    Module,
    /// The same of the C library, whose malloc notes chunks there.
    Libc,
    /// The tap's own: what it notes of blocks holds none.
    Tap,
    /// The main thread's stack.
    MainStack,
    /// What `brk` gave.
    Break,
    /// Private memory without a file.
    Anonymous,
    /// A file or memory that others may share.
    Shared,
}

/// A mapping that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Area {
    /// Its addresses.
    pub(super) range: Range<u64>,
    /// What it is.
    pub(super) kind: Kind,
    /// Where the memory begins that lies side by side with it.
    pub(super) floor: u64,
    /// Which pages may hold pointers.
    pub(super) wanted: Wanted,
}

/// All of them, by address.
#[derive(Debug, Default)]
pub(super) struct Ground {
    areas: Vec<Area>,
}

impl Ground {
    /// Of `/proc/PID/maps`.
    pub(super) fn of(maps: &[u8]) -> Ground {
        let mut ground = Ground::default();
        for line in MapsLine::all(maps) {
            let before = ground.areas.last().filter(|before| before.range.end == line.start);
            let is_library = before.is_some_and(|before| matches!(before.kind, Kind::Module | Kind::Libc | Kind::Tap));
            let Some((mut kind, wanted)) = kind(&line) else { continue };
            let is_zeros = kind == Kind::Anonymous && is_library && line.end - line.start <= MOST_ZEROS;
            if let Some(before) = before.filter(|_| is_zeros && line.permissions.get(1) == Some(&b'w')) {
                kind = before.kind;
            }
            let floor = before.filter(|before| before.kind == kind).map_or(line.start, |before| before.floor);
            ground.areas.push(Area { range: line.start..line.end, kind, floor, wanted });
        }
        ground
    }

    /// What may hold pointers that matter, in the order of the addresses.
    pub(super) fn read(&self) -> impl Iterator<Item = &Area> {
        self.areas.iter().filter(|area| area.kind != Kind::Tap)
    }

    /// The mapping of an address.
    pub(super) fn area(&self, address: u64) -> Option<&Area> {
        let after = self.areas.partition_point(|area| area.range.start <= address);
        self.areas.get(after.checked_sub(1)?).filter(|area| area.range.contains(&address))
    }

    /// An address that can be read for certain.
    pub(super) fn probe(&self) -> u64 {
        self.areas.iter().find(|area| area.kind == Kind::Module).map_or(0, |area| area.range.start)
    }
}

/// What a line is; `None`: nothing of it is read.
fn kind(line: &MapsLine<'_>) -> Option<(Kind, Wanted)> {
    let name = line.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let is_private = line.permissions.last() == Some(&b'p');
    let (is_readable, is_writable) = (line.permissions.first() == Some(&b'r'), line.permissions.get(1) == Some(&b'w'));
    if !is_readable {
        return None;
    }
    Some(match line.path {
        path if path.starts_with(b"/dev/shm/heaptap-") => return None,
        _ if name.starts_with(b"libheaptap") => (Kind::Tap, Wanted::Written),
        b"[heap]" => (Kind::Break, Wanted::Present),
        b"[stack]" => (Kind::MainStack, Wanted::Present),
        b"" if is_private => (Kind::Anonymous, Wanted::Present),
        path if path.starts_with(b"[anon") && is_private => (Kind::Anonymous, Wanted::Present),
        path if path.starts_with(b"[") => return None,
        // The heap of ZGC, and of others that map it twice.
        _ if !is_private && is_writable => (Kind::Shared, Wanted::Present),
        _ if is_private && (name.starts_with(b"libc.so") || name.starts_with(b"libc-2.")) => {
            (Kind::Libc, Wanted::Written)
        }
        _ if is_private => (Kind::Module, Wanted::Written),
        _ => return None,
    })
}

/// Whose an address is by what the process tells of its Java VM.
pub(super) fn java_owner(known: &Known, address: u64) -> Option<Owner> {
    let range = known.ranges.iter().find(|(_, range)| range.contains(&address))?;
    Some(range.0).filter(|owner| *owner != Owner::Malloc)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"1000-2000 r-xp 0 fe:01 12 /a/app\n2000-3000 rw-p 1000 fe:01 12 /a/app\n\
        3000-5000 rw-p 0 00:00 0 \n5000-9000 rw-p 0 00:00 0 [heap]\n\
        10000-11000 rw-p 0 00:00 0 \n11000-12000 rw-p 0 00:00 0 \n12000-13000 ---p 0 00:00 0 \n\
        20000-21000 rw-s 0 00:18 9 /dev/shm/heaptap-0/1.region\n21000-22000 rw-s 0 00:18 9 /memfd:java_heap\n\
        22000-23000 r--s 0 00:18 9 /x\n30000-31000 rw-p 0 fe:01 9 /l/libheaptap.so\n31000-32000 rw-p 0 00:00 0 \n\
        40000-41000 rw-p 0 00:00 0 [stack]\n50000-51000 r--p 0 00:00 0 [vvar]\n";

    #[test]
    fn what_is_read_and_whose_it_is() {
        let ground = Ground::of(MAPS);
        let kind = |address| ground.area(address).map(|area| area.kind);
        assert_eq!(kind(0x2800), Some(Kind::Module));
        assert_eq!((kind(0x4800), kind(0x5800)), (Some(Kind::Module), Some(Kind::Break)));
        assert_eq!(ground.area(0x11800).map(|area| (area.kind, area.floor)), Some((Kind::Anonymous, 0x10000)));
        assert_eq!([0x12800, 0x20800, 0x22800, 0x50800].map(kind), [None; 4]);
        assert_eq!(
            (kind(0x21800), kind(0x31800), kind(0x40800)),
            (Some(Kind::Shared), Some(Kind::Tap), Some(Kind::MainStack))
        );
        assert_eq!(ground.read().filter(|area| area.kind == Kind::Tap).count(), 0);
        assert_eq!(ground.probe(), 0x1000);
    }

    #[test]
    fn the_java_vm_tells_whose_its_memory_is() {
        let known = Known { ranges: vec![(Owner::JavaHeap, 10..20), (Owner::Malloc, 30..40)], ..Known::default() };
        assert_eq!([5, 10, 35].map(|at| java_owner(&known, at)), [None, Some(Owner::JavaHeap), None]);
    }
}
