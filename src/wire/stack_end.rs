//! Why a recorded stack ends where it ends: stored with each stack, counted, shown in reports.

/// The reason that the walk of a stack stopped at its outermost recorded frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum StackEnd {
    /// The thread's root: the unwind rules say that there is no caller (`_start`, `clone3`).
    Root = 0,
    /// Deeper than `prof_bt_max`: cut at the root end.
    TooDeep = 1,
    /// A pc that belongs to no loaded object and to no known virtual machine.
    NoObject = 2,
    /// A pc of an object without an unwind rule for it, and no plausible frame pointer.
    NoRule = 3,
    /// A rule pointed outside the thread's stack, or not further up: wrong rules or a smashed stack.
    BadStack = 4,
    /// Unwinding would have needed memory that may not be read.
    Unreadable = 5,
    /// Java: a pc of the code cache that belongs to no code blob, or a blob of unknown kind.
    JavaUnknownBlob = 6,
    /// Java: compiled code without an exact debug record at this pc (collector barrier slow path).
    JavaBarrier = 7,
    /// Java: the remaining frames of a virtual thread are frozen in the heap.
    JavaFrozen = 8,
    /// Java: a structure failed its plausibility check.
    JavaImplausible = 9,
    /// The stack was not walked at all: nested call, no scratch space, too little stack left.
    NotWalked = 10,
}

impl StackEnd {
    /// All reasons, in the order of their numbers.
    pub(crate) const ALL: [StackEnd; 11] = [
        StackEnd::Root,
        StackEnd::TooDeep,
        StackEnd::NoObject,
        StackEnd::NoRule,
        StackEnd::BadStack,
        StackEnd::Unreadable,
        StackEnd::JavaUnknownBlob,
        StackEnd::JavaBarrier,
        StackEnd::JavaFrozen,
        StackEnd::JavaImplausible,
        StackEnd::NotWalked,
    ];

    /// The reason with this number, as read from a region or a dump.
    pub(crate) fn from_number(number: u8) -> Option<StackEnd> {
        StackEnd::ALL.get(usize::from(number)).copied()
    }

    /// A short word for reports and metadata.
    pub(crate) fn word(self) -> &'static str {
        match self {
            StackEnd::Root => "root",
            StackEnd::TooDeep => "too-deep",
            StackEnd::NoObject => "no-object",
            StackEnd::NoRule => "no-rule",
            StackEnd::BadStack => "bad-stack",
            StackEnd::Unreadable => "unreadable",
            StackEnd::JavaUnknownBlob => "java-unknown-blob",
            StackEnd::JavaBarrier => "java-barrier",
            StackEnd::JavaFrozen => "java-frozen",
            StackEnd::JavaImplausible => "java-implausible",
            StackEnd::NotWalked => "not-walked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::StackEnd;

    #[test]
    fn numbers_and_order_agree() {
        for (number, end) in StackEnd::ALL.into_iter().enumerate() {
            assert_eq!(StackEnd::from_number(number as u8), Some(end));
            assert_eq!(end as usize, number);
        }
    }
}
