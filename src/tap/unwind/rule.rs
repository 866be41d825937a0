//! One unwind rule in 64 bits: how to get from a frame's registers to its caller's.
//!
//! `cfi` packs what a table says about one pc; `cache` keeps it. `Rule::plain_step` applies the kind that
//! nearly all frames have, without a branch on what the rule says: the hot loop of a walk. `Rule::step`
//! applies any. Every read is checked against the stack's bounds first, or
//! by the kernel where it is not the thread's own stack. No allocation, no lock.
//!
//! The canonical frame address (CFA) is the caller's stack pointer. Layout of the word, low bits first:
//!
//! ```text
//!  0 plain    1 CFA from fp    2 CFA is loaded    3 last (with bit 1: no rule, else root)    4 signal frame
//!  5..7  return address: at CFA+n, at sp+n, at fp+n, in the link register
//!  7..10 caller's fp: unchanged, at CFA+n, at sp+n, at fp+n, is CFA+n
//! 10..22 n of the return address / 8      22..36 n of the frame pointer / 8
//! 36..64 CFA offset, or if loaded: 36..52 offset of the load, 52..64 what is added to the loaded word
//! ```
//!
//! # Safety
//! The only unsafe operation reads a word of the running stack that `StackBounds` admits.

#![allow(unsafe_code)]

use super::arch::CPU;
use super::windows::Windows;
use crate::tap::code_address::ReturnAddress;
use crate::tap::os::faults;
use crate::tap::stack::{Registers, StackBounds};

/// The register that an address is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// Stack pointer of the frame.
    Stack,
    /// Frame pointer of the frame.
    Frame,
}

/// How the canonical frame address is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cfa {
    /// Register plus offset.
    Plus(Base, i64),
    /// The word at register plus offset, plus a second offset (realigned frames, signal frames).
    Loaded(Base, i64, i64),
}

/// Where a register of the caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saved {
    /// In the register itself; for a return address: in the link register.
    Unchanged,
    /// In memory at CFA plus offset.
    AtCfa(i64),
    /// In memory at a register plus offset.
    At(Base, i64),
    /// It is CFA plus offset.
    IsCfa(i64),
}

/// A rule spelled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// The caller's stack pointer.
    pub(super) cfa: Cfa,
    /// The caller's pc.
    pub(super) return_address: Saved,
    /// The caller's frame pointer.
    pub(super) frame_pointer: Saved,
    /// The frame was interrupted by a signal: the caller's pc is exact, not a return address.
    pub(super) is_signal: bool,
}

impl Parts {
    /// Whether `Rule::plain_step` may apply it.
    fn is_plain(&self) -> bool {
        let return_is_plain = match self.return_address {
            Saved::AtCfa(offset) => offset == -WORD || CPU.has_link_register && offset <= -WORD,
            _ => false,
        };
        let frame_is_plain = match self.frame_pointer {
            Saved::Unchanged => true,
            Saved::AtCfa(offset) => offset <= -WORD,
            _ => false,
        };
        matches!(self.cfa, Cfa::Plus(..)) && return_is_plain && frame_is_plain && !self.is_signal
    }
}

/// A packed rule; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule(u64);

/// Where one step led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The caller's registers.
    Caller(Registers),
    /// There is no caller.
    Root,
    /// The tables say nothing that we understand about this pc.
    NoRule,
    /// The rule points outside the stack at this address, or not further up.
    Outside(usize),
}

/// CFA = register + n; return address and, if it was saved, fp below it. What compilers write.
const PLAIN: u64 = 1;
const ON_FRAME: u64 = 1 << 1;
const LOADED: u64 = 1 << 2;
const LAST: u64 = 1 << 3;
const SIGNAL: u64 = 1 << 4;
const RETURN_AT: u32 = 5;
const FRAME_AT: u32 = 7;

const WORD: i64 = 8;

const AT_CFA: u64 = 0;
const AT_STACK: u64 = 1;
const AT_FRAME: u64 = 2;
const LINK: u64 = 3;
const FP_UNCHANGED: u64 = 0;
const FP_AT_CFA: u64 = 1;
const FP_AT_STACK: u64 = 2;
const FP_AT_FRAME: u64 = 3;
const FP_IS_CFA: u64 = 4;

/// `value` as a signed field of `width` bits at bit `low`, if it fits.
fn field(value: i64, low: u32, width: u32) -> Option<u64> {
    let cut = 64 - width;
    ((value << cut) >> cut == value).then_some(((value << cut) as u64) >> (cut - low))
}

/// As `field`, for a multiple of a word.
fn word_field(value: i64, low: u32, width: u32) -> Option<u64> {
    if value % 8 == 0 { field(value / 8, low, width) } else { None }
}

