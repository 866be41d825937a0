//! Fake pcs: how a Java frame stands in a stack of addresses.
//!
//! JIT addresses move and are reused, so they never reach a stack. A Java frame (method, line) becomes an
//! address above 2^47, where Linux gives a program no memory unless it asks for it by a hint: nothing
//! real can collide. Each method has 128 KiB of such addresses, two for each line, so that readers that
//! look at `pc - 1` find the same line. Method numbers are never given to another name within a token.

/// First fake pc.
pub(crate) const BASE: u64 = 1 << 47;
/// Addresses of one method.
pub(crate) const STRIDE: u64 = 1 << 17;
/// Highest line number that a fake pc can hold; higher ones become 0 (unknown).
pub(crate) const MAX_LINE: u32 = (STRIDE / 2) as u32 - 1;

/// The fake pc of a line of a method; line 0 means unknown.
pub(crate) fn pc(method: u32, line: u32) -> u64 {
    let line = if line > MAX_LINE { 0 } else { line };
    BASE + u64::from(method) * STRIDE + u64::from(line) * 2 + 1
}

/// Method and line of a fake pc; `None` for any other address.
pub(crate) fn parts(pc: u64) -> Option<(u32, u32)> {
    let offset = pc.checked_sub(BASE)?;
    let method = u32::try_from(offset / STRIDE).ok()?;
    Some((method, (offset % STRIDE / 2) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_find_what_pc_made_also_one_below() {
        for method in [0, 1, 77, u32::MAX] {
            for line in [0, 1, 30_000, MAX_LINE] {
                assert_eq!(parts(pc(method, line)), Some((method, line)));
                assert_eq!(parts(pc(method, line) - 1), Some((method, line)));
            }
        }
        assert_eq!(parts(pc(5, MAX_LINE + 1)), Some((5, 0)));
        assert_eq!((parts(0x7fff_ffff_ffff), parts(u64::MAX)), (None, None));
    }
}
