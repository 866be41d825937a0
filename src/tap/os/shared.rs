//! A file on tmpfs, mapped and shared: memory that survives this process, whatever ends it; and the small files beside
//! it.
//!
//! Never on a disk: application threads store into it, and writeback would stall them. Pages are asked for in time
//! (MADV_POPULATE_WRITE), because a store into a full tmpfs is a SIGBUS; kernels without that (before 5.14) get no
//! shared file. A region's mode is 0400 once it is mapped: a program of the same user cannot open it for writing by
//! accident. (Root can, and so can its owner after a chmod.) Raw system calls throughout: libc's open and close are
//! cancellation points.
//!
//! Everything lies in a directory that only this user can have made and can enter. It is opened and looked at before
//! each use, and its files are reached through it, so no name can be exchanged in between.
//!
//! # Safety
//! Paths are NUL-terminated arrays of ours; the mapping belongs to the caller.
#![allow(unsafe_code)]

use super::file::File;
use super::{anchor, folder, statfs, sys};
use std::ffi::{CStr, OsString, c_long};
use std::fs::Metadata;
use std::ptr::NonNull;

/// Where tmpfs is mounted everywhere.
const PLACE: &str = "/dev/shm";
/// Names that a directory may have: the first that no other user has taken. A process in a user namespace without a
/// mapping has nobody's number and root's hands, and anybody may take names in advance.
const NAMES: u32 = 4;

/// A path that needs no allocation.
#[derive(Clone, Copy)]
pub(crate) struct Path {
    bytes: [u8; 128],
    len: usize,
}

impl Path {
    const EMPTY: Path = Path { bytes: [0; 128], len: 0 };

    /// The region of a process, in the directory of this user, which is made if there is none. `None`: there can be
    /// none.
    pub(crate) fn region(pid: u32, token: u64) -> Option<Path> {
        let mut path = Directory::make()?.path;
        let _ = std::fmt::Write::write_fmt(&mut path, format_args!("/{pid}.{token:016x}.region"));
        Some(path)
    }

    /// The control file beside a region.
    pub(crate) fn control(&self) -> Path {
        self.beside("control")
    }

    /// The claim beside a region.
    pub(crate) fn claim(&self) -> Path {
        self.beside("claim")
    }

    fn beside(&self, kind: &str) -> Path {
        let mut path = Path::EMPTY;
        let stem = self.as_str().rsplit_once('.').map_or("", |(stem, _)| stem);
        let _ = std::fmt::Write::write_fmt(&mut path, format_args!("{stem}.{kind}"));
        path
    }

    fn directory(number: u32) -> Path {
        let mut path = Path::EMPTY;
        let _ = std::fmt::Write::write_fmt(&mut path, format_args!("{PLACE}/heaptap-{}", sys::user_id()));
        if number > 0 {
            let _ = std::fmt::Write::write_fmt(&mut path, format_args!(".{number}"));
        }
        path
    }

    fn parent(&self) -> Path {
        let mut path = Path::EMPTY;
        let parent = self.as_str().rsplit_once('/').map_or("", |(parent, _)| parent);
        let _ = std::fmt::Write::write_str(&mut path, parent);
        path
    }

    fn name(&self) -> Path {
        let mut path = Path::EMPTY;
        let name = self.as_str().rsplit_once('/').map_or("", |(_, name)| name);
        let _ = std::fmt::Write::write_str(&mut path, name);
        path
    }

    /// The path as text.
    pub(crate) fn as_str(&self) -> &str {
        self.as_c_str().to_str().unwrap_or_default()
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }

    /// Where to begin, and the way from there, of a path right below the place: by the descriptor that is held, or from
    /// the root directory.
    fn way(&self) -> (c_long, Path) {
        match anchor::held() {
            Some(place) => (place, self.name()),
            None => (File::HERE, *self),
        }
    }
}

impl std::fmt::Write for Path {
    /// A name that does not fit is cut; none of ours is that long.
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            if let Some(room) = self.bytes.get_mut(self.len).filter(|_| self.len < 127) {
                *room = byte;
                self.len += 1;
            }
        }
        Ok(())
    }
}

/// A directory of this user, open: one that only this user can have made and can enter, on tmpfs.
pub(crate) struct Directory {
    file: File,
    path: Path,
}

/// The entry under a name.
enum Taken {
    /// Nothing.
    No,
    /// A directory of ours.
    ByUs(Directory),
    /// Something else, or it cannot be told.
    ByOthers,
}

impl Directory {
    /// This user's directory, if there is one.
    pub(crate) fn own() -> Option<Directory> {
        Directory::find(false)
    }

    fn make() -> Option<Directory> {
        Directory::find(true)
    }

    /// A user who is several at once (set-user-id, a server that acts for its clients) has none: what one of them
    /// makes, another could take away.
    fn find(make: bool) -> Option<Directory> {
        sys::is_one_user().then_some(())?;
        for number in 0..NAMES {
            let path = Path::directory(number);
            match Directory::look(path) {
                Taken::ByUs(directory) => return Some(directory),
                Taken::ByOthers => continue,
                Taken::No if !make => return None,
                Taken::No => {}
            }
            let (from, way) = path.way();
            // SAFETY: a NUL-terminated path; it may exist.
            unsafe { libc::syscall(libc::SYS_mkdirat, from, way.as_c_str().as_ptr(), 0o700) };
            if let Taken::ByUs(directory) = Directory::look(path) {
                return Some(directory);
            }
        }
        None
    }