impl Rule {
    /// The outermost frame of a thread.
    pub(super) const ROOT: Rule = Rule(LAST);
    /// A pc that no table describes, or in a way that we refuse.
    pub(super) const NONE: Rule = Rule(LAST | ON_FRAME);

    /// Packs a rule; `None` if an offset does not fit (frames above 128 MiB, odd offsets).
    pub(super) fn pack(parts: Parts) -> Option<Rule> {
        let (base, cfa) = match parts.cfa {
            Cfa::Plus(base, offset) => (base, field(offset, 36, 28)?),
            Cfa::Loaded(base, offset, add) => (base, LOADED | field(offset, 36, 16)? | field(add, 52, 12)?),
        };
        let (return_kind, return_offset) = match parts.return_address {
            Saved::AtCfa(offset) => (AT_CFA, offset),
            Saved::At(Base::Stack, offset) => (AT_STACK, offset),
            Saved::At(Base::Frame, offset) => (AT_FRAME, offset),
            Saved::Unchanged => (LINK, 0),
            Saved::IsCfa(_) => return None,
        };
        let (frame_kind, frame_offset) = match parts.frame_pointer {
            // A plain step loads a word even if it does not need it: let it be one that is there.
            Saved::Unchanged => (FP_UNCHANGED, -WORD),
            Saved::AtCfa(offset) => (FP_AT_CFA, offset),
            Saved::At(Base::Stack, offset) => (FP_AT_STACK, offset),
            Saved::At(Base::Frame, offset) => (FP_AT_FRAME, offset),
            Saved::IsCfa(offset) => (FP_IS_CFA, offset),
        };
        let mut bits = cfa | return_kind << RETURN_AT | frame_kind << FRAME_AT;
        bits |= word_field(return_offset, 10, 12)? | word_field(frame_offset, 22, 14)?;
        bits |= if base == Base::Frame { ON_FRAME } else { 0 };
        bits |= if parts.is_signal { SIGNAL } else { 0 };
        bits |= if parts.is_plain() { PLAIN } else { 0 };
        (bits != 0).then_some(Rule(bits))
    }

    /// The word that the cache stores.
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// A word that `bits` gave.
    pub(super) fn from_bits(bits: u64) -> Rule {
        Rule(bits)
    }

    /// Whether the frame below was interrupted: its caller's pc is exact.
    pub(super) fn is_signal(self) -> bool {
        self.0 & SIGNAL != 0
    }

    /// A signed field; see the layout above.
    #[inline(always)]
    fn signed(self, low: u32, width: u32) -> usize {
        ((self.0 << (64 - width - low)) as i64 >> (64 - width)) as usize
    }

    /// The caller's registers, if the rule is plain and stays inside the bounds; else `step` decides.
    ///
    /// Saved registers lie at least a word below the CFA, and the CFA is aligned and not above the
    /// bounds: so it remains to check that they lie in the frame and not below the bounds.
    #[inline(always)]
    pub(super) fn plain_step(self, at: &Registers, bounds: &StackBounds) -> Option<Registers> {
        self.plain_step_at(at, bounds).map(|(caller, ..)| caller)
    }

    /// The same, with the addresses that the return address and the frame pointer were read from (0: it was not).
    #[inline(always)]
    pub(super) fn plain_step_at(self, at: &Registers, bounds: &StackBounds) -> Option<(Registers, usize, usize)> {
        let base = if self.0 & ON_FRAME != 0 { at.fp } else { at.sp };
        let sp = base.wrapping_add(self.signed(36, 28));
        let return_offset = if CPU.has_link_register { self.return_offset() } else { -WORD as usize };
        let (return_at, frame_at) = (sp.wrapping_add(return_offset), sp.wrapping_add(self.frame_offset()));
        // Above the lowest word: nothing that is counted down from there wraps round to the end of the address space.
        let is_between = sp <= bounds.high && sp > bounds.low;
        let is_inside = is_between && sp.is_multiple_of(WORD as usize) && frame_at >= bounds.low;
        if self.0 & PLAIN == 0 || !is_inside || return_at < at.sp || return_at < bounds.low {
            return None;
        }
        // SAFETY: an aligned word of the stack, inside of its bounds as shown above.
        let pc = faults::word(unsafe { (return_at as *const usize).read_volatile() });
        // SAFETY: as above.
        let saved = faults::word(unsafe { (frame_at as *const usize).read_volatile() });
        let (fp, saved_at) = if self.0 & (7 << FRAME_AT) == 0 { (at.fp, 0) } else { (saved, frame_at) };
        Some((Registers { pc: ReturnAddress::from_stack(pc), sp, fp }, return_at, saved_at))
    }

