//! Sums over samples: of a stack, of all stacks, now or at an earlier moment.

/// Sums of what samples stand for: live now, and ever. Objects are scaled
/// ([`scaled_objects`](super::records::scaled_objects)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Live objects.
    pub(crate) live_objects: u64,
    /// Live bytes.
    pub(crate) live_bytes: u64,
    /// Objects allocated so far.
    pub(crate) ever_objects: u64,
    /// Bytes allocated so far.
    pub(crate) ever_bytes: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        self.live_objects = self.live_objects.wrapping_add(other.live_objects);
        self.live_bytes = self.live_bytes.wrapping_add(other.live_bytes);
        self.ever_objects = self.ever_objects.wrapping_add(other.ever_objects);
        self.ever_bytes = self.ever_bytes.wrapping_add(other.ever_bytes);
    }
}

impl Totals {
    /// What is here and not there, as far as it is not negative.
    pub(crate) fn beyond(self, other: Totals) -> Totals {
        Totals {
            live_objects: self.live_objects.saturating_sub(other.live_objects),
            live_bytes: self.live_bytes.saturating_sub(other.live_bytes),
            ever_objects: self.ever_objects.saturating_sub(other.ever_objects),
            ever_bytes: self.ever_bytes.saturating_sub(other.ever_bytes),
        }
    }

    /// As four words.
    pub(super) fn to_words(self) -> [u64; 4] {
        [self.ever_bytes, self.live_bytes, self.ever_objects, self.live_objects]
    }

    /// Reads what [`to_words`](Self::to_words) made.
    pub(super) fn of_words([ever_bytes, live_bytes, ever_objects, live_objects]: [u64; 4]) -> Totals {
        Totals { live_objects, live_bytes, ever_objects, ever_bytes }
    }
}
