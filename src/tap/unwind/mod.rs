//! Native frames: from three registers to the return addresses of a stack, leaf first.
//!
//! Floor 3, on the way of every sample: `capture_here` → `walk` → `StackTrace`. A warm frame costs a cache
//! look-up and two stack reads; a new pc costs the search of its object's `.eh_frame` once:
//!
//! ```text
//! walk → rules: cache: pc → rule ─ hit → rule: step ─→ next frame
//!                 └ miss → objects → eh_frame_hdr → cfi → program, expression → rule, put into the cache
//! ```
//!
//! Promises: no allocation, no lock, no panic, no errno, no read outside of what `bounds` found readable
//! or of mapped tables; safe in signal handlers and on small stacks (no frame above 1 KiB).
//! Other processors than x86-64 and aarch64 are not supported; aarch64 is untested on hardware.

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
mod objects;
mod program;
mod reader;
mod refusal;
mod rule;
mod rules;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use arch::capture_here;
pub(crate) use bounds::{StackCache, stack_bounds};
pub(crate) use frame_pointer::pass_by_frame_pointer;
pub(crate) use last_walk::LastWalk;
pub(crate) use modules::modules;
pub(crate) use objects::own_object;
pub(crate) use rules::forget_objects;

use rule::{Rule, Step};
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
pub(crate) fn walk(at: &mut Registers, bounds: &mut StackBounds, trace: &mut StackTrace, first: bool) -> Stop {
    let rules = Rules::now();
    let mut walk = Walk { at: *at, bounds: *bounds, exact: first, link: 0 };
    let mut interrupted = 0;
    let stop = loop {
        let Some(rule) = walk.rule(rules) else { break Stop::Foreign };
        if !trace.push((walk.at.pc + interrupted) as u64) {
            break Stop::Ended;
        }
        match walk.step(rule) {
            Ok(caller) => walk = caller,
            Err(end) => {
                trace.set_end(end);
                break if end == StackEnd::NoRule { Stop::Lost } else { Stop::Ended };
            }
        }
        interrupted = usize::from(walk.exact);
    };
    (*at, *bounds) = (walk.at, walk.bounds);
    stop
}

/// Goes on where a walk was `Lost` and nobody knows better: at the next frame that the frame pointer leads to and that
/// has rules. `false`: there is none, and the trace says why. The ABI marks the outermost frame by a zero frame
/// pointer: `_start` of programs that were linked without its table.
pub(crate) fn pass_lost(at: &mut Registers, bounds: &StackBounds, trace: &mut StackTrace) -> bool {
    if at.fp == 0 {
        trace.set_end(StackEnd::Root);
        return false;
    }
    pass_by_frame_pointer(at, bounds, trace)
}

/// Goes from our own function to the application's frame that called us, without recording frames.
///
/// `at` comes from `capture_here`. `false`: the way out was not found.
pub(crate) fn leave_own_frames(at: &mut Registers, bounds: &StackBounds) -> bool {
    let (start, end) = own_object();
    let rules = Rules::now();
    let mut walk = Walk { at: *at, bounds: *bounds, exact: true, link: 0 };
    while start <= walk.at.pc && walk.at.pc < end {
        let Some(rule) = walk.rule(rules) else { return false };
        let Ok(caller) = walk.step(rule) else { return false };
        walk = caller;
    }
    *at = walk.at;
    true
}

/// Rebuilds the list of objects that a glibc older than 2.35 needs: see `table`. Takes the loader's lock.
pub(crate) fn refresh_objects() {
    if !loader_finds_objects() {
        table::refresh();
    }
}

/// Whether `refresh_objects` would help: there were pcs that belong to no listed object.
pub(crate) fn objects_are_stale() -> bool {
    !loader_finds_objects() && table::is_stale()
}

fn loader_finds_objects() -> bool {
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
    ///
    /// A return address is looked up one byte before: a call that never returns may be the last
    /// instruction of its function, and what follows another function's.
    #[inline(always)]
    fn rule(self, rules: Rules) -> Option<Rule> {
        rules.get(self.at.pc.wrapping_sub(usize::from(!self.exact)))
    }

    /// The caller, or why there is none.
    #[inline(always)]
    fn step(self, rule: Rule) -> Result<Walk, StackEnd> {
        match rule.plain_step(&self.at, &self.bounds) {
            Some(at) if at.pc != 0 => Ok(Walk { at, exact: false, ..self }),
            _ => self.unusual_step(rule),
        }
    }

    #[cold]
    #[inline(never)]
    fn unusual_step(self, rule: Rule) -> Result<Walk, StackEnd> {
        match rule.step(&self.at, &self.bounds, self.link) {
            Step::Root => Err(StackEnd::Root),
            Step::Caller(caller) => self.go_to(caller, rule),
            Step::NoRule => Err(StackEnd::NoRule),
            Step::Outside(address) => self.widen(rule, address),
        }
    }

    fn go_to(self, caller: Registers, rule: Rule) -> Result<Walk, StackEnd> {
        if caller.pc == 0 {
            Err(StackEnd::Root)
        } else if rule.is_signal() {
            self.leave_signal(caller)
        } else {
            Ok(Walk { at: caller, exact: false, ..self })
        }
    }

    /// The interrupted function, which may have run on another stack than the handler.
    fn leave_signal(self, caller: Registers) -> Result<Walk, StackEnd> {
        let is_same_stack = self.bounds.holds_word(caller.sp & !(size_of::<usize>() - 1));
        let bounds = if is_same_stack { Some(self.bounds) } else { stack_bounds(caller.sp) };
        let bounds = bounds.ok_or(StackEnd::Unreadable)?;
        Ok(Walk { at: caller, bounds, exact: true, link: self.saved_link() })
    }

    /// The interrupted function's link register, from the kernel's signal frame: beside its fp.
    fn saved_link(self) -> usize {
        let Some([fp, ..]) = arch::CPU.signal_frame else { return 0 };
        let address = self.at.sp.wrapping_add(fp as usize).wrapping_add(size_of::<usize>());
        rule::read(&self.bounds, address).map_or(0, arch::bare_return_address)
    }

    /// A rule left the bounds. They may be a window of a larger stack: look again from here, once.
    fn widen(self, rule: Rule, address: usize) -> Result<Walk, StackEnd> {
        if address < self.bounds.high {
            return Err(StackEnd::BadStack);
        }
        let wider = stack_bounds(self.at.sp).filter(|wider| wider.high > self.bounds.high);
        let wider = Walk { bounds: wider.ok_or(StackEnd::BadStack)?, ..self };
        match rule.step(&wider.at, &wider.bounds, wider.link) {
            Step::Caller(caller) => wider.go_to(caller, rule),
            _ => Err(StackEnd::BadStack),
        }
    }
}
