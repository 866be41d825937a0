//! The rules of this process: found once for each pc, kept in the one cache.
//!
//! Between the walk above and the tables below. No lock, no allocation. Tables of objects that stay are read plainly;
//! those of others through the kernel, so that an object may go while its table is read. Where the kernel refuses that
//! for everybody, a walk that rests on no guess reads them plainly: its object has a function on the stack.

use super::cache::{Cache, Key};
use super::refusal::Refusal;
use super::rule::Rule;
use super::windows::Windows;
use super::{arch, cfi, objects};
use crate::tap::code_address::LookupAddress;

static RULES: Cache = Cache::new();

/// The rules as one walk sees them.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    generation: u64,
}

impl Rules {
    /// The rules as of now.
    #[inline(always)]
    pub(super) fn now() -> Rules {
        Rules { generation: RULES.generation() }
    }

    /// Which rules these are: another number, and none of them may hold any more.
    pub(super) fn generation(self) -> u64 {
        self.generation
    }

    /// The rule at a look-up address, from the cache or from the tables; `None`: it belongs to no object.
    #[inline(always)]
    pub(super) fn get(self, pc: LookupAddress, windows: &mut Windows) -> Option<Rule> {
        match self.cached(pc) {
            Some(rule) => Some(rule),
            None => self.find(pc, windows),
        }
    }

    /// The rule at a look-up address, if a walk has been there before.
    #[inline(always)]
    pub(super) fn cached(self, pc: LookupAddress) -> Option<Rule> {
        RULES.get(Key::new(pc, self.generation))
    }

    /// Makes and keeps the rule of a pc that the cache does not know.
    #[cold]
    #[inline(never)]
    fn find(self, pc: LookupAddress, windows: &mut Windows) -> Option<Rule> {
        let object = objects::find(pc)?;
        let plain = || object.with_tables(|tables| cfi::rule_for(tables, pc, &arch::CPU));
        let rule = if object.is_permanent {
            plain()
        } else {
            windows.remember(self.generation);
            match object.tables.map(|place| cfi::rule_through(windows, place.header, pc, &arch::CPU)) {
                // Not to be remembered: what lies there may be another object at once.
                Some(Err(Refusal::Gone)) => return Some(Rule::NONE),
                Some(Err(Refusal::Unchecked)) if windows.is_guessing() => return Some(Rule::NONE),
                Some(Err(Refusal::Unchecked)) => plain(),
                rule => rule,
            }
        };
        let rule = rule.and_then(Result::ok).unwrap_or(Rule::NONE);
        RULES.put(Key::new(pc, self.generation), rule);
        Some(rule)
    }
}

/// Forgets all rules: an object was unloaded, and another may come to lie in its place.
///
/// To be called before *and* after `dlclose` does its work, so that no rule is cached in between.
pub(crate) fn forget_objects() {
    RULES.forget();
}
