//! The last walk, remembered: most samples of a thread share most of their stack with the sample before.
//!
//! The registers that a walk begins with, the rules, and the words that it reads decide where it leads. So a frame that
//! is met again, registers and all, has the same callers as before if those words hold the same values. Comparing them
//! costs some fifteen instructions a frame instead of eighty, touches no rule, and no comparison waits for the one
//! before. Frames that differ are walked plainly and remembered for the next time.
//!
//! Only plain steps are remembered; unusual ones are left to `walk`. No lock: the caller has borrowed the record. The
//! record may be another thread's, whose stack lies elsewhere or lay here once: then no frame is met again, or the
//! words decide.
//!
//! # Safety
//! The only unsafe operation reads words that lie between the stack pointer and the end of the bounds.
#![allow(unsafe_code)]

use super::rule::Rule;
use super::rules::Rules;
use super::windows::Windows;
use crate::tap::code_address::ReturnAddress;
use crate::tap::stack::{Registers, StackBounds, StackTrace};
use crate::wire::stack_end::StackEnd;

/// Frames that are remembered; those beyond are walked each time.
const MOST: usize = 160;

/// A frame, and where its caller's registers were read.
#[derive(Clone, Copy)]
struct Seen {
    at: Registers,
    return_at: usize,
    /// Where the caller's frame pointer was saved; 0: nowhere, it is the same.
    saved_at: usize,
}

/// The frames of one walk, leaf first. Behind the last step stands the frame that it led to.
struct Frames {
    seen: [Seen; MOST + 1],
    steps: usize,
    /// The frame behind the last step is the outermost one of its thread.
    ends_at_root: bool,
}

/// The last walk, and room for the next one.
pub(crate) struct LastWalk {
    frames: [Frames; 2],
    /// Which of the two is remembered.
    known: usize,
    generation: u64,
}

impl Seen {
    const NONE: Seen = Seen { at: Registers { pc: ReturnAddress::ZERO, sp: 0, fp: 0 }, return_at: 0, saved_at: 0 };

    /// Whether the words that led from here to `caller` still do.
    #[inline(always)]
    fn leads_to(&self, caller: &Registers) -> bool {
        // SAFETY: the caller checked that the remembered frames lie within the bounds of the running stack.
        let pc = unsafe { (self.return_at as *const usize).read_volatile() };
        if ReturnAddress::from_stack(pc) != caller.pc {
            return false;
        }
        // SAFETY: as above.
        self.saved_at == 0 || unsafe { (self.saved_at as *const usize).read_volatile() } == caller.fp
    }
}

impl Frames {
    const fn new() -> Frames {
        Frames { seen: [Seen::NONE; MOST + 1], steps: 0, ends_at_root: false }
    }

    /// Remembers a step; too many are not.
    #[inline(always)]
    fn add(&mut self, step: Seen) {
        if self.steps < MOST
            && let Some(place) = self.seen.get_mut(self.steps)
        {
            *place = step;
            self.steps += 1;
        }
    }

    /// Says where the last step led to.
    fn close(&mut self, at: Registers) {
        if let Some(place) = self.seen.get_mut(self.steps) {
            *place = Seen { at, ..Seen::NONE };
        }
    }

    /// The steps from number `from` on, and the frame behind them; nothing if they do not lie within the bounds.
    fn from(&self, from: usize, bounds: &StackBounds) -> &[Seen] {
        let steps = self.seen.get(from..=self.steps).unwrap_or(&[]);
        match (steps.first(), steps.last()) {
            (Some(first), Some(last)) if first.at.sp >= bounds.low && last.at.sp <= bounds.high => steps,
            _ => &[],
        }
    }
}

impl LastWalk {
    /// Nothing remembered.
    pub(crate) const fn new() -> LastWalk {
        LastWalk { frames: [const { Frames::new() }; 2], known: 0, generation: 0 }
    }

    /// Remembers nothing any more.
    pub(crate) fn forget(&mut self) {
        self.frames.iter_mut().for_each(|frames| frames.steps = 0);
    }

    /// Adds frames from `at` on to the trace, as far as they are those of the last walk or have plain rules. `at` is
    /// then the first frame that was not added: `walk` goes on there, unless the stack has ended (`true`). It must
    /// not be a point of execution at first.
    #[must_use]
    pub(crate) fn follow(
        &mut self,
        at: &mut Registers,
        bounds: &StackBounds,
        windows: &mut Windows,
        trace: &mut StackTrace,
    ) -> bool {
        let rules = Rules::now();
        let [first, second] = &mut self.frames;
        let (known, fresh) = if self.known == 0 { (first, second) } else { (second, first) };
        if self.generation != rules.generation() {
            self.generation = rules.generation();
            known.steps = 0;
        }
        (fresh.steps, fresh.ends_at_root) = (0, false);
        let mut next = 0;
        let (keeps_known, ends_at_root) = loop {
            while known.seen.get(next).is_some_and(|seen| next < known.steps && seen.at.sp < at.sp) {
                next += 1;
            }
            if next < known.steps && known.seen.get(next).is_some_and(|seen| seen.at == *at) {
                let steps = known.from(next, bounds);
                let walked = fresh.steps;
                let again = again(steps, at, trace);
                // The old walk serves the next sample as well, unless it has little in common with this one.
                if next + again == known.steps && walked <= again {
                    break (true, known.ends_at_root);
                }
                steps.iter().take(again).for_each(|step| fresh.add(*step));
                next += again + 1;
                continue;
            }
            let Some(rule) = rules.get(at.pc.lookup(false), windows) else { break (false, false) };
            let Some(step) = plain_step(*at, bounds, rule) else { break (false, rule == Rule::ROOT) };
            if !trace.push(at.pc.in_trace(false)) {
                break (false, false);
            }
            fresh.add(step.0);
            *at = step.1;
        };
        if !keeps_known {
            // Behind a walk that was cut short, too: as many steps as there are lead to where the last one did.
            let end = if fresh.steps < MOST { Some(*at) } else { None };
            match end {
                Some(end) => fresh.close(end),
                None => fresh.steps = MOST - 1,
            }
            fresh.ends_at_root = ends_at_root && end.is_some();
            self.known ^= 1;
        }
        let ends = ends_at_root && trace.push(at.pc.in_trace(false));
        if ends {
            trace.set_end(StackEnd::Root);
        }
        ends
    }
}

