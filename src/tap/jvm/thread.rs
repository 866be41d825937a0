//! The machine's own record of a thread: where its last Java frame is, and what a compiler thread compiles.
//!
//! Used only when native unwinding got lost, or for compiler threads. The `JavaThread` of the running thread is the
//! value of the pthread key that HotSpot made for it: the one whose object begins with a pointer into `libjvm.so` and
//! whose `OSThread` names this thread. Everything is read through the kernel; nothing here allocates, locks or calls
//! the machine.
//!
//! # Safety
//!
//! Only calls of libc that concern the running thread: `pthread_self`, `pthread_getspecific` and `prctl(PR_GET_NAME)`
//! have no preconditions but a buffer of 16 bytes, and take no locks.
#![allow(unsafe_code)]

use crate::tap::code_address::ReturnAddress;
use crate::tap::os::libc_names::is_glibc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::memory::{self, Block};
use super::vmstructs::VmStructs;
use crate::tap::stack::Registers;

/// Thread-specific keys that are looked through (glibc's PTHREAD_KEYS_MAX); HotSpot's is among the first.
const MANY_KEYS: u32 = 1024;
/// The same of musl, whose `pthread_getspecific` does not look whether there is such a key.
const MUSLS_KEYS: u32 = 128;

/// Where a frame anchor's words stand within their object.
#[derive(Clone, Copy, Debug)]
struct AnchorLayout {
    sp: usize,
    pc: usize,
    fp: usize,
}

/// Where the fields of a thread stand.
#[derive(Debug)]
pub(super) struct ThreadLayout {
    /// The key that HotSpot made, once it was found: no other key is asked then. Relaxed: a number that stands for
    /// itself.
    key: AtomicU32,
    osthread: usize,
    pthread_id: usize,
    anchor: AnchorLayout,
    /// From the frame pointer of the stub by which C++ calls Java: the slot that holds the `JavaCallWrapper*`.
    call_wrapper_slot: isize,
    wrapper_anchor: AnchorLayout,
    /// Of a compiler thread: environment, task, method.
    compiling: Option<[usize; 3]>,
}

impl ThreadLayout {
    pub(super) fn derive(tables: &VmStructs) -> Option<ThreadLayout> {
        let (sp, fp) =
            (tables.offset("JavaFrameAnchor", "_last_Java_sp")?, tables.offset("JavaFrameAnchor", "_last_Java_fp")?);
        let pc = tables.offset("JavaFrameAnchor", "_last_Java_pc")?;
        let anchor = |at: usize| AnchorLayout { sp: at + sp, pc: at + pc, fp: at + fp };
        let compiling = tables
            .offset("CompilerThread", "_env")
            .zip(tables.offset("ciEnv", "_task"))
            .zip(tables.offset("CompileTask", "_method"));
        Some(ThreadLayout {
            key: AtomicU32::new(MANY_KEYS),
            osthread: tables.offset("JavaThread", "_osthread").or_else(|| tables.offset("Thread", "_osthread"))?,
            pthread_id: tables.offset("OSThread", "_pthread_id")?,
            anchor: anchor(tables.offset("JavaThread", "_anchor")?),
            call_wrapper_slot: tables.int("frame::entry_frame_call_wrapper_offset")? as isize,
            wrapper_anchor: anchor(tables.offset("JavaCallWrapper", "_anchor")?),
            compiling: compiling.map(|((env, task), method)| [env, task, method]),
        })
    }

    /// The `JavaThread*` of the running thread, if it is one of the machine's.
    fn current(&self, image: Block) -> Option<usize> {
        // SAFETY: no precondition.
        let this = unsafe { libc::pthread_self() } as usize;
        let thread_under = |key: u32| {
            // SAFETY: no precondition; a key that nobody made has the value null.
            let value = unsafe { libc::pthread_getspecific(key) }.expose_provenance();
            self.is_thread(value, this, image).then_some(value)
        };
        let known = self.key.load(Ordering::Relaxed);
        if known < MANY_KEYS {
            return thread_under(known);
        }
        let (key, thread) =
            (0..if is_glibc() { MANY_KEYS } else { MUSLS_KEYS }).find_map(|key| Some((key, thread_under(key)?)))?;
        self.key.store(key, Ordering::Relaxed);
        Some(thread)
    }

    /// Whether `value` points to an object with a vtable of the machine and with the system's name of this thread.
    fn is_thread(&self, value: usize, this: usize, image: Block) -> bool {
        let fetch = |address: usize| memory::copy_value::<usize>(address).ok();
        value > 4096
            && fetch(value).is_some_and(|vtable| image.contains(vtable))
            && fetch(value + self.osthread).and_then(|osthread| fetch(osthread + self.pthread_id)) == Some(this)
    }

    /// The last Java frame of the running thread, if it has one and has left it for native code.
    pub(super) fn last_java_frame(&self, image: Block, stack: Block) -> Option<Registers> {
        let thread = self.current(image)?;
        let fetch = |offset: usize| memory::copy_value::<usize>(thread + offset).ok();
        frame_of_anchor(fetch(self.anchor.sp)?, fetch(self.anchor.pc)?, fetch(self.anchor.fp)?, stack)
    }

    /// The Java frame from which native code was called that now calls Java: `fp` is that of the stub by which C++
    /// calls Java.
    pub(super) fn outer_java_frame(&self, fp: usize, stack: Block) -> Option<Registers> {
        let wrapper = stack.read_at::<usize>(fp.wrapping_add_signed(8 * self.call_wrapper_slot))?;
        let word = |offset: usize| stack.read_at::<usize>(wrapper.wrapping_add(offset));
        let anchor = self.wrapper_anchor;
        frame_of_anchor(word(anchor.sp)?, word(anchor.pc)?, word(anchor.fp)?, stack)
    }

    /// The method that the running thread compiles, if it is a compiler thread.
    pub(super) fn compiling(&self, image: Block) -> Option<usize> {
        let fields = self.compiling?;
        if !is_compiler_by_name() {
            return None;
        }
        fields.iter().try_fold(self.current(image)?, |object, field| {
            memory::copy_value::<usize>(object + field).ok().filter(|&next| next > 4096)
        })
    }
}

/// Whether the running thread is called `C1 CompilerThread…` or `C2 …`, as every HotSpot calls them.
fn is_compiler_by_name() -> bool {
    let mut name = [0_u8; 16];
    // SAFETY: the kernel writes at most 16 bytes, which are ours.
    let done = unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) } == 0;
    done && matches!(name, [b'C', b'1' | b'2', b' ', b'C', b'o', b'm', b'p', ..])
}

/// An anchor may leave out the pc (it is then below the stack pointer) and the frame pointer (nothing needs it then).
fn frame_of_anchor(sp: usize, pc: usize, fp: usize, stack: Block) -> Option<Registers> {
    if sp == 0 || !stack.contains(sp) {
        return None;
    }
    let pc = if pc == 0 { stack.read_at::<usize>(sp - 8)? } else { pc };
    Some(Registers { pc: ReturnAddress::from_stack(pc), sp, fp: if fp == 0 { sp } else { fp } })
}
