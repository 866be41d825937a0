//! The allocator that serves what is not sampled: the embedded jemalloc, or under `prof_allocator:keep` the next one.
//!
//! The next one is what the process would use without the tap: glibc's malloc, or one that is preloaded or linked
//! behind the tap (mimalloc, tcmalloc, another jemalloc). `lifecycle/next_allocator` looks its functions up during the
//! first call. Sampled blocks lie in the tap's range either way, and `free` knows them as ever.
//!
//! The four fast exports jump to jemalloc directly, without an instruction of their own; [`redirect`](super::redirect)
//! makes those jumps lead to the stubs at the end of this file.
//!
//! # Safety
//! A function is called with the type that its name has in C, and a block goes back to the allocator it came from.
#![allow(unsafe_code)]

use std::arch::naked_asm;
use std::ffi::{c_char, c_int, c_void};
use std::mem::{offset_of, transmute};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};
use tikv_jemalloc_sys as je;

/// A function's address; null: there is none of that name.
pub(super) type Place = AtomicPtr<c_void>;

/// Who serves. Relaxed: written during the first call, before any other call gets past it.
#[repr(C)]
pub(crate) struct Next {
    pub(crate) malloc: Place,
    pub(crate) calloc: Place,
    pub(crate) realloc: Place,
    pub(crate) free: Place,
    pub(crate) memalign: Place,
    pub(crate) malloc_usable_size: Place,
    pub(crate) mallocx: Place,
    pub(crate) rallocx: Place,
    pub(crate) xallocx: Place,
    pub(crate) sallocx: Place,
    pub(crate) dallocx: Place,
    pub(crate) sdallocx: Place,
    pub(crate) nallocx: Place,
    pub(crate) mallctl: Place,
    pub(crate) mallctlnametomib: Place,
    pub(crate) mallctlbymib: Place,
    pub(crate) malloc_stats_print: Place,
    pub(crate) mallinfo: Place,
    pub(crate) mallinfo2: Place,
    pub(crate) mallopt: Place,
    pub(crate) malloc_info: Place,
    pub(crate) malloc_stats: Place,
    pub(crate) malloc_trim: Place,
    /// tcmalloc's question for one of its numbers, by name.
    pub(crate) numeric_property: Place,
    /// Gives back what is free, of allocators that have another name for it than `malloc_trim`.
    pub(crate) release: Place,
}

/// The one table: the embedded jemalloc, which answers the questions of glibc's malloc by the exports themselves.
pub(crate) static NEXT: Next = Next {
    malloc: Place::new(je::malloc as *mut c_void),
    calloc: Place::new(je::calloc as *mut c_void),
    realloc: Place::new(je::realloc as *mut c_void),
    free: Place::new(je::free as *mut c_void),
    memalign: Place::new(je::aligned_alloc as *mut c_void),
    malloc_usable_size: Place::new(je::malloc_usable_size as *mut c_void),
    mallocx: Place::new(je::mallocx as *mut c_void),
    rallocx: Place::new(je::rallocx as *mut c_void),
    xallocx: Place::new(je::xallocx as *mut c_void),
    sallocx: Place::new(je::sallocx as *mut c_void),
    dallocx: Place::new(je::dallocx as *mut c_void),
    sdallocx: Place::new(je::sdallocx as *mut c_void),
    nallocx: Place::new(je::nallocx as *mut c_void),
    mallctl: Place::new(je::mallctl as *mut c_void),
    mallctlnametomib: Place::new(je::mallctlnametomib as *mut c_void),
    mallctlbymib: Place::new(je::mallctlbymib as *mut c_void),
    malloc_stats_print: Place::new(je::malloc_stats_print as *mut c_void),
    mallinfo: Place::new(ptr::null_mut()),
    mallinfo2: Place::new(ptr::null_mut()),
    mallopt: Place::new(ptr::null_mut()),
    malloc_info: Place::new(ptr::null_mut()),
    malloc_stats: Place::new(ptr::null_mut()),
    malloc_trim: Place::new(ptr::null_mut()),
    numeric_property: Place::new(ptr::null_mut()),
    release: Place::new(ptr::null_mut()),
};

