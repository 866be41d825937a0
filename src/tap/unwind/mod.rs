//! Native frames: from three registers to the return addresses of a stack, leaf first.
//!
//! On the way of every sample: `capture_here` → `walk` → `StackTrace`. A warm frame costs a cache
//! look-up and two stack reads; a new pc costs the search of its object's `.eh_frame` once:
//!
//! ```text
//! walk → rules: cache: pc → rule ─ hit → rule: step ─→ next frame
//!                 └ miss → objects → eh_frame_hdr → cfi → program, expression → rule, put into the cache
//! ```
//!
//! Promises: no allocation, no lock, no panic, no errno; safe in signal handlers and within the stack of a visit
//! (`tests/host/stack_use.c` measures it). What is read plainly is the thread's own stack, from the stack pointer's
//! page to its end (`bounds`: it stays while the thread runs on it), and the tables of objects that the process began
//! with. All else (other stacks, tables of libraries that were opened, code that a guess leads to) is copied by the
//! kernel (`windows`), which says what is not there. So a wrong rule, a stale one or a wild register makes a wrong
//! frame, and never a fault. Other processors than x86-64 and aarch64 are not supported; aarch64 is untested on
//! hardware.

mod arch;
mod bounds;
mod cache;
mod cfi;
mod eh_frame_hdr;
mod elf;
mod expression;
mod frame_pointer;
mod last_walk;
mod modules;
mod musls_start;
mod object;
mod objects;
mod own_object;
mod pair;
mod pivots;
mod program;
mod reader;
mod refusal;
mod rule;
mod rules;
mod table;
#[cfg(test)]
mod tests;
mod windows;

pub(crate) use arch::capture_here;
pub(crate) use bounds::{StackCache, is_readable, stack_bounds};
pub(crate) use frame_pointer::pass_by_frame_pointer;
pub(crate) use last_walk::LastWalk;
pub(crate) use modules::modules;
pub(crate) use objects::note_permanent;
pub(crate) use own_object::own_object;
pub(crate) use rules::forget_objects;
pub(crate) use windows::Windows;

use musls_start::returns_to_start;
use rule::{Rule, Step, Words};
use rules::Rules;

use super::stack::{Registers, StackBounds, StackTrace};
use crate::wire::stack_end::StackEnd;

/// How a walk stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// For good; the trace says why.
    Ended,
    /// At a pc without rule in a loaded object: its pc is in the trace, whose end says `NoRule` (so one may
    /// leave it at that); `at` describes the frame. A virtual machine may know better; else `pass_lost` may
    /// find the way.
    Lost,
    /// At a pc that belongs to no object: generated code, or garbage. `at` describes the frame, whose
    /// pc is not in the trace. If no virtual machine knows it: push it, then `pass_by_frame_pointer`.
    Foreign,
}

/// Adds the native frames from `at` on to the trace, until there is none or it cannot go on.
///
/// `first`: `at` is a point of execution (`capture_here`), not a frame that has called another. On return
/// `at` describes the frame that it stopped in, and `bounds` the stack that it is on: a handler may run on another
/// than the function that it interrupted. Where a signal interrupted a function, the trace gets the
/// interrupted pc plus one: readers subtract one from every pc to find the call, and find the function.
pub(crate) fn walk(
    at: &mut Registers,
    bounds: &mut StackBounds,
    windows: &mut Windows,
    trace: &mut StackTrace,
    first: bool,
) -> Stop {
    let rules = Rules::now();
    let mut walk = Walk { at: *at, bounds: *bounds, exact: first, link: 0 };
    let mut is_interrupted = false;
    let stop = loop {
        let Some(rule) = walk.rule(rules, windows) else { break Stop::Foreign };
        if !trace.push(walk.at.pc.in_trace(is_interrupted)) {
            break Stop::Ended;
        }
        match walk.step(rule, windows) {
            Ok(caller) => walk = caller,
            Err(end) => {
                trace.set_end(end);
                break if end == StackEnd::NoRule { Stop::Lost } else { Stop::Ended };
            }
        }
        is_interrupted = walk.exact;
    };
    (*at, *bounds) = (walk.at, walk.bounds);
    stop
}

