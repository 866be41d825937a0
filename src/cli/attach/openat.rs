//! Files of another process's world, by the one opener (`cli/open`): regions, control pages, what a JVM left.

use std::fs::File;
use std::io;
use std::path::Path;

pub(super) use crate::cli::open::{below, folder};

/// Opens a regular file for reading, for writing too if asked; never a link, a device or a pipe.
pub(crate) fn open(path: &Path, writable: bool) -> io::Result<File> {
    crate::cli::open::named_hollow(path, writable)
}
