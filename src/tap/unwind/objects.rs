//! The loaded object that a pc belongs to, found through the loader.
//!
//! Cold path of a walk. glibc 2.35 and later answer through `_dl_find_object`, which takes no lock and
//! is safe in signal handlers; with an older glibc a table of our own answers (`table`), which is
//! rebuilt outside of the hook. Never `dl_iterate_phdr`, no lock, no allocation.
//!
//! Objects that the process began with are never unloaded, and are read plainly. All others may be going while they are
//! looked at (a return address need not be one, and a library can be closed at any time), and is read through the
//! kernel (`cfi::rule_through`).
//!
//! # Safety
//! Calls the loader's function by the type that glibc gives it. Follows the loader's records in the first call, when
//! nobody changes them.

#![allow(unsafe_code)]

use core::ffi::{c_int, c_void};
use core::{mem, ptr};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::elf::Range;
use super::object::{Object, UnwindTables};
use super::own_object::own_object;
use super::{arch, table};
use crate::tap::code_address::LookupAddress;

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

/// The object that `pc` belongs to; `None`: no ELF object (generated code, or garbage).
pub(super) fn find(pc: LookupAddress) -> Option<Object> {
    match arch::dl_find_object() {
        0 => table::find(pc),
        _ => ask_loader(pc),
    }
}

/// The loader's answer about a pc; none where it cannot be asked.
fn found_by_loader(pc: LookupAddress) -> Option<FoundObject> {
    let function = arch::dl_find_object();
    if function == 0 {
        return None;
    }
    // SAFETY: the loader bound this address to `_dl_find_object`, whose type this is.
    let find_object = unsafe { mem::transmute::<usize, FindObject>(function) };
    let mut found =
        FoundObject { flags: 0, map_start: 0, map_end: 0, link_map: ptr::null(), eh_frame: 0, reserved: [0; 7] };
    // SAFETY: any address may be asked for; `found` is a whole `struct dl_find_object`.
    let is_found = unsafe { find_object(pc.address() as *const c_void, &mut found) } == 0;
    is_found.then_some(found)
}

fn ask_loader(pc: LookupAddress) -> Option<Object> {
    let found = found_by_loader(pc)?;
    let mapping = Range { start: found.map_start, end: found.map_end };
    let tables = (found.eh_frame != 0).then_some(UnwindTables { segment: None, header: found.eh_frame });
    Some(Object { mapping, tables, is_permanent: is_permanent(found.link_map) })
}

/// Objects that the process began with, by the loader's records of them; zeros behind. Relaxed: a number that stands
/// for itself, and one that is not seen yet only makes a look-up dearer.
static PERMANENT: [AtomicUsize; 256] = [const { AtomicUsize::new(0) }; 256];

/// `struct link_map` of <link.h>, as far as its layout is promised.
#[repr(C)]
struct LinkMap {
    bias: usize,
    name: *const c_void,
    dynamic: *const c_void,
    next: *const LinkMap,
    previous: *const LinkMap,
}

/// Notes what the process began with. For its first call, which comes from the loader or from a constructor: before any
/// library is opened, because opening one allocates.
pub(crate) fn note_permanent() {
    let own = own_object().0;
    let Some(mut found) = found_by_loader(LookupAddress::inside(own)) else { return };
    // SAFETY: the loader's record of this very object, which is in use.
    while let Some(before) = unsafe { found.link_map.cast::<LinkMap>().as_ref() }.map(|map| map.previous)
        && !before.is_null()
    {
        found.link_map = before.cast();
    }
    let mut next = found.link_map.cast::<LinkMap>();
    for place in &PERMANENT {
        // SAFETY: the list of records, which nobody changes during the first call: see above.
        let Some(map) = (unsafe { next.as_ref() }) else { return };
        place.store(next as usize, Ordering::Relaxed);
        next = map.next;
    }
}

fn is_permanent(link_map: *const c_void) -> bool {
    let known = PERMANENT.iter().map(|place| place.load(Ordering::Relaxed)).take_while(|known| *known != 0);
    !link_map.is_null() && known.into_iter().any(|known| known == link_map as usize)
}

#[cfg(test)]
mod tests {
    use super::super::object::segment_of;
    use super::*;

    #[test]
    fn the_object_of_a_function_has_tables_that_cover_it() {
        for pc in [find as *const () as usize, libc::qsort as *const () as usize] {
            let object = find(LookupAddress::inside(pc)).expect("loaded");
            let place = object.tables.expect("has tables");
            assert!(object.mapping.contains(pc));
            let segment = place.segment.or_else(|| segment_of(object.mapping.start, place.header));
            assert!(segment.expect("has one").contains(place.header));
            assert!(object.with_tables(|tables| tables.entry_for(pc)).expect("has tables").is_ok());
        }
    }

    #[test]
    fn what_the_process_began_with_is_permanent_and_what_it_opens_is_not() {
        note_permanent();
        let is_permanent = |pc: usize| find(LookupAddress::inside(pc)).map(|object| object.is_permanent);
        assert_eq!(is_permanent(find as *const () as usize), Some(true));
        assert_eq!(is_permanent(libc::qsort as *const () as usize), Some(true));
        // SAFETY: a NUL-terminated name.
        let library = unsafe { libc::dlopen(c"libstdc++.so.6".as_ptr(), libc::RTLD_NOW) };
        // SAFETY: a handle or null, and a NUL-terminated name.
        let function = unsafe { libc::dlsym(library, c"_Znwm".as_ptr()) };
        assert!(function.is_null() || is_permanent(function as usize) == Some(false));
    }

    #[test]
    fn addresses_outside_of_every_object_have_none() {
        let heap = Box::new(0_u8);
        for pc in [0, 1, &raw const *heap as usize, usize::MAX] {
            assert_eq!(find(LookupAddress::inside(pc)), None, "{pc:#x}");
        }
    }
}
