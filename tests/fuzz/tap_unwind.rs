//! Unwind tables: from their bytes to a rule, and the steps that rule makes on a small stack.

#[path = "../../src/tap/unwind/cfi.rs"]
mod cfi;
#[path = "../../src/tap/unwind/eh_frame_hdr.rs"]
mod eh_frame_hdr;
#[path = "../../src/tap/unwind/expression.rs"]
mod expression;
#[path = "../../src/tap/unwind/pivots.rs"]
mod pivots;
#[path = "../../src/tap/unwind/program.rs"]
mod program;
#[path = "../../src/tap/unwind/reader.rs"]
mod reader;
#[path = "../../src/tap/unwind/refusal.rs"]
mod refusal;
#[path = "../../src/tap/unwind/rule.rs"]
mod rule;
#[path = "../../src/tap/unwind/windows.rs"]
mod windows;

#[path = "tap_unwind_arch.rs"]
mod arch;

use super::code_address::{LookupAddress, ReturnAddress};
use super::os::checked::{self, Copied};
use super::stack::{Registers, StackBounds};
use eh_frame_hdr::Tables;
use reader::Segment;
use refusal::Refusal;
use rule::Words;
use windows::Windows;

pub(crate) fn is_readable(address: usize) -> bool {
    checked::copy(address, &mut [0]) == Copied::Whole
}

/// The rule of a pc that is `offset` behind the tables' first byte; the header stands at `header`.
pub(crate) fn rule(tables: &[u8], header: usize, offset: usize) {
    let address = tables.as_ptr().expose_provenance();
    let (header, pc) = (address.wrapping_add(header), LookupAddress::inside(address.wrapping_add(offset)));
    let plain = Tables { segment: Segment { bytes: tables, address }, header };
    let rule = cfi::rule_for(&plain, pc, &arch::CPU);
    let mut windows = Box::new(Windows::new());
    windows.begin();
    // What lies behind the tables is the fuzzer's memory: only there may the two see different things.
    // Of one generation all the time: what is remembered is of other tables, as if one had come to lie in their place.
    windows.remember(1);
    let _ = cfi::rule_through(&mut windows, header, pc, &arch::CPU);
    let Ok(rule) = rule.or_else(|_| Err::<rule::Rule, Refusal>(Refusal::NoEntry)) else { return };
    let words: [usize; 64] = std::array::from_fn(|n| tables.get(n).map_or(n, |byte| usize::from(*byte) << (n % 57)));
    let low = words.as_ptr().expose_provenance();
    for bounds in [StackBounds { low, high: low + size_of_val(&words) }, StackBounds::FOREIGN] {
        for fp in [0, low, low + 256, usize::MAX - 15, usize::MAX, offset] {
            let at = Registers { pc: ReturnAddress::new(offset), sp: low + 64, fp };
            let plain = rule.plain_step(&at, &bounds);
            let step = rule.step(&at, &mut Words::of(&bounds, &mut windows), 0);
            assert!(plain.is_none_or(|caller| step == rule::Step::Caller(caller)), "{rule:?} {at:?} {bounds:?}");
        }
    }
}
