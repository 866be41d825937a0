//! Takes the call stack of an allocation: native frames, and Java frames between them.
//!
//! The first frame is an address inside the exported `malloc`, because jeprof takes the first address for a
//! pc, not for a return address, and takes `malloc` off by name; frames of our own above it are left out. Native
//! unwinding stops where a pc belongs to no object; the Java walker takes over there, and hands back where
//! native code called Java. Nothing here allocates or locks.

use super::Request;
use super::scratch::Scratch;
use crate::tap::jvm::frame::{JavaFrame, JavaFrames};
use crate::tap::jvm::{Hotspot, Walked};
use crate::tap::os::tls::ThreadBlock;
use crate::tap::stack::{Registers, StackBounds, StackTrace};
use crate::tap::store::{Store, UNNAMED};
use crate::tap::unwind::{self, StackCache, Stop};
use crate::wire::stack_end::StackEnd;

/// The store's Java methods, as the walker wants to use them.
struct Names<'a> {
    store: &'a Store,
    life: u32,
}

impl JavaFrames for Names<'_> {
    fn intern(&self, frame: &JavaFrame<'_>) -> Option<u64> {
        self.store.intern_method(frame.class, frame.method, frame.line)
    }

    fn unnamed(&self) -> u64 {
        UNNAMED
    }

    /// A fork child has another store, and a store forgets methods from epoch to epoch.
    fn generation(&self) -> u32 {
        self.life.wrapping_mul(0x9e37_79b1).wrapping_add(self.store.method_epoch())
    }
}

/// Takes stacks for this store.
pub(crate) struct Capture<'a> {
    pub(crate) store: &'a Store,
    /// The Java walker; `None`: Java frames are not wanted.
    pub(crate) hotspot: Option<&'a Hotspot>,
}

impl Capture<'_> {
    /// Fills the trace with the stack that called one of the exports.
    #[inline(never)]
    pub(crate) fn take(&self, request: &Request, thread: &ThreadBlock, scratch: &mut Scratch) {
        let Scratch { trace, last_walk } = scratch;
        // One byte in: jeprof wants a pc inside the function.
        let _ = trace.push(request.entry as u64 + 1);
        // An export that calls another one is no caller.
        let (own_start, own_end) = unwind::own_object();
        let caller = request.caller.filter(|caller| caller.pc < own_start || caller.pc >= own_end);
        let mut at = caller.unwrap_or_else(unwind::capture_here);
        let mut stack = StackCache::from_words(thread.stack.get());
        let bounds = stack.bounds(at.sp);
        thread.stack.set(stack.words());
        let Some(mut bounds) = bounds else {
            return trace.set_end(StackEnd::Unreadable);
        };
        if caller.is_none() && !unwind::leave_own_frames(&mut at, &bounds) {
            return trace.set_end(StackEnd::NoRule);
        }
        let has_ended = last_walk.follow(&mut at, &bounds, trace);
        let names = Names { store: self.store, life: thread.life.get() };
        match self.hotspot {
            None if has_ended => {}
            None => walk_native(&mut at, &mut bounds, trace),
            Some(hotspot) if has_ended => hotspot.push_compiling(&bounds, trace, &names),
            Some(hotspot) => walk_mixed(hotspot, &mut at, &mut bounds, trace, &names),
        }
    }
}

/// Native and Java parts in turn, until one of them ends the trace.
fn walk_mixed(
    hotspot: &Hotspot,
    at: &mut Registers,
    bounds: &mut StackBounds,
    trace: &mut StackTrace,
    names: &Names<'_>,
) {
    let mut outer = None;
    loop {
        match unwind::walk(at, bounds, trace, false) {
            Stop::Ended => break,
            Stop::Lost if hotspot.recover(at, bounds, outer) => {}
            Stop::Lost if unwind::pass_lost(at, bounds, trace) => continue,
            Stop::Lost => return,
            Stop::Foreign => {}
        }
        match hotspot.walk(at, bounds, trace, names) {
            Walked::Native(next) => outer = Some(next),
            Walked::Ended => return,
            Walked::NotJava => {
                if !step_over(at, bounds, trace) && !hotspot.recover(at, bounds, outer) {
                    return;
                }
            }
        }
    }
    if outer.is_none() && trace.end() == StackEnd::Root {
        hotspot.push_compiling(bounds, trace, names);
    }
}

/// Native frames, and those of generated code that keeps frame pointers.
fn walk_native(at: &mut Registers, bounds: &mut StackBounds, trace: &mut StackTrace) {
    loop {
        let goes_on = match unwind::walk(at, bounds, trace, false) {
            Stop::Ended => false,
            Stop::Lost => unwind::pass_lost(at, bounds, trace),
            Stop::Foreign => step_over(at, bounds, trace),
        };
        if !goes_on {
            return;
        }
    }
}

/// Adds a frame of code that nobody knows, and goes on by its frame pointer if that can be proved.
fn step_over(at: &mut Registers, bounds: &StackBounds, trace: &mut StackTrace) -> bool {
    if !trace.push(at.pc as u64) {
        return false;
    }
    trace.set_end(StackEnd::NoObject);
    unwind::pass_by_frame_pointer(at, bounds, trace)
}
