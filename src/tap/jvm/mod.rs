//! Java frames: HotSpot's stacks, walked through the tables that it exports about itself.
//!
//! Floor 3, beside `unwind`: when native unwinding meets a pc that belongs to no ELF object, [`Hotspot::walk`] takes over, pushes one
//! fake pc per Java method, and hands the registers back where native code called Java. No flag, agent, JVMTI, JNI, signal
//! handler or call into the machine: everything is read from its memory, and only after it has been checked.
//! It starts itself at the first such pc. Nothing on a sample's way allocates, locks or waits.
//!
//! ```text
//! walk ── machine (layout, once) ── image, vmstructs, quirks
//!   ├─ heap → blob → nmethod (scopes, unsigned5)        compiled and inlined
//!   ├─ interpreter                                       interpreted
//!   ├─ continuation                                      virtual threads
//!   ├─ cache → method (names, lines) → frame             (Method*, bci) → slot of the live region
//!   └─ thread                                            lost stacks, compiler threads
//! ```
//!
//! # Safety
//!
//! Unsafe here is to follow the pointer to the published [`Machine`], which is never freed, and to believe the caller's
//! [`StackBounds`].
#![allow(unsafe_code)]

mod blob;
mod cache;
mod continuation;
mod counters;
pub(crate) mod frame;
mod hash;
mod heap;
mod image;
mod interpreter;
mod lines;
mod machine;
mod memory;
mod method;
mod names;
mod nmethod;
mod quirks;
mod thread;
mod unsigned5;
mod vmstructs;
mod walk;

use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use self::counters::Counters;
use self::frame::JavaFrames;
use self::machine::{Machine, Unfit};
use self::memory::Block;
use self::walk::{Stop, Walk};
use super::stack::{Registers, StackBounds, StackTrace};
use crate::wire::stack_end::StackEnd;

/// How the walk of a run of Java frames ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walked {
    /// Native code called Java: the registers given are now those of that native frame. If its unwinding gets lost,
    /// [`Hotspot::recover`] goes on from the Java frame below it, given this.
    Native(Outer),
    /// The trace ends here and holds the reason.
    Ended,
    /// The pc is not in a code cache that we know: nothing was pushed.
    NotJava,
}

/// Where, below native code that called Java, the next outer Java frame stands; if there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outer(Option<Registers>);

const NONE: u32 = 0;
const BUSY: u32 = 1;
const READY: u32 = 2;
const UNSUPPORTED: u32 = 3;

/// Walks that may fail a check before we ask whether we understand this machine at all.
const TOLERATED: u64 = 64;

/// The virtual machine of this process, found when its first frame is met.
#[derive(Debug)]
pub(crate) struct Hotspot {
    state: AtomicU32,
    machine: AtomicPtr<Machine>,
    attempts: AtomicU32,
    counters: Counters,
}

impl Hotspot {
    /// Knows nothing yet.
    pub(crate) const fn new() -> Hotspot {
        Hotspot {
            state: AtomicU32::new(NONE),
            machine: AtomicPtr::new(ptr::null_mut()),
            attempts: AtomicU32::new(0),
            counters: Counters::new(),
        }
    }

    /// Walks Java frames from `at`, whose pc belongs to no ELF object and has not been pushed.
    pub(crate) fn walk(
        &self,
        at: &mut Registers,
        bounds: &StackBounds,
        trace: &mut StackTrace,
        names: &impl JavaFrames,
    ) -> Walked {
        let Some(machine) = self.machine() else {
            if !matches!(self.state.load(Ordering::Relaxed), BUSY | READY) {
                return Walked::NotJava;
            }
            // Another thread is finding out (or just has) what this pc is: it may be Java, so nobody shall guess.
            trace.set_end(StackEnd::NotWalked);
            return Walked::Ended;
        };
        if !machine.code.contains(at.pc) {
            return Walked::NotJava;
        }
        self.counters.walks.add(1);
        let end = match Walk::new(machine, &self.counters, names, stack_of(bounds), trace).run(at) {
            Ok(outer) => return Walked::Native(Outer(outer)),
            Err(Stop::End(end)) => end,
            Err(Stop::Full) => StackEnd::TooDeep,
        };
        trace.set_end(end);
        self.counters.count_end(end);
        if end == StackEnd::JavaImplausible {
            self.doubt();
        }
        Walked::Ended
    }

