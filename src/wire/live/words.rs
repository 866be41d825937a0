//! The words of a region, as a reader sees them: they may change meanwhile.

/// A source that a region is read from: a mapping that changes meanwhile, or a copy of one.
pub(crate) trait Words {
    /// Number of words.
    fn len(&self) -> usize;

    /// The word at `index`, 0 beyond the end. Loads are at least acquire loads.
    fn word(&self, index: usize) -> u64;

    /// The word at `index` as it is later: not before anything that [`word`](Self::word) has returned.
    fn word_again(&self, index: usize) -> u64 {
        self.word(index)
    }
}

/// Two copies of a region, the second begun when the first was complete: what a reader in another
/// process makes. A record whose state word is the same in both was whole in the first.
pub(crate) struct Copies {
    /// The first copy.
    pub(crate) first: Vec<u64>,
    /// The second.
    pub(crate) second: Vec<u64>,
}

impl Words for Copies {
    fn len(&self) -> usize {
        self.first.len()
    }

    fn word(&self, index: usize) -> u64 {
        self.first.as_slice().word(index)
    }

    fn word_again(&self, index: usize) -> u64 {
        self.second.as_slice().word(index)
    }
}

impl Words for Vec<u64> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn word(&self, index: usize) -> u64 {
        self.as_slice().word(index)
    }
}

impl Words for [u64] {
    fn len(&self) -> usize {
        <[u64]>::len(self)
    }

    fn word(&self, index: usize) -> u64 {
        self.get(index).copied().unwrap_or(0)
    }
}
