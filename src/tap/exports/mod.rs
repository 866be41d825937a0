//! Floor 7: the exported functions. Each is a line or a few: forward to jemalloc, or take the slow path.
//!
//! The four that count are written in assembly: `malloc` is three instructions, the last of which jumps into
//! jemalloc, and `free` four. Contracts: malloc(3), posix_memalign(3), POSIX.1-2024, C23 7.24.3.
//!
//! # Safety
//! The callers are C programs: pointers are live blocks of ours or null, by the contracts above.
#![allow(unsafe_code)]

mod extended;
mod loader;
mod mallctl;
mod namespaces;
mod statistics;
mod syscalls;

use super::backend;
use super::keeper;
use super::lifecycle::{self, exit};
use super::os::range::{GRANULE_SHIFT, TAG};
use super::os::sys;
use super::profiler::Request;
use super::slow;
use super::stack::Registers;
use std::arch::naked_asm;
use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};
use tikv_jemalloc_sys as je;

/// The code address that begins every stack: inside `malloc`, whichever export was called. jeprof takes
/// `malloc` off the stacks by name; in the exports that are written in Rust it would find inlined helpers.
fn entry() -> usize {
    malloc as *const () as usize
}

/// Allocates `size` bytes.
#[unsafe(no_mangle)]
#[unsafe(naked)]
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    naked_asm!(
        "mov rax, qword ptr [rip + heaptap_thread@GOTTPOFF]",
        "sub qword ptr fs:[rax], rdi",
        "ja {plain}",
        // The caller's frame: unwinding begins there, without our own frames.
        "mov rsi, qword ptr [rsp]",
        "lea rdx, [rsp + 8]",
        "mov rcx, rbp",
        "jmp {slow}",
        slow = sym slow_malloc,
        plain = sym je::malloc,
    )
}

/// Frees a block.
#[unsafe(no_mangle)]
#[unsafe(naked)]
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn free(block: *mut c_void) {
    naked_asm!(
        "mov rax, rdi",
        "shr rax, {shift}",
        "cmp eax, dword ptr [rip + {tag}]",
        "jne {plain}",
        "jmp {slow}",
        shift = const GRANULE_SHIFT,
        tag = sym TAG,
        slow = sym slow_free,
        plain = sym je::free,
    )
}

/// Allocates zeroed memory for `count` objects of `size` bytes.
#[unsafe(no_mangle)]
#[unsafe(naked)]
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    naked_asm!(
        "mov rax, rdi",
        "mul rsi",
        // Too much for an address space: jemalloc says so.
        "jo {plain}",
        "mov rcx, qword ptr [rip + heaptap_thread@GOTTPOFF]",
        "sub qword ptr fs:[rcx], rax",
        "ja {plain}",
        "mov rdx, qword ptr [rsp]",
        "lea rcx, [rsp + 8]",
        "mov r8, rbp",
        "jmp {slow}",
        slow = sym slow_calloc,
        plain = sym je::calloc,
    )
}

/// Changes the size of a block.
#[unsafe(no_mangle)]
#[unsafe(naked)]
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    naked_asm!(
        "mov rax, qword ptr [rip + heaptap_thread@GOTTPOFF]",
        "sub qword ptr fs:[rax], rsi",
        "jbe 2f",
        "mov rax, rdi",
        "shr rax, {shift}",
        "cmp eax, dword ptr [rip + {tag}]",
        "jne {plain}",
        "xor r9d, r9d",
        "jmp 3f",
        // Due to be sampled.
        "2: mov r9d, 1",
        "3: mov rdx, qword ptr [rsp]",
        "lea rcx, [rsp + 8]",
        "mov r8, rbp",
        "jmp {slow}",
        shift = const GRANULE_SHIFT,
        tag = sym TAG,
        slow = sym slow_realloc,
        plain = sym je::realloc,
    )
}

/// Allocates `size` bytes (aarch64: not run on hardware yet).
#[unsafe(no_mangle)]
#[unsafe(naked)]
#[cfg(target_arch = "aarch64")]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    naked_asm!(
        "mrs x8, tpidr_el0",
        "adrp x9, :gottprel:heaptap_thread",
        "ldr x9, [x9, :gottprel_lo12:heaptap_thread]",
        "ldr x10, [x8, x9]",
        "subs x10, x10, x0",
        "str x10, [x8, x9]",
        "b.ls 2f",
        "b {plain}",
        // The caller's frame: unwinding begins there, without our own frames.
        "2: mov x1, x30",
        "mov x2, sp",
        "mov x3, x29",
        "b {slow}",
        slow = sym slow_malloc,
        plain = sym je::malloc,
    )
}

