//! What an allocator says of an address.

/// What lies at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lies {
    /// In a block that is allocated.
    Block {
        /// First address.
        start: u64,
        /// Bytes of it.
        bytes: u64,
    },
    /// In memory of the allocator's that is no block now.
    Free,
    /// In what the allocator itself notes.
    Note,
    /// Not in the allocator's memory.
    Elsewhere,
}