    fn look(path: Path) -> Taken {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;
        let (from, way) = path.way();
        let Some(file) = File::at(from, way.as_c_str(), flags, 0) else {
            return if sys::errno() == libc::ENOENT { Taken::No } else { Taken::ByOthers };
        };
        let directory = Directory { file, path };
        if directory.is_ours() { Taken::ByUs(directory) } else { Taken::ByOthers }
    }

    fn is_ours(&self) -> bool {
        self.file.status().is_some_and(|status| {
            status.st_mode & (libc::S_IFMT | 0o077) == libc::S_IFDIR && status.st_uid == sys::user_id()
        })
    }

    /// The directory that a file of ours lies in, if it still is ours.
    fn of(path: &Path) -> Option<Directory> {
        match Directory::look(path.parent()) {
            Taken::ByUs(directory) => Some(directory),
            _ => None,
        }
    }

    /// What the kernel says about it.
    pub(crate) fn metadata(&self) -> Option<Metadata> {
        self.file.metadata()
    }

    /// The names in it. Once for each time that it is opened.
    pub(crate) fn names(&self) -> Vec<OsString> {
        folder::names_in(self.file.descriptor())
    }

    /// Opens a plain file of this user that lies in it; never a link, and nothing that blocks.
    pub(crate) fn open(&self, name: &CStr, writable: bool) -> Option<std::fs::File> {
        let access = if writable { libc::O_RDWR } else { libc::O_RDONLY };
        let flags = access | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        let file = File::at(self.file.descriptor(), name, flags, 0)?;
        let status = file.status()?;
        let is_plain = status.st_mode & libc::S_IFMT == libc::S_IFREG && status.st_uid == sys::user_id();
        is_plain.then(|| file.into_std())
    }

    /// Removes a file from it.
    pub(crate) fn remove(&self, name: &CStr) {
        // SAFETY: an open directory and a NUL-terminated name.
        unsafe { libc::syscall(libc::SYS_unlinkat, self.file.descriptor(), name.as_ptr(), 0) };
    }

    /// Makes a new file in it, which is ours.
    fn create(&self, name: &CStr) -> Option<File> {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        let file = File::at(self.file.descriptor(), name, flags, 0o600)?;
        // Files belong to the thread's user for files (setfsuid), which need not be this one.
        if file.status().is_some_and(|status| status.st_uid == sys::user_id()) {
            return Some(file);
        }
        self.remove(name);
        None
    }
}

/// Bytes that a file there may have: a quarter of what is free, for the place belongs to others too. 0: no
/// tmpfs, or files of that size are not allowed.
pub(crate) fn room() -> usize {
    let space = anchor::held().map_or_else(|| statfs::of(c"/dev/shm"), statfs::of_open);
    let Some(space) = space.filter(|space| space.is_tmpfs) else { return 0 };
    usize::try_from((space.free / 4).min(sys::file_size_limit())).unwrap_or(usize::MAX)
}

/// The root directory is about to change: the place stays within reach until [`forget_place`].
pub(crate) fn hold_place() {
    anchor::hold(c"/dev/shm");
}

/// Whether the place is in reach by what is held only.
pub(crate) fn holds_place() -> bool {
    anchor::held().is_some()
}

/// Lets the place go.
pub(crate) fn forget_place() {
    anchor::release();
}

/// Whether others have taken all names that this user's directory could have.
pub(crate) fn is_kept_out() -> bool {
    (0..NAMES).all(|number| matches!(Directory::look(Path::directory(number)), Taken::ByOthers))
}

/// How many files this user has there.
pub(crate) fn own_files() -> usize {
    Directory::own().map_or(0, |directory| directory.names().len())
}

/// Makes and maps a new file of that size, at most [`room`], and gives it that mode once it is mapped. `None`: not
/// here, for whatever reason.
pub(crate) fn create(path: &Path, bytes: usize, mode: u32) -> Option<NonNull<u8>> {
    if bytes > room() {
        return None;
    }
    let (directory, name) = (Directory::of(path)?, path.name());
    let file = directory.create(name.as_c_str())?;
    let mapped = map(&file, bytes, mode);
    if mapped.is_none() {
        directory.remove(name.as_c_str());
    }
    mapped
}

fn map(file: &File, bytes: usize, mode: u32) -> Option<NonNull<u8>> {
    // SAFETY: our own new file.
    if unsafe { libc::syscall(libc::SYS_ftruncate, file.descriptor(), bytes) } != 0 {
        return None;
    }
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: a new mapping at an address that the kernel chooses.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, file.descriptor() as i32, 0) };
    let start = NonNull::new(address.cast::<u8>()).filter(|_| address != libc::MAP_FAILED)?;
    // SAFETY: our own file.
    unsafe { libc::syscall(libc::SYS_fchmod, file.descriptor(), mode) };
    if !populate(start, super::map::page_size()) {
        // SAFETY: the mapping made above, known to nobody.
        unsafe { super::map::unmap(start.as_ptr(), bytes) };
        return None;
    }
    Some(start)
}