/// Frees a block (aarch64: not run on hardware yet).
#[unsafe(no_mangle)]
#[unsafe(naked)]
#[cfg(target_arch = "aarch64")]
unsafe extern "C" fn free(block: *mut c_void) {
    naked_asm!(
        "adrp x8, {tag}",
        "ldr w8, [x8, :lo12:{tag}]",
        "lsr x9, x0, {shift}",
        "cmp w9, w8",
        "b.eq {slow}",
        "b {plain}",
        shift = const GRANULE_SHIFT,
        tag = sym TAG,
        slow = sym slow_free,
        plain = sym je::free,
    )
}

/// Allocates zeroed memory for `count` objects of `size` bytes (aarch64: not run on hardware yet).
#[unsafe(no_mangle)]
#[unsafe(naked)]
#[cfg(target_arch = "aarch64")]
unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    naked_asm!(
        "mov x2, x30",
        "mov x3, sp",
        "mov x4, x29",
        "b {any}",
        any = sym any_calloc,
    )
}

/// Changes the size of a block (aarch64: not run on hardware yet).
#[unsafe(no_mangle)]
#[unsafe(naked)]
#[cfg(target_arch = "aarch64")]
unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    naked_asm!(
        "mov x2, x30",
        "mov x3, sp",
        "mov x4, x29",
        "b {any}",
        any = sym any_realloc,
    )
}

#[cfg(target_arch = "aarch64")]
unsafe extern "C" fn any_calloc(count: usize, size: usize, pc: usize, sp: usize, fp: usize) -> *mut c_void {
    match count.checked_mul(size) {
        Some(bytes) if slow::is_due(bytes) => slow_calloc(count, size, pc, sp, fp),
        // SAFETY: any sizes may be asked for.
        _ => unsafe { je::calloc(count, size) },
    }
}

#[cfg(target_arch = "aarch64")]
unsafe extern "C" fn any_realloc(block: *mut c_void, size: usize, pc: usize, sp: usize, fp: usize) -> *mut c_void {
    let due = slow::is_due(size);
    if !due && !slow::is_sampled(block) {
        // SAFETY: passed on to the caller.
        return unsafe { je::realloc(block, size) };
    }
    // SAFETY: passed on to the caller.
    unsafe { slow_realloc(block, size, pc, sp, fp, due) }
}

extern "C" fn slow_malloc(size: usize, pc: usize, sp: usize, fp: usize) -> *mut c_void {
    let caller = Some(Registers { pc, sp, fp });
    match slow::sample(&Request { size, alignment: 1, zeroed: false, entry: entry(), caller }) {
        Some(block) => block.as_ptr(),
        // SAFETY: any size may be asked for.
        None => unsafe { je::malloc(size) },
    }
}

unsafe extern "C" fn slow_free(block: *mut c_void) {
    // SAFETY: passed on to the caller.
    unsafe { slow::free(block) }
}

/// The product of `count` and `size` does not overflow.
extern "C" fn slow_calloc(count: usize, size: usize, pc: usize, sp: usize, fp: usize) -> *mut c_void {
    let caller = Some(Registers { pc, sp, fp });
    let bytes = count.saturating_mul(size);
    match slow::sample(&Request { size: bytes, alignment: 1, zeroed: true, entry: entry(), caller }) {
        Some(block) => block.as_ptr(),
        // SAFETY: any sizes may be asked for.
        None => unsafe { je::calloc(count, size) },
    }
}

unsafe extern "C" fn slow_realloc(
    block: *mut c_void,
    size: usize,
    pc: usize,
    sp: usize,
    fp: usize,
    due: bool,
) -> *mut c_void {
    let caller = Some(Registers { pc, sp, fp });
    let request = Request { size, alignment: 1, zeroed: false, entry: entry(), caller };
    match NonNull::new(block) {
        None => match due.then(|| slow::sample(&request)).flatten() {
            Some(fresh) => fresh.as_ptr(),
            // SAFETY: any size may be asked for.
            None => unsafe { je::malloc(size) },
        },
        Some(_) if size == 0 => {
            // SAFETY: passed on to the caller. As glibc and jemalloc do: free, and return null.
            unsafe { slow::free(block) };
            ptr::null_mut()
        }
        // SAFETY: passed on to the caller.
        Some(old) => unsafe { slow::reallocate(old, &request, due) },
    }
}

/// `realloc` for `count` objects of `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn reallocarray(block: *mut c_void, count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: passed on to the caller.
        Some(bytes) => unsafe { realloc(block, bytes) },
        None => out_of_memory(),
    }
}