    /// The caller's registers. `link` is the link register, known only where a signal interrupted.
    pub(super) fn step(self, at: &Registers, words: &mut Words<'_>, link: usize) -> Step {
        if self.0 & LAST != 0 {
            return if self == Rule::ROOT { Step::Root } else { Step::NoRule };
        }
        match self.caller(at, words, link) {
            Ok(caller) => Step::Caller(caller),
            Err(address) => Step::Outside(address),
        }
    }

    fn caller(self, at: &Registers, words: &mut Words<'_>, link: usize) -> Result<Registers, usize> {
        let base = if self.0 & ON_FRAME != 0 { at.fp } else { at.sp };
        let sp = if self.0 & LOADED == 0 {
            base.wrapping_add(self.signed(36, 28))
        } else {
            words.read(base.wrapping_add(self.signed(36, 16)))?.wrapping_add(self.signed(52, 12))
        };
        // A caller's frame lies above; only a signal may have come from another stack, and only a
        // frame that has pushed nothing (link register) may share its caller's stack pointer.
        let lowest = at.sp.saturating_add(usize::from(self.return_kind() != LINK));
        if sp < lowest && !self.is_signal() {
            return Err(sp);
        }
        let pc = match self.return_kind() {
            AT_CFA => words.read(sp.wrapping_add(self.return_offset()))?,
            AT_STACK => words.read(at.sp.wrapping_add(self.return_offset()))?,
            AT_FRAME => words.read(at.fp.wrapping_add(self.return_offset()))?,
            _ => link,
        };
        let fp = match (self.0 >> FRAME_AT) & 7 {
            FP_UNCHANGED => at.fp,
            FP_AT_CFA => words.read(sp.wrapping_add(self.frame_offset()))?,
            FP_AT_STACK => words.read(at.sp.wrapping_add(self.frame_offset()))?,
            FP_AT_FRAME => words.read(at.fp.wrapping_add(self.frame_offset()))?,
            _ => sp.wrapping_add(self.frame_offset()),
        };
        Ok(Registers { pc: ReturnAddress::from_stack(pc), sp, fp })
    }

    fn return_kind(self) -> u64 {
        (self.0 >> RETURN_AT) & 3
    }

    #[inline(always)]
    fn return_offset(self) -> usize {
        self.signed(10, 12).wrapping_mul(8)
    }

    #[inline(always)]
    fn frame_offset(self) -> usize {
        self.signed(22, 14).wrapping_mul(8)
    }
}

/// The words of the running stack: plain where it is the thread's own, else through the kernel.
pub(super) struct Words<'a> {
    bounds: &'a StackBounds,
    windows: Option<&'a mut Windows>,
}

impl<'a> Words<'a> {
    /// Those within these bounds, or of a foreign stack.
    pub(super) fn of(bounds: &'a StackBounds, windows: &'a mut Windows) -> Words<'a> {
        Words { bounds, windows: Some(windows) }
    }

    /// Those within these bounds only.
    #[cfg(test)]
    pub(super) fn within(bounds: &'a StackBounds) -> Words<'a> {
        Words { bounds, windows: None }
    }

    /// The stack word at `address`, or the address itself if there is none.
    pub(super) fn read(&mut self, address: usize) -> Result<usize, usize> {
        match &mut self.windows {
            Some(windows) if !self.bounds.is_own() => windows.word(address).ok_or(address),
            _ => read(self.bounds, address),
        }
    }
}

