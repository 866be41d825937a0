//! The rules of this process: found once for each pc, kept in the one cache.
//!
//! Between the walk above and the tables below. No lock, no allocation.

use super::cache::{Cache, Key};
use super::rule::Rule;
use super::{arch, cfi, objects};

static RULES: Cache = Cache::new();

/// What holds for one walk.
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
    pub(super) fn get(self, pc: usize) -> Option<Rule> {
        match self.cached(pc) {
            Some(rule) => Some(rule),
            None => self.find(pc),
        }
    }

    /// The rule at a look-up address, if a walk has been there before.
    #[inline(always)]
    pub(super) fn cached(self, pc: usize) -> Option<Rule> {
        RULES.get(Key::new(pc, self.generation))
    }

    /// Makes and keeps the rule of a pc that the cache does not know.
    #[cold]
    #[inline(never)]
    fn find(self, pc: usize) -> Option<Rule> {
        let object = objects::find(pc)?;
        let rule = object.with_tables(|tables| cfi::rule_for(tables, pc, &arch::CPU));
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