fn out_of_memory() -> *mut c_void {
    sys::set_errno(libc::ENOMEM);
    ptr::null_mut()
}

/// The one way of all aligned allocations; `alignment` is a power of two.
fn aligned(alignment: usize, size: usize) -> *mut c_void {
    if slow::is_due(size)
        && let Some(block) = slow::sample(&Request { size, alignment, zeroed: false, entry: entry(), caller: None })
    {
        return block.as_ptr();
    }
    // SAFETY: the alignment is a power of two; sets errno itself.
    unsafe { je::aligned_alloc(alignment, size) }
}

/// Allocates aligned memory; an alignment that is no power of two is rounded up, as glibc does.
#[unsafe(no_mangle)]
unsafe extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
    match alignment.max(1).checked_next_power_of_two() {
        Some(alignment) => aligned(alignment, size),
        None => out_of_memory(),
    }
}

/// Allocates aligned memory.
#[unsafe(no_mangle)]
unsafe extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    if !alignment.is_power_of_two() {
        sys::set_errno(libc::EINVAL);
        return ptr::null_mut();
    }
    aligned(alignment, size)
}

/// Allocates aligned memory; returns an error number and leaves `errno` alone.
#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(place: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
    if !alignment.is_power_of_two() || alignment < size_of::<usize>() {
        return libc::EINVAL;
    }
    let block = sys::keep_errno(|| aligned(alignment, size));
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller's place for the answer.
    unsafe { place.write(block) };
    0
}

/// Allocates memory at a page boundary.
#[unsafe(no_mangle)]
unsafe extern "C" fn valloc(size: usize) -> *mut c_void {
    aligned(super::os::map::page_size(), size)
}

/// Allocates whole pages.
#[unsafe(no_mangle)]
unsafe extern "C" fn pvalloc(size: usize) -> *mut c_void {
    let page = super::os::map::page_size();
    match size.max(1).checked_next_multiple_of(page) {
        Some(bytes) => aligned(page, bytes),
        None => out_of_memory(),
    }
}

/// Bytes that the program may use of a block.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
    slow::usable_size(block)
}

/// Old name of `free`.
#[unsafe(no_mangle)]
unsafe extern "C" fn cfree(block: *mut c_void) {
    // SAFETY: passed on to the caller.
    unsafe { free(block) }
}

/// C23: frees a block whose size the caller knows.
#[unsafe(no_mangle)]
unsafe extern "C" fn free_sized(block: *mut c_void, _size: usize) {
    // SAFETY: passed on to the caller.
    unsafe { free(block) }
}

/// C23: frees a block whose alignment and size the caller knows.
#[unsafe(no_mangle)]
unsafe extern "C" fn free_aligned_sized(block: *mut c_void, _alignment: usize, _size: usize) {
    // SAFETY: passed on to the caller.
    unsafe { free(block) }
}

/// Gives unused memory back to the system; `jcmd System.trim_native_heap` comes here. Always 1: something
/// may have been given back.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_trim(_pad: usize) -> c_int {
    sys::keep_errno(|| {
        lifecycle::ensure_started();
        backend::purge();
        keeper::trimmed();
    });
    1
}

/// Ends the process without handlers, after the final dump.
#[unsafe(no_mangle)]
unsafe extern "C" fn _exit(status: c_int) -> ! {
    exit::finish();
    sys::exit_group(status)
}

/// The same, by its C name.
#[unsafe(no_mangle)]
unsafe extern "C" fn _Exit(status: c_int) -> ! {
    exit::finish();
    sys::exit_group(status)
}

/// glibc's second names of the same functions. What they return would otherwise be freed here without
/// having been allocated here.
macro_rules! second_names {
    ($($name:ident = $target:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
        #[doc = concat!("glibc's second name of `", stringify!($target), "`.")]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $type),*) $(-> $result)? {
            // SAFETY: passed on to the caller.
            unsafe { $target($($argument),*) }
        }
    )*};
}

second_names! {
    __libc_malloc = malloc(size: usize) -> *mut c_void;
    __libc_calloc = calloc(count: usize, size: usize) -> *mut c_void;
    __libc_realloc = realloc(block: *mut c_void, size: usize) -> *mut c_void;
    __libc_free = free(block: *mut c_void);
    __libc_memalign = memalign(alignment: usize, size: usize) -> *mut c_void;
    __libc_valloc = valloc(size: usize) -> *mut c_void;
    __libc_pvalloc = pvalloc(size: usize) -> *mut c_void;
    __posix_memalign = posix_memalign(place: *mut *mut c_void, alignment: usize, size: usize) -> c_int;
}
