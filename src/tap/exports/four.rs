//! `malloc`, `free`, `calloc` and `realloc`: the four that must be fast, in assembly.
//!
//! ```text
//! malloc  bytes_left -= size ── some left ─────────► jemalloc (three instructions)   due ──► slow::allocate
//! free    block ── not below the range's end ──────► jemalloc (two instructions)     below ► slow::free
//! ```
//!
//! What is labelled `heaptap_plain_…` are the jumps that `prof_allocator:keep` leads to another allocator
//! (`backend/redirect`): one instruction of fixed length each.
//!
//! On the slow path the caller's frame goes along: unwinding begins there, without frames of ours. (aarch64 has run
//! under qemu-user only.)
//!
//! # Safety
//! As for the rest of the exports.
#![allow(unsafe_code)]
// A naked function is there once, and with it its labels: newer Rust knows that.
#![allow(named_asm_labels)]

use crate::tap::backend::next;
use crate::tap::code_address::ReturnAddress;
use crate::tap::os::range::LIMIT;
use crate::tap::profiler::Request;
use crate::tap::slow;
use crate::tap::stack::Registers;
use std::arch::naked_asm;
use std::ffi::c_void;
use std::ptr::NonNull;
use tikv_jemalloc_sys as je;

/// Allocates `size` bytes.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    #[cfg(target_arch = "x86_64")]
    naked_asm!(
        "mov rax, qword ptr [rip + heaptap_thread@GOTTPOFF]",
        "sub qword ptr fs:[rax], rdi",
        ".globl heaptap_plain_malloc",
        ".hidden heaptap_plain_malloc",
        "heaptap_plain_malloc:",
        "ja {plain}",
        // The caller's frame: unwinding begins there, without our own frames.
        "mov rsi, qword ptr [rsp]",
        "lea rdx, [rsp + 8]",
        "mov rcx, rbp",
        "jmp {slow}",
        // Entry points at the start of a cache line: worth 1 % of a loop of malloc and free.
        ".p2align 6",
        slow = sym slow_malloc,
        plain = sym je::malloc,
    );
    #[cfg(target_arch = "aarch64")]
    naked_asm!(
        "mrs x8, tpidr_el0",
        "adrp x9, :gottprel:heaptap_thread",
        "ldr x9, [x9, :gottprel_lo12:heaptap_thread]",
        "ldr x10, [x8, x9]",
        "subs x10, x10, x0",
        "str x10, [x8, x9]",
        "b.ls 2f",
        ".globl heaptap_plain_malloc",
        ".hidden heaptap_plain_malloc",
        "heaptap_plain_malloc:",
        "b {plain}",
        // The caller's frame: unwinding begins there, without our own frames.
        "2: mov x1, x30",
        "mov x2, sp",
        "mov x3, x29",
        "b {slow}",
        slow = sym slow_malloc,
        plain = sym je::malloc,
    );
}

/// Frees a block.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn free(block: *mut c_void) {
    #[cfg(target_arch = "x86_64")]
    naked_asm!(
        "cmp rdi, qword ptr [rip + {limit}]",
        ".globl heaptap_plain_free",
        ".hidden heaptap_plain_free",
        "heaptap_plain_free:",
        "jae {plain}",
        "test rdi, rdi",
        "jne {slow}",
        "ret",
        ".p2align 6",
        limit = sym LIMIT,
        slow = sym slow_free,
        plain = sym je::free,
    );
    #[cfg(target_arch = "aarch64")]
    naked_asm!(
        "adrp x8, {limit}",
        "ldr x8, [x8, :lo12:{limit}]",
        "cmp x0, x8",
        "b.lo 2f",
        ".globl heaptap_plain_free",
        ".hidden heaptap_plain_free",
        "heaptap_plain_free:",
        "b {plain}",
        "2: cbz x0, 3f",
        "b {slow}",
        "3: ret",
        limit = sym LIMIT,
        slow = sym slow_free,
        plain = sym je::free,
    );
}

/// Allocates zeroed memory for `count` objects of `size` bytes.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    #[cfg(target_arch = "x86_64")]
    naked_asm!(
        "mov rax, rdi",
        "mul rsi",
        // Too much for an address space: jemalloc says so.
        ".globl heaptap_plain_calloc_overflow",
        ".hidden heaptap_plain_calloc_overflow",
        "heaptap_plain_calloc_overflow:",
        "jo {plain}",
        "mov rcx, qword ptr [rip + heaptap_thread@GOTTPOFF]",
        "sub qword ptr fs:[rcx], rax",
        ".globl heaptap_plain_calloc",
        ".hidden heaptap_plain_calloc",
        "heaptap_plain_calloc:",
        "ja {plain}",
        "mov rdx, qword ptr [rsp]",
        "lea rcx, [rsp + 8]",
        "mov r8, rbp",
        "jmp {slow}",
        slow = sym slow_calloc,
        plain = sym je::calloc,
    );
    #[cfg(target_arch = "aarch64")]
    naked_asm!(
        "mov x2, x30",
        "mov x3, sp",
        "mov x4, x29",
        "b {any}",
        any = sym any_calloc,
    );
}

