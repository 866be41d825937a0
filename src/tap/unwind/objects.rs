//! Which loaded object a pc belongs to, and that object's unwind tables.
//!
//! Cold path of a walk. glibc 2.35 and later answer through `_dl_find_object`, which takes no lock and
//! is safe in signal handlers; with an older glibc a table of our own answers (`table`), which is
//! rebuilt outside of the hook. Never `dl_iterate_phdr`, no lock, no allocation.
//!
//! # Safety
//! The tables of an object are read while one of its functions is on the stack, so it is not being
//! unloaded. (A pc that was guessed or is garbage gives no such warrant; it would have to hit an object
//! in the instant in which another thread unloads it.)

#![allow(unsafe_code)]

use core::ffi::{c_int, c_void};
use core::{mem, ptr, slice};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use libc::Elf64_Phdr;

use super::eh_frame_hdr::Tables;
use super::elf::{self, Range};
use super::reader::Segment;
use super::{arch, table};

/// A loaded object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// Its mapping.
    pub(super) mapping: Range,
    /// Where its unwind tables are, if it has any.
    pub(super) tables: Option<Place>,
}

/// Where unwind tables lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The mapped segment that holds them.
    pub(super) segment: Range,
    /// Address of `.eh_frame_hdr` in it.
    pub(super) header: usize,
}

/// `struct dl_find_object` of glibc's <dlfcn.h> (x86-64 and aarch64 have neither dbase nor count).
#[repr(C)]
struct FoundObject {
    flags: u64,
    map_start: usize,
    map_end: usize,
    link_map: *const c_void,
    eh_frame: usize,
    reserved: [u64; 7],
}

type FindObject = unsafe extern "C" fn(pc: *const c_void, found: *mut FoundObject) -> c_int;

impl Object {
    /// Hands the unwind tables to `use_tables`.
    pub(super) fn with_tables<R>(&self, use_tables: impl FnOnce(&Tables<'_>) -> R) -> Option<R> {
        let Place { segment, header } = self.tables?;
        let length = segment.end.checked_sub(segment.start)?;
        // SAFETY: a readable segment of a loaded object, unwritable or not written to; see the head.
        let bytes = unsafe { slice::from_raw_parts(segment.start as *const u8, length) };
        Some(use_tables(&Tables { segment: Segment { bytes, address: segment.start }, header }))
    }
}

/// The object that `pc` belongs to; `None`: no ELF object (generated code, or garbage).
pub(super) fn find(pc: usize) -> Option<Object> {
    match arch::dl_find_object() {
        0 => table::find(pc),
        address => ask_loader(address, pc),
    }
}

fn ask_loader(function: usize, pc: usize) -> Option<Object> {
    // SAFETY: the loader bound this address to `_dl_find_object`, whose type this is.
    let find_object = unsafe { mem::transmute::<usize, FindObject>(function) };
    let mut found =
        FoundObject { flags: 0, map_start: 0, map_end: 0, link_map: ptr::null(), eh_frame: 0, reserved: [0; 7] };
    // SAFETY: any address may be asked for; `found` is a whole `struct dl_find_object`.
    if unsafe { find_object(pc as *const c_void, &mut found) } != 0 {
        return None;
    }
    let mapping = Range { start: found.map_start, end: found.map_end };
    Some(Object { mapping, tables: place(mapping.start, found.eh_frame) })
}

/// The place of the tables whose header lies at `header` in the object mapped at `start`.
fn place(start: usize, header: usize) -> Option<Place> {
    if header == 0 {
        return None;
    }
    let (headers, bias) =
        main_program().filter(|main| elf::eh_frame_header(main.0, main.1) == Some(header)).or_else(|| {
            // SAFETY: the loader says that an object is mapped at `start`, and it is in use (see the head). It
            // maps whole objects; only the program, which the kernel mapped, may begin elsewhere.
            let headers = unsafe { elf::program_headers(start) }?;
            Some((headers, elf::bias(headers, start)?))
        })?;
    Some(Place { segment: elf::segment_of(headers, bias, header)?, header })
}

/// The program headers of the executable, from the kernel's auxiliary vector, and its bias.
///
/// If it has gaps between its segments (linked for large pages), the loader names the segment of a
/// pc alone, and the ELF header is not at its start.
fn main_program<'a>() -> Option<(&'a [Elf64_Phdr], usize)> {
    // SAFETY: reads a vector that never changes.
    let start = unsafe { libc::getauxval(libc::AT_PHDR) } as usize;
    // SAFETY: as above.
    let count = unsafe { libc::getauxval(libc::AT_PHNUM) } as usize;
    if start == 0 {
        return None;
    }
    // SAFETY: the kernel's word for that many headers of the executable, which stays mapped.
    let headers: &[Elf64_Phdr] = unsafe { slice::from_raw_parts(start as *const Elf64_Phdr, count) };
    let table = headers.iter().find(|header| header.p_type == libc::PT_PHDR)?;
    Some((headers, start.wrapping_sub(table.p_vaddr as usize)))
}

unsafe extern "C" {
    /// The linker's name for our own ELF header.
    static __ehdr_start: u8;
}

/// The code of the object that this function is in: `libheaptap.so`, or a test's executable.
///
/// Frames in it are ours. Computed once, without lock: all threads would store the same.
pub(crate) fn own_object() -> (usize, usize) {
    static START: AtomicUsize = AtomicUsize::new(0);
    static END: AtomicUsize = AtomicUsize::new(0);
    let known = (START.load(Relaxed), END.load(Relaxed));
    if known.0 != 0 && known.1 != 0 {
        return known;
    }
    let Some(Range { start, end }) = own_code() else { return (0, 0) };
    START.store(start, Relaxed);
    END.store(end, Relaxed);
    (start, end)
}

fn own_code() -> Option<Range> {
    let start = &raw const __ehdr_start as usize;
    // SAFETY: our own first page, mapped as long as we run.
    let headers = unsafe { elf::program_headers(start) }?;
    elf::code_range(headers, elf::bias(headers, start)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_of_a_function_has_tables_that_cover_it() {
        for pc in [find as *const () as usize, libc::qsort as *const () as usize] {
            let object = find(pc).expect("loaded");
            let place = object.tables.expect("has tables");
            assert!(object.mapping.contains(pc));
            assert!(place.segment.contains(place.header));
            assert!(object.with_tables(|tables| tables.entry_for(pc)).expect("has tables").is_ok());
        }
    }

    #[test]
    fn addresses_outside_of_every_object_have_none() {
        let heap = Box::new(0_u8);
        for pc in [0, 1, &raw const *heap as usize, usize::MAX] {
            assert_eq!(find(pc), None, "{pc:#x}");
        }
    }

    #[test]
    fn our_own_code_is_known() {
        let (start, end) = own_object();
        let inside = |pc: usize| start <= pc && pc < end;
        assert!(inside(own_object as *const () as usize) && inside(find as *const () as usize));
        assert!(!inside(libc::qsort as *const () as usize) && !inside(&raw const end as usize));
        assert_eq!(own_object(), (start, end));
    }
}
