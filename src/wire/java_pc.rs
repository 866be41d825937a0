//! Fake pcs: how a Java frame stands in a stack of addresses.
//!
//! JIT addresses move and are reused, so they never reach a stack. A Java frame (method, line) has a 32-bit
//! slot number, method above and line below, and each slot an address above 2^47, where Linux gives a
//! program no memory unless it asks for it by a hint: nothing real can collide. There are two addresses to
//! a slot, so that readers that look at `pc - 1` find the same line. Method numbers are never given to
//! another name within a token.

/// First fake pc.
pub(crate) const BASE: u64 = 1 << 47;
/// Addresses of one method.
pub(crate) const STRIDE: u64 = 1 << 17;
/// Methods that can be numbered.
pub(crate) const MAX_METHODS: usize = 1 << 16;

/// The slot of a line of a method; lines beyond 65,535 become 0, unknown.
pub(crate) fn slot(method: u32, line: u32) -> u32 {
    method << 16 | if line > u32::from(u16::MAX) { 0 } else { line }
}

/// The fake pc of a slot.
pub(crate) fn pc(slot: u32) -> u64 {
    BASE + u64::from(slot) * 2 + 1
}

/// Method and line of a fake pc; `None` for any other address.
pub(crate) fn parts(pc: u64) -> Option<(u32, u32)> {
    let slot = u32::try_from(pc.checked_sub(BASE)? / 2).ok()?;
    Some((slot >> 16, slot & 0xffff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_find_what_pc_made_also_one_below() {
        for method in [0, 1, 77, MAX_METHODS as u32 - 1] {
            for line in [0, 1, 30_000, 65_535] {
                let pc = pc(slot(method, line));
                assert_eq!((parts(pc), parts(pc - 1)), (Some((method, line)), Some((method, line))));
                assert_eq!((pc - BASE) / STRIDE, u64::from(method));
            }
        }
        assert_eq!(parts(pc(slot(5, 65_536))), Some((5, 0)));
        assert_eq!((parts(0x7fff_ffff_ffff), parts(u64::MAX)), (None, None));
    }
}