/// Changes the size of a block.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    #[cfg(target_arch = "x86_64")]
    naked_asm!(
        "mov rax, qword ptr [rip + heaptap_thread@GOTTPOFF]",
        "sub qword ptr fs:[rax], rsi",
        "jbe 2f",
        "cmp rdi, qword ptr [rip + {limit}]",
        ".globl heaptap_plain_realloc",
        ".hidden heaptap_plain_realloc",
        "heaptap_plain_realloc:",
        "jae {plain}",
        "test rdi, rdi",
        ".globl heaptap_plain_realloc_null",
        ".hidden heaptap_plain_realloc_null",
        "heaptap_plain_realloc_null:",
        "je {plain}",
        "xor r9d, r9d",
        "jmp 3f",
        // Due to be sampled.
        "2: mov r9d, 1",
        "3: mov rdx, qword ptr [rsp]",
        "lea rcx, [rsp + 8]",
        "mov r8, rbp",
        "jmp {slow}",
        limit = sym LIMIT,
        slow = sym slow_realloc,
        plain = sym je::realloc,
    );
    #[cfg(target_arch = "aarch64")]
    naked_asm!(
        "mov x2, x30",
        "mov x3, sp",
        "mov x4, x29",
        "b {any}",
        any = sym any_realloc,
    );
}

#[cfg(target_arch = "aarch64")]
unsafe extern "C" fn any_calloc(count: usize, size: usize, pc: usize, sp: usize, fp: usize) -> *mut c_void {
    match count.checked_mul(size) {
        Some(bytes) if slow::is_due(bytes) => slow_calloc(count, size, pc, sp, fp),
        // SAFETY: any sizes may be asked for.
        _ => unsafe { next::calloc(count, size) },
    }
}

#[cfg(target_arch = "aarch64")]
unsafe extern "C" fn any_realloc(block: *mut c_void, size: usize, pc: usize, sp: usize, fp: usize) -> *mut c_void {
    let due = slow::is_due(size);
    if !due && !slow::is_sampled(block) {
        // SAFETY: passed on to the caller.
        return unsafe { next::realloc(block, size) };
    }
    // SAFETY: passed on to the caller.
    unsafe { slow_realloc(block, size, pc, sp, fp, due) }
}

/// The code address that begins every stack: inside `malloc`, whichever export was called. jeprof takes
/// `malloc` off the stacks by name; in the exports that are written in Rust it would find inlined helpers.
pub(super) fn entry() -> usize {
    malloc as *const () as usize
}

extern "C" fn slow_malloc(size: usize, pc: usize, sp: usize, fp: usize) -> *mut c_void {
    let caller = Some(Registers { pc: ReturnAddress::new(pc), sp, fp });
    let request = Request { bytes: size, alignment: 1, zeroed: false, entry: entry(), caller };
    // SAFETY: any size may be asked for.
    slow::allocate(&request, || unsafe { next::malloc(size) })
}

unsafe extern "C" fn slow_free(block: *mut c_void) {
    // SAFETY: passed on to the caller.
    unsafe { slow::free(block) }
}

/// The product of `count` and `size` does not overflow.
extern "C" fn slow_calloc(count: usize, size: usize, pc: usize, sp: usize, fp: usize) -> *mut c_void {
    let caller = Some(Registers { pc: ReturnAddress::new(pc), sp, fp });
    let bytes = count.saturating_mul(size);
    let request = Request { bytes, alignment: 1, zeroed: true, entry: entry(), caller };
    // SAFETY: any sizes may be asked for.
    slow::allocate(&request, || unsafe { next::calloc(count, size) })
}

unsafe extern "C" fn slow_realloc(
    block: *mut c_void,
    size: usize,
    pc: usize,
    sp: usize,
    fp: usize,
    due: bool,
) -> *mut c_void {
    let caller = Some(Registers { pc: ReturnAddress::new(pc), sp, fp });
    let request = Request { bytes: size, alignment: 1, zeroed: false, entry: entry(), caller };
    match NonNull::new(block) {
        // SAFETY: any size may be asked for.
        None if !due => unsafe { next::malloc(size) },
        // SAFETY: as above.
        None => slow::allocate(&request, || unsafe { next::malloc(size) }),
        // SAFETY: passed on to the caller.
        Some(old) if size == 0 => unsafe { slow::reallocate_to_nothing(old, &request) },
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
        None => slow::out_of_memory(),
    }
}
