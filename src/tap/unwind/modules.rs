//! The objects that the process has loaded, by the kernel's list of its mappings.
//!
//! Not by the loader's list: `dl_iterate_phdr` waits for the loader's lock, and a thread that is stopped in a callback
//! of the list (by a collector, by a debugger, by itself) has that lock for good; no end of a process may wait for it.
//! The mappings say where an object begins; its headers and notes are read by copies that the kernel checks, for the
//! object may be unloaded meanwhile. For errands: allocates, and reads a file.

use core::mem;
use std::collections::BTreeMap;

use super::elf::{self, FIRST_PAGE, Range};
use super::object::{Object, UnwindTables};
use crate::tap::os::peek::Peek;
use crate::wire::elf::{PT_NOTE, Segments, build_id};
use crate::wire::maps_line::MapsLine;

/// Bytes of an object's notes that are looked at; a build id takes 36.
const NOTES: usize = 1024;

/// One object that code is mapped from.
pub(crate) struct Module<'a> {
    /// Its file; `[vdso]` for the kernel's own.
    pub(crate) path: &'a [u8],
    /// The difference between addresses in memory and in the file.
    bias: usize,
    segments: Segments<'a>,
    peek: &'a Peek,
}

impl Module<'_> {
    /// As the unwinder sees it.
    pub(super) fn object(&self) -> Option<Object> {
        let header = elf::eh_frame_header(self.segments, self.bias);
        let place = header.and_then(|header| {
            let segment = elf::segment_of(self.segments, self.bias, header)?;
            Some(UnwindTables { segment: Some(segment), header })
        });
        Some(Object { mapping: elf::whole_range(self.segments, self.bias)?, tables: place, is_permanent: false })
    }

    /// Its GNU build id, if it has one.
    pub(crate) fn build_id(&self) -> Option<Vec<u8>> {
        self.segments.iter().filter(|segment| segment.kind == PT_NOTE).find_map(|segment| {
            let Range { start, end } = elf::range(&segment, self.bias, segment.file_bytes);
            let mut notes = [0; NOTES];
            let notes = notes.get_mut(..end.checked_sub(start)?.min(NOTES))?;
            if self.peek.at(start, notes) { build_id(notes).map(<[u8]>::to_vec) } else { None }
        })
    }
}

/// Shows every object in these mappings (`/proc/PID/maps`) that code is mapped from to `visitor`.
pub(crate) fn modules(maps: &[u8], visitor: &mut dyn FnMut(&Module<'_>)) {
    let peek = Peek::default();
    // Where the first page of each file lies, and whether its code was met: what is mapped twice is shown twice.
    let mut objects = BTreeMap::<&[u8], (usize, bool)>::new();
    for line in MapsLine::all(maps).filter(|line| line.path.starts_with(b"/") || line.path == b"[vdso]") {
        if line.offset == 0 {
            objects.insert(line.path, (line.start as usize, false));
        }
        let Some((base, is_shown)) = objects.get_mut(line.path) else { continue };
        if line.is_code() && !mem::replace(is_shown, true) {
            show(&peek, line.path, *base, visitor);
        }
    }
}

fn show(peek: &Peek, path: &[u8], base: usize, visitor: &mut dyn FnMut(&Module<'_>)) {
    let mut page = [0; FIRST_PAGE];
    if !peek.at(base, &mut page) {
        return;
    }
    let Some(segments) = Segments::of_object(&page) else { return };
    if let Some(bias) = elf::bias(segments, base) {
        visitor(&Module { path, bias, segments, peek });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_executable_and_libc_are_listed() {
        let maps = std::fs::read("/proc/self/maps").expect("readable");
        let own = std::env::current_exe().expect("has a path");
        let mut seen = vec![];
        modules(&maps, &mut |module| {
            let range = module.object().expect("has segments").mapping;
            let holds = |function: *const ()| range.contains(function as usize);
            let id = module.build_id().map_or(0, |id| id.len());
            if module.path == own.as_os_str().as_encoded_bytes() {
                assert!(holds(show as *const ()) && id == 20);
                seen.push("executable");
            }
            if holds(libc::qsort as *const ()) {
                assert!(module.path.starts_with(b"/") && id == 20);
                seen.push("libc");
            }
            if module.path == b"[vdso]" {
                seen.push("vdso");
            }
        });
        seen.sort_unstable();
        assert_eq!(seen, ["executable", "libc", "vdso"]);
    }

    #[test]
    fn what_is_gone_or_no_object_is_not_listed() {
        let mut listed = 0;
        let gone = b"10000-11000 r--p 00000000 fe:01 12   /gone.so\n11000-12000 r-xp 00001000 fe:01 12   /gone.so\n";
        for maps in [&gone[..], b"rubbish\n-\n1-2 r-xp x y z /a\n1-2 r-xp 0 0 0 /a\n"] {
            modules(maps, &mut |_| listed += 1);
        }
        assert_eq!(listed, 0);
    }
}
