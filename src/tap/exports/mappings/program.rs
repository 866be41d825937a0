//! The program's own calls: made as they are, and recorded (`profiler/mapped`).
//!
//! What is unmapped is recorded before the kernel is asked and what is mapped afterwards, so that no other thread's
//! range comes in between (`store/mappings`). The exported functions are named by libc's names, which lead here.
//!
//! # Safety
//! The calls are libc's own, passed on as they are.
#![allow(unsafe_code)]

use crate::tap::lifecycle::mapping_calls::{MAPPING_CALLS, Mmap, Mremap, Munmap};
use crate::tap::os::recent_pages::RECENT_PAGES;
use crate::tap::os::{map, sys};
use crate::tap::profiler::{PROFILER, Source};
use crate::tap::store::Span;
use crate::wire::live::failures::Wish;
use crate::wire::live::mapped::{LEAST_MAPPING, MappingKind, MappingRecord};
use crate::wire::live::supply::Supply;
use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering;

/// mmap(2) of the program.
pub(super) unsafe extern "C" fn map_memory(
    address: *mut c_void,
    bytes: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: i64,
) -> *mut c_void {
    let call = || {
        let result = match MAPPING_CALLS.mmap.load(Ordering::Acquire) {
            // SAFETY: passed on to the caller.
            0 => unsafe { map::raw_mmap(address, bytes, protection, flags, fd, offset) },
            // SAFETY: the function of that name.
            real => unsafe { std::mem::transmute::<usize, Mmap>(real)(address, bytes, protection, flags, fd, offset) },
        };
        if flags & libc::MAP_FIXED != 0 {
            RECENT_PAGES.forget();
        }
        result
    };
    if !PROFILER.watches_mappings() {
        return call();
    }
    // A few pages in the middle of more are still mapped, and stay with what is around them: guards, above all.
    let is_fixed = flags & libc::MAP_FIXED != 0 && bytes >= LEAST_MAPPING;
    if is_fixed {
        PROFILER.unmap(span(address, bytes));
    }
    let result = call();
    if result == libc::MAP_FAILED {
        // Huge pages are asked for on the chance that there are some.
        if flags & libc::MAP_HUGETLB == 0 {
            note_failure(bytes, libc::mmap as *const () as usize);
        }
    } else if bytes >= LEAST_MAPPING {
        let Span { start, end } = span(result, bytes);
        let record =
            MappingRecord { start, bytes: end - start, kind: kind(protection, flags), ..MappingRecord::default() };
        let file = (record.kind == MappingKind::File).then_some(fd);
        let source = Source { supply: Supply::Mapping, entry: libc::mmap as *const () as usize, file };
        PROFILER.map(&record, source, is_fixed);
    }
    result
}

/// munmap(2) of the program.
pub(super) unsafe extern "C" fn unmap_memory(address: *mut c_void, bytes: usize) -> c_int {
    // What is not page-aligned the kernel refuses.
    if PROFILER.watches_mappings() && (address as usize).is_multiple_of(map::page_size()) && bytes > 0 {
        PROFILER.unmap(span(address, bytes));
    }
    let result = match MAPPING_CALLS.munmap.load(Ordering::Acquire) {
        // SAFETY: passed on to the caller.
        0 => unsafe { map::raw_munmap(address, bytes) },
        // SAFETY: the function of that name.
        real => unsafe { std::mem::transmute::<usize, Munmap>(real)(address, bytes) },
    };
    RECENT_PAGES.forget();
    result
}

/// mremap(2) of the program. Variadic in C: five arguments in registers.
pub(super) unsafe extern "C" fn remap_memory(
    address: *mut c_void,
    bytes: usize,
    new_bytes: usize,
    flags: c_int,
    new_address: *mut c_void,
) -> *mut c_void {
    let call = || {
        let result = match MAPPING_CALLS.mremap.load(Ordering::Acquire) {
            // SAFETY: passed on to the caller.
            0 => unsafe { map::raw_mremap(address, bytes, new_bytes, flags, new_address) },
            // SAFETY: the function of that name.
            real => unsafe {
                std::mem::transmute::<usize, Mremap>(real)(address, bytes, new_bytes, flags, new_address)
            },
        };
        RECENT_PAGES.forget();
        result
    };
    if !PROFILER.watches_mappings() {
        return call();
    }
    let parked = PROFILER.park(span(address, bytes));
    if flags & libc::MREMAP_FIXED != 0 && parked.is_some() {
        PROFILER.unmap(span(new_address, new_bytes));
    }
    let result = call();
    let entry = libc::mremap as *const () as usize;
    let is_moved = result != libc::MAP_FAILED;
    if !is_moved && flags & libc::MREMAP_MAYMOVE != 0 {
        note_failure(new_bytes, entry);
    }
    let Span { start, end } = span(result, new_bytes);
    let record = MappingRecord { start, bytes: end.wrapping_sub(start), ..MappingRecord::default() };
    match parked {
        None => {}
        Some(parked) if !is_moved => PROFILER.stay(&parked),
        // The old range stays mapped, and is empty.
        Some(parked) if flags & libc::MREMAP_DONTUNMAP != 0 => {
            PROFILER.stay(&parked);
            PROFILER.map(&record, Source { supply: Supply::Mapping, entry, file: None }, false);
        }
        Some(parked) => PROFILER.settle(&parked, &record, entry),
    }
    result
}

/// The pages of a range.
fn span(address: *mut c_void, bytes: usize) -> Span {
    let (start, page) = (address as u64, map::page_size() as u64);
    Span { start, end: start.saturating_add((bytes as u64).saturating_add(page - 1) / page * page) }
}

fn kind(protection: c_int, flags: c_int) -> MappingKind {
    match () {
        () if protection == libc::PROT_NONE => MappingKind::Reserved,
        () if flags & libc::MAP_ANONYMOUS == 0 => MappingKind::File,
        () if flags & libc::MAP_SHARED != 0 => MappingKind::Shared,
        () => MappingKind::Anonymous,
    }
}

#[cold]
fn note_failure(bytes: usize, entry: usize) {
    let errno = sys::errno();
    if errno == libc::ENOMEM {
        sys::keep_errno(|| PROFILER.note_failure(Wish::Mapping, errno, bytes, entry));
    }
}