/// jemalloc's own interface, made of the functions that every allocator has. Its controls are the embedded one's.
pub(crate) fn make_extended() {
    for (place, made) in [
        (&NEXT.mallocx, mallocx_by_malloc as *mut c_void),
        (&NEXT.rallocx, rallocx_by_realloc as *mut c_void),
        (&NEXT.xallocx, xallocx_in_vain as *mut c_void),
        (&NEXT.sallocx, sallocx_by_usable_size as *mut c_void),
        (&NEXT.dallocx, dallocx_by_free as *mut c_void),
        (&NEXT.sdallocx, sdallocx_by_free as *mut c_void),
    ] {
        place.store(made, Ordering::Relaxed);
    }
}

/// Calls of the functions in the table, by their names in C.
macro_rules! call {
    ($($(#[$text:meta])* $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
        $(#[$text])*
        ///
        /// # Safety
        /// As for the function of that name.
        #[inline]
        pub(crate) unsafe fn $name($($argument: $type),*) $(-> $result)? {
            let function = NEXT.$name.load(Ordering::Relaxed);
            // SAFETY: a function of that name has this type; it is never null.
            let function: unsafe extern "C" fn($($type),*) $(-> $result)? = unsafe { transmute(function) };
            // SAFETY: passed on to the caller.
            unsafe { function($($argument),*) }
        }
    )*};
}

call! {
    /// Allocates.
    malloc(size: usize) -> *mut c_void;
    /// Allocates zeroed memory.
    calloc(count: usize, size: usize) -> *mut c_void;
    /// Changes a block's size.
    realloc(block: *mut c_void, size: usize) -> *mut c_void;
    /// Frees a block.
    free(block: *mut c_void);
    /// Allocates aligned memory.
    memalign(alignment: usize, size: usize) -> *mut c_void;
    /// Bytes of a block.
    malloc_usable_size(block: *mut c_void) -> usize;
    /// jemalloc's malloc with flags.
    mallocx(size: usize, flags: c_int) -> *mut c_void;
    /// jemalloc's realloc with flags.
    rallocx(block: *mut c_void, size: usize, flags: c_int) -> *mut c_void;
    /// jemalloc's change of size in place.
    xallocx(block: *mut c_void, size: usize, extra: usize, flags: c_int) -> usize;
    /// jemalloc's bytes of a block.
    sallocx(block: *const c_void, flags: c_int) -> usize;
    /// jemalloc's free with flags.
    dallocx(block: *mut c_void, flags: c_int);
    /// The same with the size.
    sdallocx(block: *mut c_void, size: usize, flags: c_int);
    /// Bytes that such a block would have.
    nallocx(size: usize, flags: c_int) -> usize;
    /// Reads or writes a control.
    mallctl(name: *const c_char, old: *mut c_void, old_len: *mut usize, new: *mut c_void, new_len: usize) -> c_int;
    /// Looks a control's number up.
    mallctlnametomib(name: *const c_char, mib: *mut usize, len: *mut usize) -> c_int;
    /// Reads or writes a control by number.
    mallctlbymib(mib: *const usize, len: usize, old: *mut c_void, old_len: *mut usize, new: *mut c_void, new_len: usize)
        -> c_int;
    /// Prints statistics.
    malloc_stats_print(
        write: Option<unsafe extern "C" fn(*mut c_void, *const c_char)>, argument: *mut c_void, options: *const c_char
    );
}

/// Functions of glibc's malloc that others may lack, by their names in C. `None`: the exports answer themselves.
macro_rules! optional {
    ($($name:ident: $type:ty;)*) => {$(
        /// The next allocator's function of that name.
        pub(crate) fn $name() -> Option<$type> {
            let function = NonNull::new(NEXT.$name.load(Ordering::Relaxed))?;
            // SAFETY: a function of that name has this type.
            Some(unsafe { transmute::<NonNull<c_void>, $type>(function) })
        }
    )*};
}

/// `struct mallinfo2` of glibc's malloc.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mallinfo2 {
    pub(crate) arena: usize,
    pub(crate) ordblks: usize,
    pub(crate) smblks: usize,
    pub(crate) hblks: usize,
    pub(crate) hblkhd: usize,
    pub(crate) usmblks: usize,
    pub(crate) fsmblks: usize,
    pub(crate) uordblks: usize,
    pub(crate) fordblks: usize,
    pub(crate) keepcost: usize,
}

/// The same with ints, which wrap around (mallinfo(3), BUGS).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mallinfo {
    pub(crate) arena: c_int,
    pub(crate) ordblks: c_int,
    pub(crate) smblks: c_int,
    pub(crate) hblks: c_int,
    pub(crate) hblkhd: c_int,
    pub(crate) usmblks: c_int,
    pub(crate) fsmblks: c_int,
    pub(crate) uordblks: c_int,
    pub(crate) fordblks: c_int,
    pub(crate) keepcost: c_int,
}

