//! Opens every file that a profile, a process or a folder names: the one way from somebody's words to a file.
//!
//! The writer of a dump chose the paths in it, and the reader may be root. So a file is looked at before it is opened
//! (`O_PATH`, then `fstat`: opening a device or a pipe has effects of its own): only regular files pass. A path that
//! data name is not followed where its last name is a link, and below `/proc/<pid>/root` no link leads out. A file
//! speaks only for its owner ([`Owners`]), and claims to hold no more than its blocks can ([`most_bytes`]).
//! What the user typed may be a pipe ([`typed`]): `heaptap report <(zcat x.gz)`.
//!
//! # Safety
//! One system call without an argument: who the reader is.
#![allow(unsafe_code)]

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

/// What a file system that compresses makes of a byte, at most: btrfs packs 128 KiB into 4.
const SQUEEZE: u64 = 64;
/// Bytes that are read whatever the blocks say: small files may lie in their inode.
const SMALL: u64 = 1 << 20;
/// Links in one path, at most: the kernel's own limit.
const MOST_LINKS: usize = 40;

/// Whose files are believed about a profile: root's, the reader's, and those of the profile's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owners {
    reader: u32,
    profile: u32,
    process: u32,
}

impl Owners {
    /// Of what this user or this owner made.
    pub(crate) fn of(profile: u32) -> Owners {
        let reader = reader();
        Owners { reader, profile, process: reader }
    }

    /// And those of the process that the profile is of.
    pub(crate) fn and(self, process: u32) -> Owners {
        Owners { process, ..self }
    }

    /// Whether this user's files are believed.
    pub(crate) fn has(self, user: u32) -> bool {
        [0, self.reader, self.profile, self.process].contains(&user)
    }
}

impl Default for Owners {
    fn default() -> Owners {
        Owners::of(reader())
    }
}

/// The user whose rights we have.
pub(crate) fn reader() -> u32 {
    // SAFETY: a system call that takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Who owns the file that a profile was read from; of one in a pack, the pack. Nobody's (stdin): the reader.
pub(crate) fn owner_of(profile: &Path) -> u32 {
    let known = profile.ancestors().filter(|path| !path.as_os_str().is_empty()).find_map(|path| path.metadata().ok());
    known.filter(|meta| !meta.is_dir()).map_or_else(reader, |meta| meta.uid())
}

/// Bytes that a file can hold, by its blocks; its length says nothing, it may be all holes.
pub(crate) fn most_bytes(meta: &Metadata) -> u64 {
    meta.blocks().saturating_mul(512).saturating_mul(SQUEEZE).saturating_add(SMALL)
}

/// A regular file that the user named, or one in a folder that he named: links are followed.
pub(crate) fn regular(path: &Path) -> io::Result<File> {
    solid(reopen(&hold(path, libc::O_PATH)?, path, false)?)
}

/// A regular file that data name: no link at its end, and none on the way below another process's root.
pub(crate) fn named(path: &Path) -> io::Result<File> {
    solid(named_hollow(path, false)?)
}

/// The same for one that is mostly holes by its nature (a region), or written to (a control page).
pub(crate) fn named_hollow(path: &Path, writable: bool) -> io::Result<File> {
    let place = match split(path) {
        None => path.to_path_buf(),
        Some((root, inside)) => {
            let (folder, name) = enter(&root, &inside)?;
            return reopen(&hold(&below(&folder, &name), libc::O_PATH | libc::O_NOFOLLOW)?, path, writable);
        }
    };
    reopen(&hold(&place, libc::O_PATH | libc::O_NOFOLLOW)?, path, writable)
}

/// A regular file of another machine or container; its links are resolved inside.
pub(crate) fn within(root: &Path, inside: &Path) -> io::Result<File> {
    let held = resolve(root, inside)?;
    solid(reopen(&held, inside, false)?)
}

/// What the user typed: a regular file, a pipe of his own, or a device. Not a pipe that somebody else put there.
pub(crate) fn typed(path: &Path) -> io::Result<File> {
    let held = hold(path, libc::O_PATH)?;
    let meta = held.metadata()?;
    let kind = meta.file_type();
    if kind.is_dir() {
        return Err(io::Error::other("a directory"));
    }
    if kind.is_fifo() && !Owners::default().has(meta.uid()) {
        return Err(io::Error::other(format!("a pipe of user {}", meta.uid())));
    }
    if kind.is_fifo() || kind.is_char_device() {
        return File::open(path);
    }
    solid(reopen(&held, path, false)?)
}

/// A file in a folder that the user named: a link in it is followed only if he or root made it.
pub(crate) fn listed(path: &Path) -> io::Result<File> {
    let meta = path.symlink_metadata()?;
    if meta.is_symlink() && !Owners::default().has(meta.uid()) {
        return Err(io::Error::other(format!("a symbolic link of user {}", meta.uid())));
    }
    regular(path)
}

/// Where a result goes that the user wants under a name.
#[derive(Debug)]
pub(crate) enum Target {
    /// What is there is written to: a pipe, a device, what a descriptor leads to.
    Through(File),
    /// A file is made under this name, in place of what is there: nothing, or a regular file.
    Name(PathBuf),
}

/// Where a name leads: links that the user or root made are followed, and stay.
pub(crate) fn target(path: &Path) -> io::Result<Target> {
    let mut name = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        let Ok(meta) = name.symlink_metadata() else { return Ok(Target::Name(name)) };
        let kind = meta.file_type();
        if kind.is_symlink() || kind.is_fifo() {
            trust(&meta, if kind.is_fifo() { "pipe" } else { "symbolic link" })?;
        }
        match () {
            () if kind.is_symlink() => match descriptor(&name) {
                Some(file) => return file.map(Target::Through),
                None => name = name.parent().unwrap_or(Path::new("")).join(fs::read_link(&name)?),
            },
            () if kind.is_file() => return Ok(Target::Name(name)),
            () if kind.is_fifo() || kind.is_char_device() => {
                let file = OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open(&name)?;
                return Ok(Target::Through(file));
            }
            () => return Err(io::Error::other("not a file")),
        }
    }
    Err(io::Error::other("too many links"))
}