/// Adds frames whose steps still lead where they led; how many did. `at` becomes the first one that was not added.
#[inline(always)]
fn again(steps: &[Seen], at: &mut Registers, trace: &mut StackTrace) -> usize {
    let added = trace.push_while(steps.windows(2), |pair| match pair {
        [step, caller] if step.leads_to(&caller.at) => Some(step.at.pc.in_trace(false)),
        _ => None,
    });
    if let Some(next) = steps.get(added) {
        *at = next.at;
    }
    added
}

/// A plain step from a frame: what it went by, and the caller.
#[inline(always)]
fn plain_step(at: Registers, bounds: &StackBounds, rule: Rule) -> Option<(Seen, Registers)> {
    let (caller, return_at, saved_at) = rule.plain_step_at(&at, bounds)?;
    // A frame pointer saved below the stack pointer is nothing to come back to.
    (!caller.pc.is_zero() && (saved_at == 0 || saved_at >= at.sp)).then_some((Seen { at, return_at, saved_at }, caller))
}

#[cfg(test)]
mod tests {
    use super::super::{Stop, capture_here, stack_bounds, walk};
    use super::*;
    use std::hint::black_box;

    /// Walks from the calling function's frame, once plainly and once with the record.
    #[inline(never)]
    fn both(last: &mut LastWalk, limit: usize) -> (StackTrace, StackTrace) {
        let here = capture_here();
        let bounds = stack_bounds(here.sp);
        let windows = &mut *Box::new(Windows::new());
        let (_, from) = plain_step(here, &bounds, Rules::now().get(here.pc.lookup(true), windows).unwrap()).unwrap();
        let [mut plain, mut quick] = [StackTrace::new(limit), StackTrace::new(limit)];
        let mut at = from;
        assert_eq!(walk(&mut at, &mut { bounds }, windows, &mut plain, false), Stop::Ended);
        let mut at = from;
        if !last.follow(&mut at, &bounds, windows, &mut quick) {
            assert_eq!(walk(&mut at, &mut { bounds }, windows, &mut quick, false), Stop::Ended);
        }
        (plain, quick)
    }

    #[inline(never)]
    fn left(path: u32, depth: u32, last: &mut LastWalk, check: &mut dyn FnMut(&mut LastWalk)) -> u32 {
        black_box(descend(path, depth, last, check)) + 1
    }

    #[inline(never)]
    fn right(path: u32, depth: u32, last: &mut LastWalk, check: &mut dyn FnMut(&mut LastWalk)) -> u32 {
        // A frame of another size, so that callers come to lie elsewhere.
        let room = black_box([path; 9]);
        black_box(descend(path, depth, last, check)) + room[3]
    }

    #[inline(always)]
    fn descend(path: u32, depth: u32, last: &mut LastWalk, check: &mut dyn FnMut(&mut LastWalk)) -> u32 {
        match (depth, path & 1) {
            (0, _) => check(last),
            (_, 0) => return left(path >> 1, depth - 1, last, check),
            _ => return right(path >> 1, depth - 1, last, check),
        }
        0
    }

    #[test]
    fn followed_walks_are_those_that_walk_takes() {
        let mut last = LastWalk::new();
        let mut random = 1u32;
        let mut walks = 0;
        for round in 0..2000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Outer parts stay the same for a while, inner ones change; now and then a deep stack.
            let path = if round % 3 == 0 { 0x5a5a } else { random >> (8 + round % 17) };
            let depth = if round % 50 == 0 { 300 } else { 3 + random % 29 };
            let limit = if round % 7 == 0 { 9 } else { 512 };
            left(path, depth, &mut last, &mut |last| {
                let (plain, quick) = both(last, limit);
                assert_eq!((plain.pcs(), plain.end()), (quick.pcs(), quick.end()), "round {round}");
                walks += usize::from(plain.pcs().len() > depth as usize || limit == 9);
            });
        }
        assert_eq!(walks, 2000);
    }

    #[test]
    fn the_same_stack_again_is_followed_to_its_last_plain_frame() {
        let mut last = LastWalk::new();
        for round in 0..3 {
            left(0x33, 20, &mut last, &mut |last| {
                let before = last.known;
                let (plain, quick) = both(last, 512);
                assert_eq!(plain.pcs(), quick.pcs());
                let known = last.frames.get(last.known).map_or(0, |frames| frames.steps);
                assert!(known >= 20 && (round == 0 || last.known == before), "{known} steps");
            });
        }
    }
}