optional! {
    mallinfo: extern "C" fn() -> Mallinfo;
    mallinfo2: extern "C" fn() -> Mallinfo2;
    mallopt: extern "C" fn(c_int, c_int) -> c_int;
    malloc_info: unsafe extern "C" fn(c_int, *mut libc::FILE) -> c_int;
    malloc_stats: extern "C" fn();
    malloc_trim: extern "C" fn(usize) -> c_int;
    numeric_property: unsafe extern "C" fn(*const c_char, *mut usize) -> c_int;
    release: extern "C" fn(bool);
}

/// Bits of `mallocx`'s flags that are the binary logarithm of the alignment.
pub(crate) const LG_ALIGN: c_int = 0x3f;

/// The alignment that these flags ask for; 1: none.
pub(crate) fn alignment(flags: c_int) -> usize {
    1_usize.checked_shl((flags & LG_ALIGN) as u32).unwrap_or(1)
}

/// `mallocx` where the next allocator has none.
unsafe extern "C" fn mallocx_by_malloc(size: usize, flags: c_int) -> *mut c_void {
    let alignment = alignment(flags);
    let is_zeroed = flags & je::MALLOCX_ZERO != 0;
    // SAFETY: any size may be asked for; the alignment is a power of two.
    unsafe {
        match (alignment <= size_of::<[usize; 2]>(), is_zeroed) {
            (true, false) => malloc(size),
            (true, true) => calloc(1, size),
            (false, _) => {
                let block = memalign(alignment, size);
                if is_zeroed && !block.is_null() {
                    block.cast::<u8>().write_bytes(0, size);
                }
                block
            }
        }
    }
}

/// `rallocx` where the next allocator has none. Bytes that are new are zeroed if asked for.
unsafe extern "C" fn rallocx_by_realloc(block: *mut c_void, size: usize, flags: c_int) -> *mut c_void {
    // SAFETY: passed on to the caller.
    unsafe {
        if flags & (LG_ALIGN | je::MALLOCX_ZERO) == 0 {
            return realloc(block, size);
        }
        let before = malloc_usable_size(block);
        let fresh = mallocx_by_malloc(size, flags);
        if !fresh.is_null() {
            ptr::copy_nonoverlapping(block.cast::<u8>(), fresh.cast::<u8>(), before.min(size));
            free(block);
        }
        fresh
    }
}

/// `xallocx` where the next allocator has none: nothing is resized in place.
unsafe extern "C" fn xallocx_in_vain(block: *mut c_void, _size: usize, _extra: usize, _flags: c_int) -> usize {
    // SAFETY: passed on to the caller.
    unsafe { malloc_usable_size(block) }
}

unsafe extern "C" fn sallocx_by_usable_size(block: *const c_void, _flags: c_int) -> usize {
    // SAFETY: passed on to the caller.
    unsafe { malloc_usable_size(block.cast_mut()) }
}

unsafe extern "C" fn dallocx_by_free(block: *mut c_void, _flags: c_int) {
    // SAFETY: passed on to the caller.
    unsafe { free(block) }
}

unsafe extern "C" fn sdallocx_by_free(block: *mut c_void, _size: usize, _flags: c_int) {
    // SAFETY: passed on to the caller.
    unsafe { free(block) }
}

/// Functions that jump to one of the table: where the exports' jumps lead under `keep`.
macro_rules! stub {
    ($($name:ident: $field:ident;)*) => {$(
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            naked_asm!("jmp qword ptr [rip + {next} + {at}]", next = sym NEXT, at = const offset_of!(Next, $field));
            #[cfg(target_arch = "aarch64")]
            naked_asm!(
                "adrp x9, {next}",
                "add x9, x9, :lo12:{next}",
                "ldr x9, [x9, {at}]",
                "br x9",
                next = sym NEXT,
                at = const offset_of!(Next, $field),
            );
        }
    )*};
}

stub! {
    to_malloc: malloc;
    to_free: free;
}

// Where calloc and realloc have a fast path of their own.
#[cfg(target_arch = "x86_64")]
stub! {
    to_calloc: calloc;
    to_realloc: realloc;
}