/// Gives pages memory before they are stored to. `false`: there is none, or the kernel cannot.
pub(crate) fn populate(start: NonNull<u8>, bytes: usize) -> bool {
    // SAFETY: advice about pages of a mapping of ours; it changes no contents.
    unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_POPULATE_WRITE) == 0 }
}

/// Puts a small file there, whole or not at all, with that mode. One that is there already is left as it is. `false`:
/// there is none.
pub(crate) fn place(path: &Path, bytes: &[u8], mode: u32) -> bool {
    let Some(directory) = Directory::of(path) else { return false };
    let (name, mut temporary) = (path.name(), path.name());
    let _ = std::fmt::Write::write_str(&mut temporary, ".tmp");
    let (name, temporary) = (name.as_c_str(), temporary.as_c_str());
    directory.remove(temporary);
    let Some(file) = directory.create(temporary) else { return false };
    // SAFETY: the kernel reads that many bytes of a slice, into our own file.
    let written = unsafe { libc::syscall(libc::SYS_write, file.descriptor(), bytes.as_ptr(), bytes.len()) };
    let mut is_there = false;
    if usize::try_from(written).is_ok_and(|written| written == bytes.len()) {
        // SAFETY: our own file.
        unsafe { libc::syscall(libc::SYS_fchmod, file.descriptor(), mode) };
        let at = directory.file.descriptor();
        // SAFETY: an open directory and NUL-terminated names in it.
        let linked = unsafe { libc::syscall(libc::SYS_linkat, at, temporary.as_ptr(), at, name.as_ptr(), 0) };
        is_there = linked == 0 || sys::errno() == libc::EEXIST;
    }
    directory.remove(temporary);
    is_there
}

/// Opens a file of ours.
pub(crate) fn open(path: &Path, writable: bool) -> Option<std::fs::File> {
    Directory::of(path)?.open(path.name().as_c_str(), writable)
}

/// Removes a file of ours.
pub(crate) fn remove(path: &Path) {
    if let Some(directory) = Directory::of(path) {
        directory.remove(path.name().as_c_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn region(token: u64) -> Option<Path> {
        let path = Path::region(sys::process_id(), token);
        path.inspect(remove)
    }

    #[test]
    fn a_shared_file_keeps_what_was_stored_and_cannot_be_opened_for_writing_by_accident() {
        let Some((path, start)) = region(0x1234).and_then(|path| Some((path, create(&path, 1 << 20, 0o400)?))) else {
            eprintln!("skipped: no tmpfs with room, or a kernel before 5.14");
            return;
        };
        assert!(populate(start, 1 << 16) && create(&path, 1 << 20, 0o400).is_none());
        // SAFETY: the first page of our mapping.
        unsafe { start.as_ptr().write(42) };
        let name = path.as_str();
        assert_eq!(std::fs::read(name).unwrap()[0], 42);
        assert_eq!(std::fs::metadata(name).unwrap().mode() & 0o777, 0o400);
        remove(&path);
        assert!(!std::path::Path::new(name).exists());
    }

    #[test]
    fn small_files_appear_whole_and_once() {
        let Some(claim) = region(0x1235).map(|path| path.claim()) else {
            eprintln!("skipped: no tmpfs");
            return;
        };
        assert!(place(&claim, b"one", 0o400) && place(&claim, b"two", 0o400));
        let metadata = std::fs::metadata(claim.as_str()).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.nlink()), (0o400, 1));
        assert_eq!(std::fs::read(claim.as_str()).unwrap(), b"one");
        assert!(open(&claim, false).is_some());
        remove(&claim);
        assert!(open(&claim, false).is_none());
        let names = Directory::own().unwrap().names();
        assert!(!names.iter().any(|name| name.to_string_lossy().ends_with("1235.claim.tmp")));
    }

    #[test]
    fn links_and_devices_are_not_opened() {
        let Some(path) = region(0x1236) else {
            eprintln!("skipped: no tmpfs");
            return;
        };
        std::os::unix::fs::symlink("/etc/passwd", path.as_str()).unwrap();
        assert!(open(&path, false).is_none());
        remove(&path);
        assert!(std::path::Path::new("/etc/passwd").exists());
    }

    #[test]
    fn other_files_lie_beside_their_region() {
        let Some(region) = region(0xff) else { return };
        assert_eq!(region.control().as_str(), region.as_str().replace(".region", ".control"));
        assert_eq!(region.claim().as_str(), region.as_str().replace(".region", ".claim"));
        assert_eq!(region.parent().as_str(), Directory::own().unwrap().path.as_str());
    }

    #[test]
    fn too_large_files_are_refused() {
        assert!(region(2).is_none_or(|path| create(&path, 1 << 60, 0o400).is_none()));
    }
}