fn trust(meta: &Metadata, what: &str) -> io::Result<()> {
    let is_trusted = Owners::default().has(meta.uid());
    if is_trusted { Ok(()) } else { Err(io::Error::other(format!("a {what} of user {}", meta.uid()))) }
}

/// What a link of `/proc` leads to (`/dev/stdout` leads to one): the descriptor itself, where it is ours. Its file may
/// have been opened to append.
fn descriptor(link: &Path) -> Option<io::Result<File>> {
    let folder = link.parent()?.canonicalize().ok().filter(|folder| folder.starts_with("/proc"))?;
    let own = format!("/proc/{}/fd", std::process::id());
    let number = link.file_name()?.to_str().filter(|_| folder == Path::new(&own));
    Some(match number {
        Some("1") => io::stdout().as_fd().try_clone_to_owned().map(File::from),
        Some("2") => io::stderr().as_fd().try_clone_to_owned().map(File::from),
        _ => OpenOptions::new().append(true).custom_flags(libc::O_NOCTTY).open(link),
    })
}

/// A file that the user named, to add to its end; it is made where it is not there, and no link is followed. Mounts on
/// it (a container's termination log) and devices stay what they are.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().append(true).create(true).mode(0o644).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_char_device() { Ok(file) } else { Err(io::Error::other("not a file")) }
}

/// The mode of a file that is the reader's own.
pub(crate) fn mode_of_ours(path: &Path) -> Option<u32> {
    let meta = path.symlink_metadata().ok().filter(|meta| meta.is_file() && meta.uid() == reader())?;
    Some(meta.mode() & 0o777)
}

/// All of a file that [`regular`] or [`named`] opened, unless it is longer than `most`.
pub(crate) fn bytes(file: &File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if read as u64 > most { Err(io::Error::other("too large")) } else { Ok(bytes) }
}

