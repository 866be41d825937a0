//! Where dumps go: the directories that are tried, and whether there is room.

use crate::tap::os::{folder, statfs};
use std::ffi::{CString, OsStr};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The prefix as given, then the same file name in each fallback directory.
pub(crate) fn prefixes<'a>(
    prefix: &'a Path,
    fallbacks: &'a [Option<&'static [u8]>],
) -> impl Iterator<Item = PathBuf> + 'a {
    let name = prefix.file_name().unwrap_or(OsStr::new("jeprof"));
    let moved = fallbacks.iter().flatten().map(move |directory| Path::new(OsStr::from_bytes(directory)).join(name));
    std::iter::once(prefix.to_path_buf()).chain(moved)
}

/// Why no dump can be written with a prefix, as far as can be told before there is one.
pub(crate) fn refusal(prefix: &Path) -> Option<io::Error> {
    folder::refusal(prefix.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Adds a line to a file that exists already. A line that cannot be added is lost.
pub(crate) fn append_line(path: &Path, line: &[u8]) {
    // Not to block where a pipe without a reader has taken the file's place.
    let file: io::Result<File> = OpenOptions::new().append(true).custom_flags(libc::O_NONBLOCK).open(path);
    if let Ok(mut file) = file {
        let mut whole = line.to_vec();
        whole.push(b'\n');
        let _ = file.write_all(&whole);
    }
}

/// Refuses to fill the file system up: what is left free there is `floor` bytes, or a twentieth of it if that is less.
pub(crate) fn check_room(prefix: &Path, floor: u64) -> io::Result<()> {
    let directory = prefix.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let space = CString::new(directory.as_os_str().as_bytes()).ok().and_then(|directory| statfs::of(&directory));
    if space.is_some_and(|space| is_full(space.free, space.all, floor)) {
        let text = "too little space left on the device (prof_min_free_bytes)";
        return Err(io::Error::new(io::ErrorKind::StorageFull, text));
    }
    Ok(())
}

fn is_full(free: u64, all: u64, floor: u64) -> bool {
    free < floor.min(all / 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fallbacks_keep_the_file_name() {
        let all: Vec<_> = prefixes(Path::new("/a/b"), &[None, Some(b"/c")]).collect();
        assert_eq!(all, [Path::new("/a/b"), Path::new("/c/b")]);
    }

    #[test]
    fn small_file_systems_have_a_lower_floor() {
        assert!(is_full(63 << 20, 1 << 40, 64 << 20) && !is_full(64 << 20, 1 << 40, 64 << 20));
        assert!(is_full(3 << 20, 64 << 20, 64 << 20) && !is_full(4 << 20, 64 << 20, 64 << 20));
        assert!(!is_full(0, 0, 64 << 20) && !is_full(0, 1 << 40, 0));
    }
}
