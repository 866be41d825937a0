//! How many entries the walker's cache has. In a file of its own: the models in `tests/loom` run a cache of one set.

/// Sets of methods, four in each: 2 MiB once all are in use, 4 KiB for the first.
pub(super) const METHOD_SETS: usize = 16 * 1024;
/// Sets of compiled frames, four in each: 1 MiB once all are in use, and 3 MiB if all are deep.
pub(super) const FRAME_SETS: usize = 4 * 1024;