/// Goes on where a walk was `Lost` and no virtual machine knows the frame: at the next frame that the frame pointer
/// leads to and that has rules. `false`: there is none, and the trace says why. The ABI marks the outermost frame by a
/// zero frame pointer: `_start` of programs that were linked without its table.
pub(crate) fn pass_lost(
    at: &mut Registers,
    bounds: &StackBounds,
    windows: &mut Windows,
    trace: &mut StackTrace,
) -> bool {
    if at.fp == 0 {
        trace.set_end(StackEnd::Root);
        return false;
    }
    pass_by_frame_pointer(at, bounds, windows, trace)
}

/// Goes from our own function to the application's frame that called us, without recording frames.
///
/// `at` comes from `capture_here`. `false`: the walk did not reach a frame of the application.
pub(crate) fn leave_own_frames(at: &mut Registers, bounds: &StackBounds, windows: &mut Windows) -> bool {
    let (start, end) = own_object();
    let rules = Rules::now();
    let mut walk = Walk { at: *at, bounds: *bounds, exact: true, link: 0 };
    while (start..end).contains(&walk.at.pc.address()) {
        let Some(rule) = walk.rule(rules, windows) else { return false };
        let Ok(caller) = walk.step(rule, windows) else { return false };
        walk = caller;
    }
    *at = walk.at;
    true
}

/// Rebuilds the list of objects that a glibc older than 2.35 needs, from these mappings, if there were pcs that belong
/// to no listed object: see `table`.
pub(crate) fn refresh_objects(maps: &[u8]) {
    if !loader_finds_objects() && table::is_stale() {
        table::refresh(maps);
    }
}

/// Whether the loader says by itself which object a pc belongs to; else a table does, which wants to be filled.
pub(crate) fn loader_finds_objects() -> bool {
    arch::dl_find_object() != 0
}

/// One walk's state. Steps take and give it by value, so that the hot loop keeps it in registers.
#[derive(Clone, Copy)]
struct Walk {
    at: Registers,
    bounds: StackBounds,
    /// `at.pc` is a point of execution, not a return address.
    exact: bool,
    /// The link register, where a signal frame has it (aarch64).
    link: usize,
}

impl Walk {
    /// The rule of the frame; `None`: its pc belongs to no object.
    #[inline(always)]
    fn rule(self, rules: Rules, windows: &mut Windows) -> Option<Rule> {
        rules.get(self.at.pc.lookup(self.exact), windows)
    }

    /// The caller, or why there is none.
    #[inline(always)]
    fn step(self, rule: Rule, windows: &mut Windows) -> Result<Walk, StackEnd> {
        match rule.plain_step(&self.at, &self.bounds) {
            Some(at) if !at.pc.is_zero() => Ok(Walk { at, exact: false, ..self }),
            _ => self.unusual_step(rule, windows),
        }
    }

    /// Steps that are not plain, and all of those on a foreign stack.
    #[cold]
    #[inline(never)]
    fn unusual_step(self, rule: Rule, windows: &mut Windows) -> Result<Walk, StackEnd> {
        match rule.step(&self.at, &mut Words::of(&self.bounds, windows), self.link) {
            Step::Root => Err(StackEnd::Root),
            Step::Caller(caller) => self.go_to(caller, rule, windows),
            Step::NoRule if returns_to_start(self.at.pc.lookup(self.exact), self.at.pc.address()) => {
                Err(StackEnd::Root)
            }
            Step::NoRule => Err(StackEnd::NoRule),
            Step::Outside(_) if self.bounds.is_own() => Err(StackEnd::BadStack),
            Step::Outside(_) => Err(StackEnd::Unreadable),
        }
    }

    fn go_to(self, caller: Registers, rule: Rule, windows: &mut Windows) -> Result<Walk, StackEnd> {
        if caller.pc.is_zero() {
            Err(StackEnd::Root)
        } else if rule.is_signal() {
            // The interrupted function may have run on another stack than the handler.
            let is_same_stack = self.bounds.holds_word(caller.sp & !(size_of::<usize>() - 1));
            let bounds = if is_same_stack { self.bounds } else { stack_bounds(caller.sp) };
            Ok(Walk { at: caller, bounds, exact: true, link: self.saved_link(windows) })
        } else {
            Ok(Walk { at: caller, exact: false, ..self })
        }
    }

    /// The interrupted function's link register, from the kernel's signal frame: beside its fp.
    fn saved_link(self, windows: &mut Windows) -> usize {
        let Some([fp, ..]) = arch::CPU.signal_frame else { return 0 };
        let address = self.at.sp.wrapping_add(fp as usize).wrapping_add(size_of::<usize>());
        Words::of(&self.bounds, windows).read(address).unwrap_or(0)
    }
}
