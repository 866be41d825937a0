//! Addresses of code on a stack: where a frame goes on, and where its rule is looked up.
//!
//! The stack holds *return addresses*. A call may be the last instruction of its function, and what follows belongs to
//! another function. So unwind tables are asked about the byte before a return address, which the call holds: the
//! *look-up address*. HotSpot's debug records are different: they are found by the return address itself. Two types
//! keep the two apart; both are a bare word.

/// Where a frame goes on when its callee returns.
///
/// Of two kinds of frames it is the instruction that runs next instead: the frame that a walk begins in, and one that a
/// signal interrupted. The walk knows which frames these are (`exact`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct ReturnAddress(usize);

/// Where a frame's unwind rule is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct LookupAddress(usize);

impl ReturnAddress {
    /// The end of a stack: no function returns there.
    pub(crate) const ZERO: ReturnAddress = ReturnAddress(0);

    /// An address of code that no stack has signed.
    #[inline(always)]
    pub(crate) const fn new(address: usize) -> ReturnAddress {
        ReturnAddress(address)
    }

    /// A word of a stack. aarch64 may have signed it in the bits above its 48 bits of user addresses.
    #[inline(always)]
    pub(crate) const fn from_stack(word: usize) -> ReturnAddress {
        ReturnAddress(if cfg!(target_arch = "aarch64") { word & ((1 << 48) - 1) } else { word })
    }

    /// The bare word, to be compared with the bounds of code.
    #[inline(always)]
    pub(crate) const fn address(self) -> usize {
        self.0
    }

    /// Whether the stack ends here.
    #[inline(always)]
    pub(crate) const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Where the rule of the frame is looked up. `is_exact`: the frame has not called, it is the next instruction.
    #[inline(always)]
    pub(crate) const fn lookup(self, is_exact: bool) -> LookupAddress {
        LookupAddress(self.0.wrapping_sub(!is_exact as usize))
    }

    /// The pc as traces have it, whose readers subtract one from each to find the call. `is_interrupted`: the frame was
    /// interrupted, and gets one more, so that readers find the instruction itself.
    #[inline(always)]
    pub(crate) const fn in_trace(self, is_interrupted: bool) -> u64 {
        self.0.wrapping_add(is_interrupted as usize) as u64
    }
}

impl LookupAddress {
    /// An address inside of a function.
    pub(crate) const fn inside(address: usize) -> LookupAddress {
        LookupAddress(address)
    }

    /// The bare word, to be compared with what tables say.
    #[inline(always)]
    pub(crate) const fn address(self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_looked_up_one_byte_before_and_instructions_where_they_are() {
        let pc = ReturnAddress::new(0x1000);
        assert_eq!((pc.lookup(false).address(), pc.lookup(true).address()), (0xfff, 0x1000));
        assert_eq!((pc.in_trace(false), pc.in_trace(true)), (0x1000, 0x1001));
        assert!(ReturnAddress::default().is_zero() && ReturnAddress::ZERO.lookup(false).address() == usize::MAX);
    }
}
