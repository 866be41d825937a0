//! `prof_allocator:keep`: has the allocator serve that the process would have without the tap.
//!
//! Its functions are looked up during the first call, behind this library (RTLD_NEXT), all or none.
//!
//! # Safety
//! Looks names up and asks which library an address is in; the table is written before anything is served.
#![allow(unsafe_code)]

use crate::tap::backend::next::{self, NEXT};
use crate::tap::backend::{keep, redirect};
use crate::tap::os::libc_names::is_glibc;
use crate::tap::os::stderr;
use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::Ordering;
use std::{mem, ptr};

/// Has the next allocator serve what is not sampled; says so on stderr where that cannot be.
///
/// # Safety
/// During the first call, before anything was served.
pub(super) unsafe fn keep_next() {
    // SAFETY: passed on to the caller. Until the table is written the stubs lead to jemalloc, too.
    if !unsafe { redirect::to_next() } {
        stderr::say(&[b"heaptap: prof_allocator:keep needs to change its own code, which is not allowed here \
              (MemoryDenyWriteExecute of systemd, or SELinux): the allocator of heaptap serves"]);
        return;
    }
    match serve_by_next() {
        Ok(()) => {
            // SAFETY: passed on to the caller.
            unsafe { redirect::past_stubs() };
            keep::note(file());
        }
        Err(missing) => stderr::say(&[
            b"heaptap: prof_allocator:keep finds no ",
            missing.to_bytes(),
            b" behind it: the allocator of heaptap serves",
        ]),
    }
}

/// Looks the next allocator up and has it serve from now on. The name that is missing, if one is: nothing has changed
/// then.
fn serve_by_next() -> Result<(), &'static CStr> {
    let essential = [
        (c"malloc", &NEXT.malloc),
        (c"calloc", &NEXT.calloc),
        (c"realloc", &NEXT.realloc),
        (c"free", &NEXT.free),
        // musl's memalign calls aligned_alloc by name, which comes back to us.
        (if is_glibc() { c"memalign" } else { c"aligned_alloc" }, &NEXT.memalign),
        (c"malloc_usable_size", &NEXT.malloc_usable_size),
    ];
    let found = essential.map(|(name, _)| behind(name));
    if let Some(((name, _), _)) = essential.iter().zip(&found).find(|(_, found)| found.is_null()) {
        return Err(name);
    }
    essential.iter().zip(found).for_each(|((_, place), found)| place.store(found, Ordering::Relaxed));
    if file_contains(b"jemalloc") {
        serve_extended();
    } else {
        next::make_extended();
    }
    serve_statistics();
    serve_own_words();
    Ok(())
}

/// Questions about glibc's malloc, and the same of others: only where they stand beside `malloc`, because libc's own
/// would describe a heap that is not used. Only names that libc has are looked up: a look-up that fails leaves a text
/// behind, which the next one frees, and a library that looks up its `free` while it is called never comes back.
fn serve_statistics() {
    let names = [
        (c"mallinfo", &NEXT.mallinfo),
        (c"mallopt", &NEXT.mallopt),
        (c"malloc_info", &NEXT.malloc_info),
        (c"malloc_stats", &NEXT.malloc_stats),
        (c"malloc_trim", &NEXT.malloc_trim),
        (c"mallinfo2", &NEXT.mallinfo2),
    ];
    let known = match () {
        () if !is_glibc() => 0,
        () if libc_has_mallinfo2() => names.len(),
        () => names.len() - 1,
    };
    let home = place_of(NEXT.malloc_usable_size.load(Ordering::Relaxed)).map(|place| place.dli_fbase);
    for (name, place) in names.into_iter().take(known) {
        let found = behind(name);
        let is_at_home = home.is_some() && place_of(found).map(|place| place.dli_fbase) == home;
        if is_at_home {
            place.store(found, Ordering::Relaxed);
        }
    }
}

/// What tcmalloc (gperftools) and mimalloc have in the place of glibc's names. Their functions to give memory back are
/// called alike: the argument is mimalloc's, and tcmalloc's has none.
fn serve_own_words() {
    let names: &[(&CStr, _)] = match () {
        () if file_contains(b"tcmalloc") => &[
            (c"MallocExtension_GetNumericProperty", &NEXT.numeric_property),
            (c"MallocExtension_ReleaseFreeMemory", &NEXT.release),
        ],
        () if file_contains(b"mimalloc") => &[(c"mi_collect", &NEXT.release)],
        () => &[],
    };
    names.iter().for_each(|(name, place)| place.store(behind(name), Ordering::Relaxed));
}

/// Since glibc 2.33.
fn libc_has_mallinfo2() -> bool {
    let address = behind(c"gnu_get_libc_version");
    if address.is_null() {
        return false;
    }
    // SAFETY: the function of this name has this type.
    let version = unsafe { mem::transmute::<*mut c_void, extern "C" fn() -> *const c_char>(address) };
    // SAFETY: the text is libc's own and stays.
    let version = unsafe { CStr::from_ptr(version()) }.to_str().unwrap_or_default();
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(2), Some(33))
}

/// jemalloc's own interface, of a next allocator that is a jemalloc.
fn serve_extended() {
    for (name, place) in [
        (c"mallocx", &NEXT.mallocx),
        (c"rallocx", &NEXT.rallocx),
        (c"xallocx", &NEXT.xallocx),
        (c"sallocx", &NEXT.sallocx),
        (c"dallocx", &NEXT.dallocx),
        (c"sdallocx", &NEXT.sdallocx),
        (c"nallocx", &NEXT.nallocx),
        (c"mallctl", &NEXT.mallctl),
        (c"mallctlnametomib", &NEXT.mallctlnametomib),
        (c"mallctlbymib", &NEXT.mallctlbymib),
        (c"malloc_stats_print", &NEXT.malloc_stats_print),
    ] {
        let found = behind(name);
        if !found.is_null() {
            place.store(found, Ordering::Relaxed);
        }
    }
}

/// The function of this name behind this library.
fn behind(name: &CStr) -> *mut c_void {
    // SAFETY: looks a NUL-terminated name up.
    unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) }
}

/// The library that holds a function.
fn place_of(function: *mut c_void) -> Option<libc::Dl_info> {
    let mut found = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: an address, and room for the answer.
    let is_found = unsafe { libc::dladdr(function, found.as_mut_ptr()) } != 0;
    // SAFETY: zeros are null pointers and numbers.
    is_found.then(|| unsafe { found.assume_init() })
}

/// The file that serves: of `malloc_usable_size`, which tracers that stand before `malloc` leave alone. Never null.
fn file() -> *mut c_char {
    let place = place_of(NEXT.malloc_usable_size.load(Ordering::Relaxed));
    let file = place.map_or(ptr::null(), |place| place.dli_fname);
    if file.is_null() { c"?".as_ptr().cast_mut() } else { file.cast_mut() }
}

fn file_contains(part: &[u8]) -> bool {
    // SAFETY: the loader's text, which stays as long as the library.
    let file = unsafe { CStr::from_ptr(file()) }.to_bytes();
    file.windows(part.len()).any(|window| window == part)
}