    /// Goes on after native unwinding got lost: moves `at` to the Java frame from which the lost native code was entered,
    /// as the machine itself has noted it. `outer`: what the last [`walk`](Self::walk) of this trace returned, if there
    /// was one. `false`: there is no such frame, and `at` is unchanged.
    ///
    /// Costs some microseconds: meant for the rare native library without unwind tables.
    pub(crate) fn recover(&self, at: &mut Registers, bounds: &StackBounds, outer: Option<Outer>) -> bool {
        let Some(machine) = self.running() else { return false };
        let frame = match outer {
            Some(Outer(frame)) => frame,
            None => {
                machine.threads.as_ref().and_then(|threads| threads.last_java_frame(machine.image, stack_of(bounds)))
            }
        };
        match frame.filter(|frame| frame.sp > at.sp && machine.code.contains(frame.pc)) {
            Some(frame) => *at = frame,
            None => return false,
        }
        self.counters.recovered.add(1);
        true
    }

    /// Ends the complete native trace of a compiler thread with the method that it is compiling, and a mark. Nothing
    /// happens in any other thread.
    pub(crate) fn push_compiling(&self, bounds: &StackBounds, trace: &mut StackTrace, names: &impl JavaFrames) {
        let Some(machine) = self.running() else { return };
        let Some(method) = machine.threads.as_ref().and_then(|threads| threads.compiling(machine.image)) else {
            return;
        };
        // A method that cannot be named leaves the trace as it is: complete, without the addition.
        let _ = Walk::new(machine, &self.counters, names, stack_of(bounds), trace).push_compiling(method);
    }

    fn published(&self) -> Option<&'static Machine> {
        // Acquire: pairs with the release in `start`, so that the machine's fields are seen.
        let machine = self.machine.load(Ordering::Acquire);
        // SAFETY: null, or a machine that `start` wrote whole before publishing it, in memory that is never unmapped.
        unsafe { machine.as_ref() }
    }

    /// The machine, if it is known and trusted.
    fn running(&self) -> Option<&'static Machine> {
        self.published().filter(|_| self.state.load(Ordering::Relaxed) != UNSUPPORTED)
    }

    /// The same; looked for if there is none yet.
    fn machine(&self) -> Option<&'static Machine> {
        if self.machine.load(Ordering::Relaxed).is_null() { self.start() } else { self.running() }
    }

    /// Looks for the machine. One thread does, others do not wait; a process with foreign code but without HotSpot is
    /// looked at ever more rarely (the 1st, 2nd, 4th, 8th … time), because a look costs up to a millisecond.
    #[cold]
    fn start(&self) -> Option<&'static Machine> {
        if self.state.load(Ordering::Relaxed) != NONE
            || !self.attempts.fetch_add(1, Ordering::Relaxed).wrapping_add(1).is_power_of_two()
            || self.state.compare_exchange(NONE, BUSY, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return None;
        }
        let (state, found) = match Machine::find().map(memory::lasting) {
            Ok(Some(machine)) => (READY, Some(machine)),
            Ok(None) | Err(Unfit::NotYet) => (NONE, None),
            Err(Unfit::Unknown) => (UNSUPPORTED, None),
        };
        if let Some(machine) = found {
            // Release: whoever sees the pointer sees the fields.
            self.machine.store(ptr::from_ref(machine).cast_mut(), Ordering::Release);
        }
        self.state.store(state, Ordering::Relaxed);
        found
    }

    /// Gives up Java frames for good when a large share of the walks meets what cannot be.
    #[cold]
    fn doubt(&self) {
        let failed = self.counters.ended(StackEnd::JavaImplausible);
        if failed > TOLERATED && failed > self.counters.walks.get() / 4 {
            self.state.store(UNSUPPORTED, Ordering::Relaxed);
        }
    }
}

/// For dumps: `none`, `hotspot 17 (…)` with what its walks have cost so far, or `unsupported`.
impl fmt::Display for Hotspot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.state.load(Ordering::Relaxed), self.published()) {
            (UNSUPPORTED, _) => out.write_str("unsupported"),
            (_, Some(machine)) => write!(out, "hotspot {} ({})", machine.release, self.counters),
            _ => out.write_str("none"),
        }
    }
}

/// The running stack as the caller knows it.
fn stack_of(bounds: &StackBounds) -> Block {
    // SAFETY: `StackBounds` promises that these bytes of the running stack are readable.
    unsafe { Block::vouched(bounds.low, bounds.high.saturating_sub(bounds.low)) }
}
