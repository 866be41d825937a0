//! The USDT probes `otel_memory:alloc` and `otel_memory:free`: where a tracer of the host learns of sampled blocks.
//!
//! The contract is OpenTelemetry's (design-docs/00003-memory-profiling of its eBPF profiler), the form SystemTap's
//! (UserSpaceProbeImplementation of its wiki): a note of the library's file names an instruction that does nothing, the
//! registers of its arguments, and a *semaphore*, a word that a tracer counts up while it listens. A tracer puts a
//! breakpoint on the instruction, and the arguments lie in the first argument registers of the C ABI, where
//! OpenTelemetry's profiler reads them without a look at the note.
//!
//! ```text
//! alloc(pointer, requested bytes, requested bytes that the sample stands for)     free(pointer)
//! ```
//!
//! The note is not loaded, so nothing of it is in a process's memory, and whoever strips the file must keep it
//! (`strip` of binutils does; `llvm-objcopy --strip-all` has to be told).
//!
//! # Safety
//! The functions are naked: they do nothing and return. The semaphores are written from outside only.
#![allow(unsafe_code)]

use std::arch::{global_asm, naked_asm};
use std::sync::atomic::AtomicU16;

// The address that the notes' addresses are counted from if a tool moved the file's sections; one byte. Retained,
// because only the notes refer to it, and those are no reason for a linker to keep anything.
global_asm!(
    ".pushsection .stapsdt.base,\"aR\",%progbits",
    ".weak _.stapsdt.base",
    ".hidden _.stapsdt.base",
    ".type _.stapsdt.base,%object",
    ".size _.stapsdt.base,1",
    "_.stapsdt.base: .space 1",
    ".popsection",
);

/// The semaphore of `alloc`. In a section of the file, not among the zeros: tracers name it by its place in the file.
#[used]
#[unsafe(link_section = ".probes")]
static ALLOC_LISTENERS: AtomicU16 = AtomicU16::new(0);
/// The semaphore of `free`.
#[used]
#[unsafe(link_section = ".probes")]
static FREE_LISTENERS: AtomicU16 = AtomicU16::new(0);

/// The body of a probe: an instruction that does nothing, and the note that names it.
macro_rules! probe {
    ($name:literal, $arguments:literal, $semaphore:path) => {
        naked_asm!(
            "990: nop",
            "ret",
            ".pushsection .note.stapsdt,\"\",%note",
            ".balign 4",
            ".4byte 992f-991f, 994f-993f, 3",
            "991: .asciz \"stapsdt\"",
            "992: .balign 4",
            "993: .8byte 990b",
            ".8byte _.stapsdt.base",
            ".8byte {semaphore}",
            ".asciz \"otel_memory\"",
            concat!(".asciz \"", $name, "\""),
            concat!(".asciz \"", $arguments, "\""),
            "994: .balign 4",
            ".popsection",
            semaphore = sym $semaphore,
        )
    };
}

#[unsafe(naked)]
extern "C" fn probe_alloc(pointer: u64, bytes: u64, weighted_bytes: u64) {
    #[cfg(target_arch = "x86_64")]
    probe!("alloc", "8@%rdi 8@%rsi 8@%rdx", ALLOC_LISTENERS);
    #[cfg(target_arch = "aarch64")]
    probe!("alloc", "8@x0 8@x1 8@x2", ALLOC_LISTENERS);
}

#[unsafe(naked)]
extern "C" fn probe_free(pointer: u64) {
    #[cfg(target_arch = "x86_64")]
    probe!("free", "8@%rdi", FREE_LISTENERS);
    #[cfg(target_arch = "aarch64")]
    probe!("free", "8@x0", FREE_LISTENERS);
}

/// Whether somebody listens to `alloc`: a comparison and a branch.
#[inline(always)]
pub(crate) fn hears_alloc() -> bool {
    count(&ALLOC_LISTENERS) != 0
}

/// Whether somebody listens to `free`.
#[inline(always)]
pub(crate) fn hears_free() -> bool {
    count(&FREE_LISTENERS) != 0
}

/// Volatile, and not an atomic load: those are never part of a comparison.
#[inline(always)]
fn count(listeners: &AtomicU16) -> u16 {
    // SAFETY: no thread of the process writes it; the kernel and tracers do.
    unsafe { listeners.as_ptr().read_volatile() }
}

/// Tells that a block of so many bytes was sampled, and how many bytes it stands for.
#[cold]
pub(crate) fn alloc(pointer: u64, bytes: u64, weighted_bytes: u64) {
    probe_alloc(pointer, bytes, weighted_bytes);
}

/// Tells that a sampled block is freed.
#[cold]
pub(crate) fn free(pointer: u64) {
    probe_free(pointer);
}
