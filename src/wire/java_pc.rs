//! Fake pcs: how a Java frame stands in a stack of addresses.
//!
//! JIT addresses move and are reused, so they never reach a stack. A Java frame (method, line) has an
//! address above 2^47, where Linux gives a program no memory unless it asks for it by a hint: nothing real
//! can collide. The method's number stands above, the line below, and there are two addresses to each, so that readers
//! that look at `pc - 1` find the same line.
//!
//! A number is the index of the method's record and, above it, how many other methods that record held before. So a
//! record can be given to another method, and no number ever stands for two names within a token.

/// First fake pc.
pub(crate) const BASE: u64 = 1 << 47;
/// Addresses of one method.
pub(crate) const STRIDE: u64 = 1 << (LINE_BITS + 1);
/// Methods that have numbers at a time.
pub(crate) const MAX_METHODS: usize = 1 << RECORD_BITS;

const LINE_BITS: u32 = 16;
const RECORD_BITS: u32 = 16;
/// Methods that one record can hold, one after the other: all pcs stay below 2^63.
const MAX_LIVES: u64 = 1 << 29;

/// The number of the method that is the `life`th one in a record (its generation, counted from 1). `None`: that many
/// have no numbers.
pub(crate) fn number(record: u32, life: u64) -> Option<u64> {
    let before = life.checked_sub(1).filter(|&before| before < MAX_LIVES)?;
    Some(before << RECORD_BITS | u64::from(record))
}

/// Whether a record that held its `life`th method can hold another one.
pub(crate) fn has_another_life(life: u64) -> bool {
    life < MAX_LIVES
}

/// The record of a method.
pub(crate) fn record(number: u64) -> u32 {
    (number & ((1 << RECORD_BITS) - 1)) as u32
}

/// How many methods the record of this one has held, with it.
pub(crate) fn life(number: u64) -> u64 {
    (number >> RECORD_BITS) + 1
}

/// The fake pc of a line of a method; lines beyond 65,535 become 0, unknown.
pub(crate) fn pc(number: u64, line: u32) -> u64 {
    BASE + number * STRIDE + 2 * u64::from(u16::try_from(line).unwrap_or(0)) + 1
}

/// Method and line of a fake pc; `None` for any other address.
pub(crate) fn parts(pc: u64) -> Option<(u64, u32)> {
    let offset = pc.checked_sub(BASE)?;
    let number = offset / STRIDE;
    (number < MAX_LIVES << RECORD_BITS).then_some((number, (offset % STRIDE / 2) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_find_what_pc_made_also_one_below() {
        for (index, life) in [(0, 1), (1, 1), (77, 1), (65_535, 1), (0, 2), (77, 2), (65_535, MAX_LIVES)] {
            let number = number(index, life).unwrap();
            assert_eq!((record(number), super::life(number)), (index, life));
            for line in [0, 1, 30_000, 65_535] {
                let pc = pc(number, line);
                assert_eq!((parts(pc), parts(pc - 1)), (Some((number, line)), Some((number, line))));
                assert_eq!((pc - BASE) / STRIDE, number);
                assert!(pc < 1 << 63);
            }
        }
        assert_eq!(parts(pc(5, 65_536)), Some((5, 0)));
        assert_eq!((parts(0x7fff_ffff_ffff), parts(0xffff_ffff_ff60_0000), parts(u64::MAX)), (None, None, None));
    }

    #[test]
    fn numbers_end_and_never_repeat() {
        assert_eq!((number(3, 1), number(3, 2)), (Some(3), Some(65_539)));
        assert_eq!((number(0, 0), number(0, MAX_LIVES + 1)), (None, None));
        assert!(has_another_life(MAX_LIVES - 1) && !has_another_life(MAX_LIVES));
    }
}
