//! The thread block: the tap's only thread-local state, in initial-exec TLS on stable Rust.
//!
//! `thread_local!` in a cdylib calls `__tls_get_addr`, which may allocate and costs 19 instructions;
//! this block is one `.tbss` object that exports reach with one load and one `fs:` access. It
//! starts as zeros, so the first `malloc` of each thread finds its counter used up and takes the slow
//! path: that is how threads and the process get initialised without a constructor. No destructor.
//!
//! # Safety
//! The assembly yields the address of the calling thread's own block, which lives as long as the
//! thread. All fields are `Cell`s of plain numbers, so a signal handler on the same thread may use the
//! block at any point; at worst one update is lost.
#![allow(unsafe_code)]

use std::arch::{asm, global_asm};
use std::cell::Cell;
use std::ptr;

global_asm!(
    ".pushsection .tbss.heaptap_thread,\"awT\",@nobits",
    ".p2align 6",
    ".globl heaptap_thread",
    ".hidden heaptap_thread",
    ".type heaptap_thread,@object",
    ".size heaptap_thread,128",
    "heaptap_thread:",
    ".zero 128",
    ".popsection",
);

// The standard library asks for its own thread-local words by `__tls_get_addr`. Glibc keeps that in its loader, which
// the library would then need by name, and musl has no such file. This library is preloaded, so all its thread-local
// words lie in static TLS, each as far from this block as in the file: a hidden function of that name counts it out.
// aarch64 has descriptors in its place.
#[cfg(all(target_arch = "x86_64", not(test)))]
global_asm!(
    ".globl __tls_get_addr",
    ".hidden __tls_get_addr",
    ".type __tls_get_addr,@function",
    "__tls_get_addr:",
    "lea rcx, [heaptap_thread@DTPOFF]",
    "mov rax, qword ptr [rdi + 8]",
    "sub rax, rcx",
    "add rax, qword ptr [rip + heaptap_thread@GOTTPOFF]",
    "add rax, qword ptr fs:[0]",
    "ret",
    ".size __tls_get_addr, . - __tls_get_addr",
);

/// The tap's state of one thread (128 bytes of static TLS).
#[repr(C)]
pub(crate) struct ThreadBlock {
    /// Requested bytes left until the next sample. First, because the exports address it directly.
    pub(crate) bytes_left: Cell<u64>,
    /// Stack pointer of the guard that holds this thread inside the profiler, 0: none.
    pub(crate) guard: Cell<usize>,
    /// State of the thread's random numbers; 0: the thread has not been set up.
    pub(crate) random: Cell<u64>,
    /// The wait that was drawn last, in bytes.
    pub(crate) drawn: Cell<u64>,
    /// Readable part of the thread's stack: lowest address and one past the highest, zeros: not looked up.
    pub(crate) stack: Cell<[usize; 2]>,
    /// Kernel thread id.
    pub(crate) tid: Cell<u32>,
    /// Index of its thread record plus one; 0: none yet.
    pub(crate) record: Cell<u32>,
    /// Life of the process that `tid` and `record` belong to (a fork child is another life).
    pub(crate) life: Cell<u32>,
    /// Bytes of the last piece of a wait, and the clock's tick then (see `youth`).
    pub(crate) piece: Cell<u32>,
    pub(crate) piece_tick: Cell<u64>,
    /// Its name as `thread.prof.name` set it, null: none.
    pub(crate) name: Cell<*const std::ffi::c_char>,
    /// Whether the thread's allocations are not sampled.
    pub(crate) muted: Cell<bool>,
    /// Whether the thread has a descriptor table of its own: the keeper.
    pub(crate) has_own_descriptors: Cell<bool>,
    /// Whether the tap's own allocations on this thread must not go to jemalloc (`own_memory`).
    pub(crate) avoids_jemalloc: Cell<bool>,
    /// Number by which threads are spread over what there are a few of: counters, arenas, free slots. Threads that
    /// begin to allocate one after another have numbers one after another, which their ids need not.
    pub(crate) shard: Cell<u32>,
    /// Where work on a spare stack is left when there is no memory for it, 0: nowhere (`spare_stack`).
    pub(crate) way_out: Cell<usize>,
    /// Visits to the profiler up to the next one whose time is measured; 0: not drawn yet (see `Stopwatch`).
    pub(crate) unmeasured: Cell<u32>,
    /// Number of the process in which the thread is known to be still to end, 0: none (see `KnownThreads`).
    pub(crate) known_in: Cell<u32>,
    /// Bytes that the thread has allocated since it last looked at what the process holds (see `youth`).
    pub(crate) unseen_bytes: Cell<u32>,
    /// Sampling period that the last wait was drawn with, bytes.
    pub(crate) period: Cell<u64>,
    /// Bytes of the wait that come after `bytes_left`: a young process looks at itself more often than it samples.
    pub(crate) bytes_beyond: Cell<u64>,
}

impl ThreadBlock {
    /// What stands for the thread in a word that says who holds something: its block's address, which is even, never 0,
    /// and stays the same in the child of a fork.
    pub(crate) fn address(&self) -> usize {
        ptr::from_ref(self) as usize
    }

    /// The thread's number among those that share.
    #[inline(always)]
    pub(crate) fn hint(&self) -> usize {
        self.shard.get() as usize
    }

    /// Makes the thread's next request due, without a change of its wait: the rest comes after that.
    pub(crate) fn make_due(&self) {
        let left = self.bytes_left.get();
        // What is due already, or has no wait yet, is left alone.
        if self.random.get() != 0 && left.cast_signed() > 0 {
            self.bytes_beyond.set(self.bytes_beyond.get().wrapping_add(left));
            self.bytes_left.set(0);
        }
    }
}

const _: () = assert!(size_of::<ThreadBlock>() <= 128);

/// The calling thread's block.
#[inline(always)]
pub(crate) fn thread() -> &'static ThreadBlock {
    let block: *const ThreadBlock;
    // SAFETY: computes an address, from the thread pointer and the block's offset to it; touches no memory
    // but the GOT entry.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "mov {block}, qword ptr [rip + heaptap_thread@GOTTPOFF]",
            "add {block}, qword ptr fs:[0]",
            block = out(reg) block,
            options(pure, nomem, nostack),
        );
    }
    // SAFETY: as above, with the initial-exec sequence of aarch64.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "mrs {block}, tpidr_el0",
            "adrp {offset}, :gottprel:heaptap_thread",
            "ldr {offset}, [{offset}, :gottprel_lo12:heaptap_thread]",
            "add {block}, {block}, {offset}",
            block = out(reg) block,
            offset = out(reg) _,
            options(pure, nomem, nostack),
        );
    }
    // SAFETY: the loader gave every thread a zeroed, 64-byte aligned block of 128 bytes; zeros are
    // valid Cells; nobody else gets a reference to this thread's block.
    unsafe { &*block }
}

#[cfg(test)]
mod tests {
    use super::thread;

    #[test]
    fn each_thread_has_its_own_zeroed_block() {
        thread().drawn.set(7);
        let other = std::thread::spawn(|| thread().drawn.replace(9)).join().unwrap();
        assert_eq!((other, thread().drawn.get()), (0, 7));
    }
}
