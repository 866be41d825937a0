//! The groups of files that mappings are of, as pseudo frames (`wire/file_group`): so that thousands of files that one
//! method maps are a few rows.
//!
//! As many groups are kept apart as there are places; the files of others are one more. What is kept is a hash: the
//! names are the region's. A link of `/proc` is read for each, which waits for nothing.

use crate::tap::hash::Hash;
use crate::tap::os::sys;
use crate::tap::store::Store;
use crate::wire::file_group;
use std::sync::atomic::{AtomicU64, Ordering};

/// Groups that are kept apart.
const PLACES: usize = 64;
/// Longer paths are cut.
const MOST_PATH: usize = 512;

/// The groups of a process.
pub(super) struct FileGroups {
    known: [AtomicU64; PLACES],
}

impl FileGroups {
    /// None yet.
    pub(super) const fn new() -> FileGroups {
        FileGroups { known: [const { AtomicU64::new(0) }; PLACES] }
    }

    /// The pseudo frame of the file that a descriptor is open for. `None`: it has no name.
    #[inline(never)]
    pub(super) fn frame(&self, store: &Store, fd: i32) -> Option<u64> {
        let (mut path, mut place) = ([0; MOST_PATH], [0; file_group::MOST_BYTES]);
        let name = file_group::name(sys::file_of(fd, &mut path), &mut place)?;
        store.intern_method(b"", if self.keeps(name) { name } else { file_group::OTHERS }, 0)
    }

    /// Whether a group is kept apart from others. Relaxed: a place is never given to another group.
    fn keeps(&self, name: &[u8]) -> bool {
        let hash = name.iter().fold(Hash::new(), |hash, byte| hash.with(u64::from(*byte))).finish().max(1);
        self.known.iter().any(|place| {
            let known = place.load(Ordering::Relaxed);
            known == hash
                || known == 0
                    && match place.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed) {
                        Ok(_) => true,
                        Err(other) => other == hash,
                    }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_groups_are_kept_apart_and_no_more() {
        let groups = FileGroups::new();
        let keeps = |n: usize| groups.keeps(format!("[/data/{n}]").as_bytes());
        assert!((0..PLACES).all(keeps) && (0..PLACES).all(keeps));
        assert!(!keeps(PLACES) && keeps(3));
    }
}
