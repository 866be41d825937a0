//! Native frames: from three registers to the return addresses of a stack, leaf first.
//!
//! Floor 3, on the way of every sample: `capture_here` → `walk` → `StackTrace`. A warm frame costs a cache
//! look-up and two stack reads; a new pc costs the search of its object's `.eh_frame` once:
//!
//! ```text
//! walk → cache: pc → rule ─ hit → rule: step ─→ next frame
//!          └ miss → objects → eh_frame_hdr → cfi → program, expression → rule, put into the cache
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
mod modules;
mod objects;
mod program;
mod reader;
mod refusal;
mod rule;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use arch::capture_here;
pub(crate) use bounds::{StackCache, stack_bounds};
pub(crate) use frame_pointer::step_by_frame_pointer;
pub(crate) use modules::{Load, Module, modules};
pub(crate) use objects::own_object;

use cache::{Cache, Key};
use rule::{Rule, Step};

use super::stack::{Registers, StackBounds, StackTrace};
use crate::wire::stack_end::StackEnd;

static RULES: Cache = Cache::new();

/// How a walk stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// For good; the trace says why.
    Ended,
    /// At a pc without rule in a loaded object: its pc is in the trace, whose end says `NoRule` (so one
    /// may leave it at that). `at` describes the frame; the guess by its frame pointer was not proved.
    Lost,
    /// At a pc that belongs to no object: generated code, or garbage. `at` describes the frame, whose
    /// pc is not in the trace.
    Foreign,
}

/// Adds the native frames from `at` on to the trace, until there is none or it cannot go on.
///
/// `first`: `at` is a point of execution (`capture_here`), not a frame that has called another. On return
/// `at` describes the frame that it stopped in. Where a signal interrupted a function, the trace gets the
/// interrupted pc plus one: readers subtract one from every pc to find the call, and find the function.
pub(crate) fn walk(at: &mut Registers, bounds: &StackBounds, trace: &mut StackTrace, first: bool) -> Stop {
    let generation = RULES.generation();
    let mut walk = Walk { at: *at, bounds: *bounds, exact: first, link: 0 };
    let mut interrupted = 0;
    let stop = loop {
        let Some(rule) = walk.rule(generation) else { break Stop::Foreign };
        if !trace.push((walk.at.pc + interrupted) as u64) {
            break Stop::Ended;
        }
        match walk.step(rule) {
            Ok(()) => interrupted = usize::from(walk.exact),
            Err(end) => {
                trace.set_end(end);
                break if end == StackEnd::NoRule { Stop::Lost } else { Stop::Ended };
            }
        }
    };
    *at = walk.at;
    stop
}

/// Goes from our own function to the application's frame that called us, without recording frames.
///
/// `at` comes from `capture_here`. `false`: the way out was not found.
pub(crate) fn leave_own_frames(at: &mut Registers, bounds: &StackBounds) -> bool {
    let (start, end) = own_object();
    let generation = RULES.generation();
    let mut walk = Walk { at: *at, bounds: *bounds, exact: true, link: 0 };
    while start <= walk.at.pc && walk.at.pc < end {
        let Some(rule) = walk.rule(generation) else { return false };
        if walk.step(rule).is_err() {
            return false;
        }
    }
    *at = walk.at;
    true
}

/// Forgets all cached rules: an object was unloaded, and another may come to lie in its place.
///
/// To be called before *and* after `dlclose` does its work, so that no rule is cached in between.
pub(crate) fn forget_objects() {
    RULES.forget();
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

/// One walk's state.
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
    fn rule(&self, generation: u64) -> Option<Rule> {
        let pc = self.at.pc.wrapping_sub(usize::from(!self.exact));
        let key = Key::new(pc, generation);
        match RULES.get(key) {
            Some(rule) => Some(rule),
            None => find_rule(pc, key),
        }
    }

    /// Goes to the caller, or says why there is none.
    #[inline(always)]
    fn step(&mut self, rule: Rule) -> Result<(), StackEnd> {
        match rule.step(&self.at, &self.bounds, self.link) {
            Step::Caller(caller) if !rule.is_signal() && caller.pc != 0 => {
                self.at = caller;
                self.exact = false;
                Ok(())
            }
            other => self.unusual_step(rule, other),
        }
    }

    #[cold]
    fn unusual_step(&mut self, rule: Rule, step: Step) -> Result<(), StackEnd> {
        match step {
            Step::Caller(Registers { pc: 0, .. }) | Step::Root => Err(StackEnd::Root),
            Step::Caller(caller) => self.leave_signal(caller),
            Step::NoRule if frame_pointer::step_within_objects(&mut self.at, &self.bounds) => {
                self.exact = false;
                Ok(())
            }
            Step::NoRule => Err(StackEnd::NoRule),
            Step::Outside(address) => self.widen(rule, address),
        }
    }

    /// The interrupted function, which may have run on another stack than the handler.
    fn leave_signal(&mut self, caller: Registers) -> Result<(), StackEnd> {
        self.link = self.saved_link();
        if !self.bounds.holds_word(caller.sp & !(size_of::<usize>() - 1)) {
            self.bounds = stack_bounds(caller.sp).ok_or(StackEnd::Unreadable)?;
        }
        self.at = caller;
        self.exact = true;
        Ok(())
    }

    /// The interrupted function's link register, from the kernel's signal frame: beside its fp.
    fn saved_link(&self) -> usize {
        let Some([fp, ..]) = arch::CPU.signal_frame else { return 0 };
        let address = self.at.sp.wrapping_add(fp as usize).wrapping_add(size_of::<usize>());
        rule::read(&self.bounds, address).map_or(0, arch::bare_return_address)
    }

    /// A rule left the bounds. They may be a window of a larger stack: look again from here, once.
    fn widen(&mut self, rule: Rule, address: usize) -> Result<(), StackEnd> {
        if address < self.bounds.high {
            return Err(StackEnd::BadStack);
        }
        let wider = stack_bounds(self.at.sp).filter(|wider| wider.high > self.bounds.high).ok_or(StackEnd::BadStack)?;
        self.bounds = wider;
        match rule.step(&self.at, &self.bounds, self.link) {
            Step::Outside(_) => Err(StackEnd::BadStack),
            Step::Caller(Registers { pc: 0, .. }) => Err(StackEnd::Root),
            Step::Caller(caller) if rule.is_signal() => self.leave_signal(caller),
            Step::Caller(caller) => {
                self.at = caller;
                self.exact = false;
                Ok(())
            }
            Step::Root => Err(StackEnd::Root),
            Step::NoRule => Err(StackEnd::NoRule),
        }
    }
}

/// Makes and keeps the rule of a pc that the cache does not know.
#[cold]
#[inline(never)]
fn find_rule(pc: usize, key: Key) -> Option<Rule> {
    let object = objects::find(pc)?;
    let rule = object.with_tables(|tables| cfi::rule_for(tables, pc, &arch::CPU));
    let rule = rule.and_then(Result::ok).unwrap_or(Rule::NONE);
    RULES.put(key, rule);
    Some(rule)
}
