//! Takes the call stack of an allocation: native frames, and Java frames between them.
//!
//! The first frame is an address inside the exported `malloc`, because jeprof takes the first address for a
//! pc, not for a return address, and takes `malloc` off by name; frames of our own above it are left out. Native
//! unwinding stops where a pc belongs to no object; the Java walker takes over there, and hands back where
//! native code called Java. Nothing here allocates or locks.

use super::request::Request;
use super::scratch::Scratch;
use crate::tap::hash;
use crate::tap::jvm::frame::{JavaFrame, JavaFrames};
use crate::tap::jvm::{Hotspot, Outer, Walked};
use crate::tap::stack::{Registers, StackBounds, StackTrace};
use crate::tap::store::{Store, UNNAMED};
use crate::tap::unwind::{self, StackCache, Stop, Windows};
use crate::tap::visit::Visit;
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
        ((hash::spread(self.life.into()) >> 32) as u32).wrapping_add(self.store.method_epoch())
    }
}

/// Takes stacks.
pub(crate) struct Capture<'a> {
    /// The Java walker, and who names its frames; `None`: Java frames are not wanted.
    pub(crate) java: Option<(&'a Hotspot, &'a Store)>,
}

impl Capture<'_> {
    /// Fills the trace with the stack that called one of the exports.
    #[inline(never)]
    pub(crate) fn take(&self, visit: &Visit, request: &Request, scratch: &mut Scratch) {
        let thread = visit.thread();
        let Scratch { trace, last_walk, windows } = scratch;
        // One byte in: jeprof wants a pc inside the function.
        let _ = trace.push(request.entry as u64 + 1);
        // An export that calls another one is no caller.
        let (own_start, own_end) = unwind::own_object();
        let caller = request.caller.filter(|caller| !(own_start..own_end).contains(&caller.pc.address()));
        let mut at = caller.unwrap_or_else(unwind::capture_here);
        let mut stack = StackCache::from_words(thread.stack.get());
        let mut bounds = stack.bounds(at.sp);
        thread.stack.set(stack.words());
        if caller.is_none() && !unwind::leave_own_frames(&mut at, &bounds, windows) {
            return trace.set_end(StackEnd::NoRule);
        }
        let has_ended = last_walk.follow(&mut at, &bounds, windows, trace);
        let life = thread.life.get();
        match self.java.map(|(hotspot, store)| (hotspot, Names { store, life })) {
            None if has_ended => {}
            None => walk_native(&mut at, &mut bounds, windows, trace),
            Some((hotspot, names)) if has_ended => hotspot.push_compiling(&bounds, trace, &names),
            Some((hotspot, names)) => walk_mixed(hotspot, &mut at, &mut bounds, windows, trace, &names),
        }
    }
}

/// Native and Java parts in turn, until one of them ends the trace.
fn walk_mixed(
    hotspot: &Hotspot,
    at: &mut Registers,
    bounds: &mut StackBounds,
    windows: &mut Windows,
    trace: &mut StackTrace,
    names: &Names<'_>,
) {
    let mut outer = None;
    loop {
        match unwind::walk(at, bounds, windows, trace, false) {
            Stop::Ended => break,
            Stop::Lost if hotspot.recover(at, bounds, outer) => {}
            Stop::Lost if unwind::pass_lost(at, bounds, windows, trace) => continue,
            Stop::Lost => return,
            Stop::Foreign => {}
        }
        match hotspot.walk(at, bounds, windows.is_guessing(), trace, names) {
            Walked::Native(next) => outer = Some(next),
            Walked::Ended => return,
            Walked::NotJava => {
                let goes_on = leave_unlisted(hotspot, at, bounds, outer, trace)
                    || step_over(at, bounds, windows, trace)
                    || hotspot.recover(at, bounds, outer);
                if !goes_on {
                    return;
                }
            }
        }
    }
    if outer.is_none() && trace.end() == StackEnd::Root {
        hotspot.push_compiling(bounds, trace, names);
    }
}

/// Where a table lists the objects, code that it does not know may be a library that was opened since: if Java called
/// it, adds its frame and goes on in Java, which a guess by frame pointers would run past.
fn leave_unlisted(
    hotspot: &Hotspot,
    at: &mut Registers,
    bounds: &StackBounds,
    outer: Option<Outer>,
    trace: &mut StackTrace,
) -> bool {
    let pc = at.pc;
    !unwind::loader_finds_objects() && hotspot.recover(at, bounds, outer) && trace.push(pc.in_trace(false))
}

/// Native frames, and those of generated code that keeps frame pointers.
fn walk_native(at: &mut Registers, bounds: &mut StackBounds, windows: &mut Windows, trace: &mut StackTrace) {
    loop {
        let goes_on = match unwind::walk(at, bounds, windows, trace, false) {
            Stop::Ended => false,
            Stop::Lost => unwind::pass_lost(at, bounds, windows, trace),
            Stop::Foreign => step_over(at, bounds, windows, trace),
        };
        if !goes_on {
            return;
        }
    }
}

/// Adds a frame of code that neither tables nor the virtual machine know, and goes on by its frame pointer if that can
/// be proved.
fn step_over(at: &mut Registers, bounds: &StackBounds, windows: &mut Windows, trace: &mut StackTrace) -> bool {
    if !trace.push(at.pc.in_trace(false)) {
        return false;
    }
    trace.set_end(StackEnd::NoObject);
    unwind::pass_by_frame_pointer(at, bounds, windows, trace)
}
