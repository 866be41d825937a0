//! A file that was mapped into the process, and what of it wants a name.

use crate::cli::profile::location::LocationId;

/// A file that was mapped, and the places in it that want a name.
#[derive(Clone, Debug, Default)]
pub(super) struct MappedFile {
    pub(super) path: String,
    pub(super) is_deleted: bool,
    pub(super) build_id: Option<String>,
    /// Bounds of one of its mappings.
    pub(super) range: (u64, u64),
    pub(super) places: Vec<Place>,
}

/// A place in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) location: LocationId,
    pub(super) file_offset: u64,
}
