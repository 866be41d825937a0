//! Java frames: HotSpot's stacks, walked through the tables that it exports about itself.
//!
//! Beside `unwind`: when native unwinding meets a pc that belongs to no ELF object, [`Hotspot::walk`] takes
//! over, pushes one fake pc per Java method, and hands the registers back where native code called Java. No flag,
//! agent, JVMTI, JNI, signal handler or call into the machine: everything is read from its memory, and only after it
//! has been checked. It starts itself at the first such pc. Nothing on a sample's way allocates, locks or waits.
//!
//! ```text
//! walk ── machine (layout, once) ── image, vmstructs or known, quirks
//!   ├─ heap → blob → nmethod (scopes, unsigned5)        compiled and inlined
//!   ├─ interpreter                                       interpreted
//!   ├─ continuation                                      virtual threads
//!   ├─ cache → method (names, lines) → frame             (Method*, bci) → slot of the live region
//!   ├─ thread                                            lost stacks, compiler threads
//!   └─ holdings                                          what memory the machine has (for the keeper)
//! ```
//!
//! # Safety
//!
//! Unsafe here is to follow the pointer to the published [`Machine`], which is never freed, and to believe the caller's
//! [`StackBounds`].
#![allow(unsafe_code)]

mod blob;
mod cache;
mod cache_size;
mod continuation;
mod counters;
pub(crate) mod frame;
mod heap;
mod holdings;
mod image;
mod interpreter;
mod known;
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
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use self::counters::Counters;
use self::frame::JavaFrames;
use self::machine::{Machine, Unfit};
use self::memory::Block;
use self::vmstructs::Source;
use self::walk::{Stop, Walk};
use super::errand::Errand;
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

/// What memory the machine has for itself.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    /// Whether metaspace comes in aligned pieces of 4 MiB that hold nothing else (JEP 387).
    pub(crate) has_aligned_metaspace: bool,
    /// The reserved Java heap.
    pub(crate) java_heap: Option<Range<usize>>,
    /// An address in the card table.
    pub(crate) card_table: Option<usize>,
    /// The reserved code cache, and the maps of its segments.
    pub(crate) code_cache: Vec<Range<usize>>,
    /// Addresses in metaspace, and in archives of classes.
    pub(crate) classes: Vec<usize>,
}

/// How far the search for the machine has come. One word of [`Hotspot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Search {
    /// No machine is known; the next foreign pc may look for one.
    NotFound = 0,
    /// A thread is looking.
    Busy = 1,
    /// The machine is published.
    Found = 2,
    /// There is a machine whose layout is not known, or whose walks failed too often: Java frames are given up.
    Unsupported = 3,
}

impl Search {
    #[inline(always)]
    const fn of_word(word: u32) -> Search {
        match word {
            0 => Search::NotFound,
            1 => Search::Busy,
            2 => Search::Found,
            _ => Search::Unsupported,
        }
    }
}

/// Walks that may fail a check before we ask whether we understand this machine at all.
const TOLERATED: u64 = 64;

/// Whether trouble with a machine ends Java frames for good; where faults are injected, that would end the test.
const GIVES_UP: bool = !cfg!(feature = "faults");

/// The virtual machine of this process, found when its first frame is met.
#[derive(Debug)]
pub(crate) struct Hotspot {
    search: AtomicU32,
    machine: AtomicPtr<Machine>,
    attempts: AtomicU32,
    counters: Counters,
}

impl Hotspot {
    /// Knows nothing yet.
    pub(crate) const fn new() -> Hotspot {
        Hotspot {
            search: AtomicU32::new(Search::NotFound as u32),
            machine: AtomicPtr::new(ptr::null_mut()),
            attempts: AtomicU32::new(0),
            counters: Counters::new(),
        }
    }