/// What the kernel says in a file of `/proc` or `/sys`; nothing else lies there.
pub(crate) fn kernel(path: &Path) -> io::Result<String> {
    let file = kernel_file(path)?;
    bytes(&file, SMALL).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// A file of `/proc` that is read in parts.
pub(crate) fn kernel_file(path: &Path) -> io::Result<File> {
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(outside());
    }
    reopen(&hold(path, libc::O_PATH | libc::O_NOFOLLOW)?, path, false)
}

/// What a process has mapped.
pub(crate) fn maps(pid: u32) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/maps"))?).into_owned())
}

/// A path for those who open for themselves (blazesym): it leads to the file that is held, whatever became of its name.
pub(crate) fn path_of(file: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

/// A folder of another process's world, held open.
pub(crate) fn folder(path: &Path) -> io::Result<File> {
    let (root, inside) = split(path).ok_or_else(|| io::Error::other("not below a process's root"))?;
    let (folder, name) = enter(&root, &inside)?;
    hold(&below(&folder, &name), libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW)
}

/// A name in a folder that is held open: what becomes of the folder's own path does not matter.
pub(crate) fn below(folder: &File, name: &Path) -> PathBuf {
    path_of(folder).join(name)
}

/// Opens without any effect on what is there.
fn hold(path: &Path, flags: i32) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Opens what is held for reading, if it is a regular file.
fn reopen(held: &File, path: &Path, writable: bool) -> io::Result<File> {
    let meta = held.metadata()?;
    if !meta.is_file() {
        let what = if meta.is_symlink() { "a symbolic link" } else { "not a regular file" };
        return Err(io::Error::other(what));
    }
    let mut options = OpenOptions::new();
    options.read(true).write(writable).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    match options.open(path_of(held)) {
        // Without /proc: by its path, if that still leads to the same file.
        Err(error) if error.kind() == io::ErrorKind::NotFound && split(path).is_none() => {
            let file = options.open(path)?;
            let now = file.metadata()?;
            let is_same = (now.dev(), now.ino()) == (meta.dev(), meta.ino());
            if is_same { Ok(file) } else { Err(io::Error::other("it was exchanged while it was opened")) }
        }
        opened => opened,
    }
}

/// Refuses a file that says it is much longer than it can be: it costs its reader what it cost nobody to make.
fn solid(file: File) -> io::Result<File> {
    let meta = file.metadata()?;
    if meta.len() > most_bytes(&meta) {
        let real = meta.blocks().saturating_mul(512);
        return Err(io::Error::other(format!("nearly all holes: {} bytes long, {real} on the disk", meta.len())));
    }
    Ok(file)
}

/// Root of another process, and the path inside it; `None` for a path of our own world.
fn split(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut parts = path.strip_prefix("/proc").ok()?.iter();
    let pid: u32 = parts.next()?.to_str()?.parse().ok()?;
    (parts.next()? == "root").then(|| (PathBuf::from(format!("/proc/{pid}/root")), parts.as_path().to_path_buf()))
}

fn outside() -> io::Error {
    io::Error::other("a path that leads out of the process's root")
}

/// The folder that a path leads to, held open, and the path's last name.
fn enter(root: &Path, inside: &Path) -> io::Result<(File, PathBuf)> {
    let mut names = Vec::new();
    for component in inside.components() {
        match component {
            Component::Normal(name) => names.push(PathBuf::from(name)),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(outside()),
        }
    }
    let last = names.pop().ok_or_else(outside)?;
    let mut folder = hold(root, libc::O_PATH | libc::O_DIRECTORY)?;
    for name in names {
        folder = hold(&below(&folder, &name), libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW)?;
    }
    Ok((folder, last))
}

/// Walks a path as a process below `root` would: a link begins again at the root or in its folder, `..` ends there.
fn resolve(root: &Path, inside: &Path) -> io::Result<File> {
    let mut folders = vec![hold(root, libc::O_PATH | libc::O_DIRECTORY)?];
    let mut left: Vec<PathBuf> = parts(inside);
    let mut links = 0;
    while let (Some(name), Some(folder)) = (left.pop(), folders.last()) {
        if name == Path::new("..") {
            if folders.len() > 1 {
                folders.pop();
            }
            continue;
        }
        let place = below(folder, &name);
        let held = hold(&place, libc::O_PATH | libc::O_NOFOLLOW)?;
        if !held.metadata()?.is_symlink() {
            folders.push(held);
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(io::Error::other("too many links"));
        }
        let target = fs::read_link(&place)?;
        if target.is_absolute() {
            folders.truncate(1);
        }
        left.extend(parts(&target));
    }
    folders.pop().ok_or_else(outside)
}

/// The names of a path, the first one last.
fn parts(path: &Path) -> Vec<PathBuf> {
    let names = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    let mut names: Vec<PathBuf> = names.map(|part| PathBuf::from(part.as_os_str())).collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    fn home(name: &str) -> PathBuf {
        let home = std::env::temp_dir().join(format!("heaptap-open-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(home.join("folder")).unwrap();
        fs::write(home.join("folder/file"), "inside").unwrap();
        symlink("folder", home.join("link")).unwrap();
        symlink("folder/file", home.join("file-link")).unwrap();
        home
    }

    fn text(file: io::Result<File>) -> String {
        io::read_to_string(file.unwrap()).unwrap()
    }

    #[test]
    fn links_and_other_things_are_refused_below_a_root() {
        let home = home("root");
        let root = PathBuf::from(format!("/proc/{}/root", std::process::id()));
        let at = |path: &str| root.join(home.join(path).strip_prefix("/").unwrap());
        assert_eq!(text(named(&at("folder/file"))), "inside");
        for path in ["link/file", "file-link", "folder", "folder/../folder/file", "none"] {
            assert!(named(&at(path)).is_err(), "{path}");
        }
        assert!(folder(&at("folder")).is_ok());
        assert!(["link", "folder/file", "none"].iter().all(|path| folder(&at(path)).is_err()));
        assert!(named_hollow(&home.join("folder/file"), true).is_ok() && named(&home.join("file-link")).is_err());
        assert!(named(Path::new("/dev/null")).is_err() && typed(Path::new("/dev/null")).is_ok());
        fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn links_of_another_world_stay_in_it() {
        let home = home("within");
        fs::create_dir_all(home.join("etc")).unwrap();
        symlink("/folder/file", home.join("etc/absolute")).unwrap();
        symlink("../../../folder/file", home.join("etc/relative")).unwrap();
        symlink("/etc/passwd", home.join("etc/escape")).unwrap();
        symlink("loop", home.join("etc/loop")).unwrap();
        for path in ["/folder/file", "link/file", "file-link", "etc/absolute", "etc/relative", "/../../folder/file"] {
            assert_eq!(text(within(&home, Path::new(path))), "inside", "{path}");
        }
        for path in ["etc/escape", "etc/loop", "folder", "none", ""] {
            assert!(within(&home, Path::new(path)).is_err(), "{path}");
        }
        fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn pipes_and_holes_are_not_waited_for() {
        let home = home("pipes");
        let pipe = home.join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!([named(&pipe), regular(&pipe), within(&home, Path::new("pipe"))].iter().all(Result::is_err));
        let hollow = home.join("hollow");
        File::create(&hollow).unwrap().set_len(1 << 34).unwrap();
        let error = named(&hollow).unwrap_err().to_string();
        assert!(error.contains("nearly all holes"), "{error}");
        assert!(regular(&hollow).is_err() && typed(&hollow).is_err() && named_hollow(&hollow, false).is_ok());
        assert!(bytes(&named(&home.join("folder/file")).unwrap(), 3).is_err());
        assert_eq!(bytes(&named(&home.join("folder/file")).unwrap(), 6).unwrap(), b"inside");
        fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn root_the_reader_and_the_profiles_owner_are_believed() {
        let owners = Owners::of(7);
        assert!(owners.has(0) && owners.has(7) && owners.has(reader()) && !owners.has(4242));
        assert!(owners.and(4242).has(4242));
        assert_eq!(owner_of(Path::new("-")), reader());
        let own = std::env::current_exe().unwrap();
        assert_eq!(owner_of(&own.join("dumps/x.heap")), owner_of(&own));
    }
}
