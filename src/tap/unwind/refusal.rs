//! Why no rule could be made of an unwind table: counted in tests, and a `NoRule` end for the walk.

use crate::tap::os::checked::Copied;

/// The reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Refusal {
    /// The object has no `.eh_frame_hdr`, or one without a search table.
    NoTable,
    /// No entry covers this pc: code without unwind information.
    NoEntry,
    /// The table ends too early or points out of its segment.
    Truncated,
    /// The kernel says that the table is not there (any more).
    Gone,
    /// The kernel does not copy for us.
    Unchecked,
    /// A version, augmentation, pointer encoding or return address column that we do not know.
    Format,
    /// A call frame instruction that we do not know.
    Instruction,
    /// The CFA is counted from a register that a walk does not track.
    CfaRegister,
    /// An expression that a rule cannot hold.
    Expression,
    /// The return address is in another register, or computed.
    ReturnAddress,
    /// The caller's frame pointer is in another register, or computed.
    FramePointer,
    /// The caller's stack pointer is not the CFA.
    StackPointer,
    /// An offset that does not fit into a packed rule.
    TooWide,
    /// More nested `remember_state` than we keep.
    TooNested,
}

impl From<Copied> for Refusal {
    fn from(trouble: Copied) -> Refusal {
        if trouble == Copied::Refused { Refusal::Unchecked } else { Refusal::Gone }
    }
}