    /// Walks Java frames from `at`, whose pc belongs to no ELF object and has not been pushed. `is_guess`: a guess has
    /// led there, so that what the stack seems to hold need not be alive.
    pub(crate) fn walk(
        &self,
        at: &mut Registers,
        bounds: &StackBounds,
        is_guess: bool,
        trace: &mut StackTrace,
        names: &impl JavaFrames,
    ) -> Walked {
        let Some(machine) = self.machine() else {
            if !matches!(self.search(), Search::Busy | Search::Found) {
                return Walked::NotJava;
            }
            // Another thread is finding out (or just has) what this pc is: it may be Java, so this walk does not guess.
            trace.set_end(StackEnd::NotWalked);
            return Walked::Ended;
        };
        if !machine.code.contains(at.pc.address()) {
            return Walked::NotJava;
        }
        self.counters.walks.add_about(1);
        let mut walk = Walk::new(machine, &self.counters, names, stack_of(bounds), trace);
        let end = match walk.trusting(!is_guess).run(at) {
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

    /// Goes on after native unwinding got lost: moves `at` to the Java frame from which the lost native code was
    /// entered, as the machine itself has noted it. `outer`: what the last [`walk`](Self::walk) of this trace returned,
    /// if there was one. `false`: there is no such frame, and `at` is unchanged.
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
        match frame.filter(|frame| frame.sp > at.sp && machine.code.contains(frame.pc.address())) {
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

    // Relaxed, as all uses of the word: the machine itself is published by its pointer.
    #[inline(always)]
    fn search(&self) -> Search {
        Search::of_word(self.search.load(Ordering::Relaxed))
    }

    /// Makes this thread the one that looks. `false`: another looks, or has looked.
    fn begin_search(&self) -> bool {
        let (from, to) = (Search::NotFound as u32, Search::Busy as u32);
        self.search.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The machine, if it is known and trusted.
    fn running(&self) -> Option<&'static Machine> {
        self.published().filter(|_| self.search() != Search::Unsupported)
    }

    /// The same; looked for if there is none yet.
    fn machine(&self) -> Option<&'static Machine> {
        if self.machine.load(Ordering::Relaxed).is_null() { self.start() } else { self.running() }
    }

    /// Looks for the machine. One thread does, others do not wait; a process with foreign code but without HotSpot is
    /// looked at ever more rarely (the 1st, 2nd, 4th, 8th … time), because a look costs up to a millisecond.
    #[cold]
    fn start(&self) -> Option<&'static Machine> {
        if self.search() != Search::NotFound
            || !self.attempts.fetch_add(1, Ordering::Relaxed).wrapping_add(1).is_power_of_two()
            || !self.begin_search()
        {
            return None;
        }
        // Reads the list of mappings, and a machine on its way to its place needs more stack than the caller may have.
        #[cfg(feature = "faults")]
        super::os::faults::pause(self.attempts.load(Ordering::Relaxed).trailing_zeros() % 2 == 1);
        let looked = Errand::run(|errand| Machine::find(errand).map(memory::lasting));
        #[cfg(feature = "faults")]
        super::os::faults::pause(false);
        let (state, found) = match looked {
            Some(Ok(Some(machine))) => (Search::Found, Some(machine)),
            None | Some(Ok(None) | Err(Unfit::NotYet)) => (Search::NotFound, None),
            Some(Err(Unfit::Unknown)) => (if GIVES_UP { Search::Unsupported } else { Search::NotFound }, None),
        };
        if let Some(machine) = found {
            // Release: a thread that sees the pointer sees the fields.
            self.machine.store(ptr::from_ref(machine).cast_mut(), Ordering::Release);
        }
        self.search.store(state as u32, Ordering::Relaxed);
        found
    }

    /// Whether the machine is known, so that nothing has to be opened to find it.
    pub(crate) fn is_known(&self) -> bool {
        !self.machine.load(Ordering::Relaxed).is_null()
    }

    /// What memory the machine has for itself, as it says; `None`: none is known, or it does not say.
    /// For the keeper: it allocates.
    pub(crate) fn memory(&self) -> Option<Memory> {
        let machine = self.running()?;
        let holdings = machine.holdings.as_ref()?;
        let mut classes = Vec::new();
        holdings.each_class(&mut |address| classes.push(address));
        Some(Memory {
            has_aligned_metaspace: machine.release >= 16,
            java_heap: holdings.java_heap(),
            card_table: holdings.card_table(),
            code_cache: machine.code.ranges(),
            classes,
        })
    }

    /// Bytes of the Java heap that are in use, as the collector counts them.
    pub(crate) fn java_used(&self) -> Option<u64> {
        self.running()?.holdings.as_ref()?.java_used()
    }

    /// Gives up Java frames for good when a large share of the walks meets what cannot be.
    #[cold]
    fn doubt(&self) {
        let failed = self.counters.ended(StackEnd::JavaImplausible);
        if GIVES_UP && failed > TOLERATED && failed > self.counters.walks.get() / 4 {
            self.search.store(Search::Unsupported as u32, Ordering::Relaxed);
        }
    }
}

/// For dumps: `none`, `hotspot 17 (…)` with what its walks have cost so far, `hotspot 17 by build id (…)` if it does
/// not export its layout, or `unsupported`.
impl fmt::Display for Hotspot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.search(), self.published()) {
            (Search::Unsupported, _) => out.write_str("unsupported"),
            (_, Some(machine)) => {
                let source = match machine.source {
                    Source::Exported => "",
                    Source::BuildId => " by build id",
                };
                write!(out, "hotspot {}{source} ({})", machine.release, self.counters)
            }
            _ => out.write_str("none"),
        }
    }
}

/// The running stack as the caller knows it.
fn stack_of(bounds: &StackBounds) -> Block {
    // SAFETY: `StackBounds` promises that these bytes of the running stack are readable.
    unsafe { Block::vouched(bounds.low, bounds.high.saturating_sub(bounds.low)) }
}
