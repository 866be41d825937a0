//! The objects that the process has loaded, as dumps and the live region list them.
//!
//! Off the sample path only: `dl_iterate_phdr` takes the loader's lock. Allocates nothing; the visitor
//! runs under that lock and must not block, allocate or load objects.
//!
//! # Safety
//! What is dereferenced are the loader's own headers and names and mapped notes, which stay in place
//! while the lock is held.

#![allow(unsafe_code)]

use core::ffi::{CStr, c_int, c_void};
use core::{ptr, slice};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use libc::{Elf64_Phdr, PT_NOTE, dl_phdr_info};

use super::elf::{self, Range};
use super::objects::{Object, Place};
use super::reader::Segment;
use super::rules::forget_objects;
use crate::tap::os::loader_list;

/// Type of the note that holds a build id (`NT_GNU_BUILD_ID`).
const BUILD_ID: u32 = 3;

/// One loaded object.
pub(crate) struct Module<'a> {
    /// Its file, as the loader names it; the executable by its real path. The vdso has only a name.
    pub(crate) path: &'a [u8],
    /// First mapped address.
    pub(crate) start: usize,
    /// One past the last mapped address.
    pub(crate) end: usize,
    /// What was added to the file's addresses.
    pub(crate) bias: usize,
    /// GNU build id; empty if it has none.
    pub(crate) build_id: &'a [u8],
    headers: &'a [Elf64_Phdr],
}

impl Module<'_> {
    /// The same, as the unwinder sees it.
    pub(super) fn object(&self) -> Object {
        let header = elf::eh_frame_header(self.headers, self.bias);
        let place = header.and_then(|header| {
            let segment = elf::segment_of(self.headers, self.bias, header)?;
            Some(Place { segment, header })
        });
        Object { mapping: Range { start: self.start, end: self.end }, tables: place }
    }
}

struct Visit<'a> {
    executable: &'a [u8],
    visitor: &'a mut dyn FnMut(&Module<'_>),
    seen: usize,
    unloaded: u64,
}

/// Shows every loaded object to `visitor`, the executable first.
///
/// Notices objects that were unloaded behind our back (glibc's own `dlclose` calls cannot be
/// interposed) and then forgets the cached rules.
pub(crate) fn modules(visitor: &mut dyn FnMut(&Module<'_>)) {
    static UNLOADED: AtomicU64 = AtomicU64::new(0);
    let mut buffer = [0; libc::PATH_MAX as usize];
    let mut visit = Visit { executable: executable_path(&mut buffer), visitor, seen: 0, unloaded: 0 };
    let data = (&raw mut visit).cast::<c_void>();
    // SAFETY: `show` has the type of the callback and gets `visit`, which outlives the call.
    let walked = loader_list::walk(|| unsafe { libc::dl_iterate_phdr(Some(show), data) });
    if walked.is_some() && UNLOADED.swap(visit.unloaded, Relaxed) != visit.unloaded {
        forget_objects();
    }
}

fn executable_path(buffer: &mut [u8]) -> &[u8] {
    // SAFETY: writes at most the length of the buffer.
    let length = unsafe { libc::readlink(c"/proc/self/exe".as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(length).ok().and_then(|length| buffer.get(..length)).unwrap_or(&[])
}

unsafe extern "C" fn show(info: *mut dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: `dl_iterate_phdr` passes a filled structure.
    let info = unsafe { info.read() };
    // SAFETY: `modules` passed its `Visit`, and nobody else uses it meanwhile.
    let visit = unsafe { &mut *data.cast::<Visit<'_>>() };
    visit.unloaded = info.dlpi_subs;
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the loader's array of that many headers.
    let headers = unsafe { slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let bias = info.dlpi_addr as usize;
    let Some(Range { start, end }) = elf::whole_range(headers, bias) else { return 0 };
    let path = match name(info.dlpi_name) {
        b"" if visit.seen == 0 => visit.executable,
        path => path,
    };
    visit.seen += 1;
    let build_id = build_id(headers, bias);
    (visit.visitor)(&Module { path, start, end, bias, build_id, headers });
    0
}

fn name<'a>(pointer: *const libc::c_char) -> &'a [u8] {
    if ptr::eq(pointer, ptr::null()) {
        return &[];
    }
    // SAFETY: the loader's string, which lives as long as the object.
    unsafe { CStr::from_ptr(pointer) }.to_bytes()
}

/// The build id of an object, from its mapped notes.
fn build_id<'a>(headers: &[Elf64_Phdr], bias: usize) -> &'a [u8] {
    let notes = headers.iter().filter(|header| header.p_type == PT_NOTE);
    notes.filter_map(|header| build_id_in(headers, header, bias)).next().unwrap_or(&[])
}

fn build_id_in<'a>(headers: &[Elf64_Phdr], note: &Elf64_Phdr, bias: usize) -> Option<&'a [u8]> {
    let Range { start, end } = elf::range(note, bias, note.p_filesz);
    let segment = elf::segment_of(headers, bias, start)?;
    if end > segment.end {
        return None;
    }
    // SAFETY: inside a readable segment of an object that stays loaded under the loader's lock.
    let bytes = unsafe { slice::from_raw_parts(start as *const u8, end - start) };
    find_build_id(bytes)
}

/// Notes: three words (length of the name, of the description, type), then both, padded to words.
fn find_build_id(bytes: &[u8]) -> Option<&[u8]> {
    let mut notes = Segment { bytes, address: 0 }.reader_at(0)?;
    loop {
        let [name, description, kind] = [notes.u32()?, notes.u32()?, notes.u32()?];
        let name = notes.take(name.checked_next_multiple_of(4)? as usize)?.rest();
        let padded = notes.take(description.checked_next_multiple_of(4)? as usize)?.rest();
        if kind == BUILD_ID && name == b"GNU\0" {
            return padded.get(..description as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_executable_and_libc_are_listed() {
        let (mut seen, mut libc_seen) = (0, false);
        let own = std::env::current_exe().expect("has a path");
        modules(&mut |module| {
            let holds = |pc: usize| module.start <= pc && pc < module.end;
            if seen == 0 {
                assert_eq!(module.path, own.as_os_str().as_encoded_bytes());
                assert!(holds(build_id_in as *const () as usize));
            }
            if holds(libc::qsort as *const () as usize) {
                libc_seen = module.path.starts_with(b"/") && module.build_id.len() == 20;
            }
            assert!(module.start < module.end);
            seen += 1;
        });
        assert!(seen >= 3 && libc_seen);
    }

    #[test]
    fn a_build_id_is_found_behind_other_notes() {
        let mut notes = vec![];
        for (kind, name, description) in [(1_u32, &b"GNU\0"[..], &[9; 16][..]), (3, b"GNU\0", &[1, 2, 3, 4, 5])] {
            for word in [name.len() as u32, description.len() as u32, kind] {
                notes.extend(word.to_le_bytes());
            }
            notes.extend(name);
            notes.extend(description);
            notes.resize(notes.len().next_multiple_of(4), 0);
        }
        assert_eq!(find_build_id(&notes), Some(&[1, 2, 3, 4, 5][..]));
        assert_eq!(find_build_id(notes.get(..notes.len() - 4).expect("longer")), None);
    }
}