/// The stack word at `address`, or the address itself if the bounds do not admit it.
#[inline(always)]
fn read(bounds: &StackBounds, address: usize) -> Result<usize, usize> {
    if !bounds.holds_word(address) {
        return Err(address);
    }
    // SAFETY: the bounds hold this aligned word, and they were found readable when they were made. Volatile,
    // because other frames own that memory and the compiler must assume nothing about it.
    Ok(faults::word(unsafe { (address as *const usize).read_volatile() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Parts = Parts {
        cfa: Cfa::Plus(Base::Stack, 32),
        return_address: Saved::AtCfa(-8),
        frame_pointer: Saved::AtCfa(-16),
        is_signal: false,
    };

    /// A stack of words, its bounds, and the address of the word with this index.
    fn stack(words: &[usize]) -> (StackBounds, impl Fn(usize) -> usize + use<>) {
        let low = words.as_ptr() as usize;
        (StackBounds { low, high: low + size_of_val(words) }, move |index| low + index * 8)
    }

    /// The step of a rule, which a plain step must not contradict.
    fn apply(parts: Parts, at: Registers, bounds: &StackBounds) -> Step {
        let rule = Rule::pack(parts).expect("fits");
        let step = rule.step(&at, &mut Words::within(bounds), 0x77);
        match rule.plain_step(&at, bounds) {
            Some(caller) => assert!(parts.is_plain() && step == Step::Caller(caller)),
            None => assert!(!parts.is_plain() || matches!(step, Step::Outside(_)), "{parts:?}"),
        }
        step
    }

    #[test]
    fn a_frame_that_saved_its_callers_registers_is_left() {
        let words = [0, 0, 0xf9, 0x1234, 5, 6];
        let (bounds, at) = stack(&words);
        let caller = Registers { pc: ReturnAddress::new(0x1234), sp: at(4), fp: 0xf9 };
        assert_eq!(
            apply(PLAIN, Registers { pc: ReturnAddress::new(1), sp: at(0), fp: 0 }, &bounds),
            Step::Caller(caller)
        );
        let by_frame = Parts { cfa: Cfa::Plus(Base::Frame, 16), ..PLAIN };
        assert_eq!(
            apply(by_frame, Registers { pc: ReturnAddress::new(1), sp: at(0), fp: at(2) }, &bounds),
            Step::Caller(caller)
        );
    }

    #[test]
    fn a_wild_frame_pointer_is_not_counted_round_the_end_of_the_address_space() {
        let by_frame = Parts { cfa: Cfa::Plus(Base::Frame, 16), ..PLAIN };
        for below in (0..64).step_by(8) {
            let at = Registers { pc: ReturnAddress::new(1), sp: 0x1000, fp: 0_usize.wrapping_sub(below) };
            assert_eq!(Rule::pack(by_frame).and_then(|rule| rule.plain_step(&at, &StackBounds::FOREIGN)), None);
        }
    }

    #[test]
    fn loaded_and_register_relative_places_are_read() {
        let mut words = vec![0, 0, 0xabc, 0xf, 0, 0, 0, 0];
        words[1] = words.as_ptr() as usize + 5 * 8;
        let (bounds, at) = stack(&words);
        let parts = Parts {
            cfa: Cfa::Loaded(Base::Frame, -8, 8),
            return_address: Saved::At(Base::Stack, 16),
            frame_pointer: Saved::At(Base::Frame, 8),
            is_signal: false,
        };
        let start = Registers { pc: ReturnAddress::new(1), sp: at(0), fp: at(2) };
        assert_eq!(
            apply(parts, start, &bounds),
            Step::Caller(Registers { pc: ReturnAddress::new(0xabc), sp: at(6), fp: 0xf })
        );
        let computed = Parts { frame_pointer: Saved::IsCfa(-48), return_address: Saved::Unchanged, ..parts };
        assert_eq!(
            apply(computed, start, &bounds),
            Step::Caller(Registers { pc: ReturnAddress::new(0x77), sp: at(6), fp: at(0) })
        );
    }

    #[test]
    fn a_rule_that_leaves_the_stack_or_goes_down_is_refused() {
        let words = [0; 4];
        let (bounds, at) = stack(&words);
        let start = Registers { pc: ReturnAddress::new(1), sp: at(0), fp: 0x41_4141_4141 };
        for cfa in [Cfa::Plus(Base::Frame, 16), Cfa::Plus(Base::Stack, 40), Cfa::Plus(Base::Stack, 0)] {
            assert!(matches!(apply(Parts { cfa, ..PLAIN }, start, &bounds), Step::Outside(_)), "{cfa:?}");
        }
        let loaded = Parts { cfa: Cfa::Loaded(Base::Frame, 0, 0), ..PLAIN };
        assert_eq!(apply(loaded, start, &bounds), Step::Outside(start.fp));
    }

    #[test]
    fn the_last_frame_says_why() {
        let (bounds, at) = stack(&[0]);
        let start = Registers { pc: ReturnAddress::new(1), sp: at(0), fp: 0 };
        assert_eq!(Rule::ROOT.step(&start, &mut Words::within(&bounds), 0), Step::Root);
        assert_eq!(Rule::NONE.step(&start, &mut Words::within(&bounds), 0), Step::NoRule);
    }

    #[test]
    fn what_does_not_fit_is_not_packed() {
        for cfa in
            [Cfa::Plus(Base::Stack, 1 << 27), Cfa::Loaded(Base::Frame, 1 << 15, 0), Cfa::Loaded(Base::Frame, 0, 2048)]
        {
            assert_eq!(Rule::pack(Parts { cfa, ..PLAIN }), None, "{cfa:?}");
        }
        for saved in [Saved::AtCfa(-4), Saved::AtCfa(1 << 17)] {
            assert_eq!(Rule::pack(Parts { return_address: saved, ..PLAIN }), None, "{saved:?}");
            assert_eq!(Rule::pack(Parts { frame_pointer: saved, ..PLAIN }), None, "{saved:?}");
        }
        let wide = Parts { cfa: Cfa::Plus(Base::Stack, (1 << 27) - 8), ..PLAIN };
        assert!(Rule::pack(wide).is_some());
    }
}
