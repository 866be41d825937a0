//! What the program's own allocator keeps, where it serves (`prof_allocator:keep`): by its own word.

use crate::cli::profile::Profile;
use serde::Serialize;

/// Less is not worth a sentence, bytes,
const LITTLE: u64 = 16 << 20;
/// and neither is less than one part in so many of what it took.
const SHARE: u64 = 5;

/// An allocator that was kept, and what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Kept {
    /// File name of its library.
    pub(crate) allocator: String,
    /// Bytes of the blocks that the program has from it; sampled blocks come from heaptap.
    pub(crate) in_use_bytes: Option<u64>,
    /// Bytes that it keeps free for later.
    pub(crate) kept_bytes: Option<u64>,
    /// Arenas among which they are spread.
    pub(crate) arenas: Option<u64>,
    /// Whether the process is a Java VM.
    pub(crate) is_jvm: bool,
}

impl Kept {
    /// The allocator of a profile's process; `None`: that of heaptap serves.
    pub(crate) fn of(profile: &Profile) -> Option<Kept> {
        let metadata = &profile.metadata;
        Some(Kept {
            allocator: metadata.allocator.clone()?,
            in_use_bytes: metadata.allocator_in_use_bytes,
            kept_bytes: metadata.allocator_kept_bytes,
            arenas: metadata.allocator_arenas,
            is_jvm: profile.is_jvm(),
        })
    }

    /// Bytes that it took and bytes that it keeps, if that is worth telling.
    pub(crate) fn much(&self) -> Option<(u64, u64)> {
        let (in_use, kept) = (self.in_use_bytes?, self.kept_bytes?);
        let all = in_use.saturating_add(kept);
        (kept >= LITTLE && kept >= all / SHARE).then_some((all, kept))
    }

    /// Whether it is glibc's.
    pub(crate) fn is_glibc(&self) -> bool {
        self.allocator.starts_with("libc.so") || self.allocator.starts_with("libc-")
    }
}
