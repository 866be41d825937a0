//! Opens a file of another process's world without leaving it.
//!
//! Paths of other containers begin with `/proc/<pid>/root`. Who rules there could put a symbolic link in the way that
//! leads into *our* files; so no link is followed below that root, component by component, and only regular
//! files are opened.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

/// Opens a regular file for reading, for writing too if asked; never a link, a device or a pipe.
pub(crate) fn open(path: &Path, writable: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(writable).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = match split(path) {
        None => options.open(path)?,
        Some((root, inside)) => {
            let (folder, name) = enter(&root, &inside)?;
            options.open(below(&folder, &name))?
        }
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

/// Root of another process, and the path inside it; `None` for a path of our own world.
fn split(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut parts = path.strip_prefix("/proc").ok()?.iter();
    let pid: u32 = parts.next()?.to_str()?.parse().ok()?;
    (parts.next()? == "root").then(|| (PathBuf::from(format!("/proc/{pid}/root")), parts.as_path().to_path_buf()))
}

/// The folder that a path leads to, held open, and the path's last name.
fn enter(root: &Path, inside: &Path) -> io::Result<(File, PathBuf)> {
    let outside = || io::Error::other("a path that leads out of the process's root");
    let mut names = Vec::new();
    for component in inside.components() {
        match component {
            Component::Normal(name) => names.push(PathBuf::from(name)),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(outside()),
        }
    }
    let last = names.pop().ok_or_else(outside)?;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY);
    let mut folder = options.open(root)?;
    options.custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW);
    for name in names {
        folder = options.open(below(&folder, &name))?;
    }
    Ok((folder, last))
}

/// A name in a folder that is held open: what becomes of the folder's own path does not matter.
fn below(folder: &File, name: &Path) -> PathBuf {
    Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_and_other_things_are_refused_below_a_root() {
        let home = std::env::temp_dir().join(format!("heaptap-beneath-{}", std::process::id()));
        fs::create_dir_all(home.join("folder")).unwrap();
        fs::write(home.join("folder/file"), "inside").unwrap();
        symlink("folder", home.join("link")).unwrap();
        symlink("folder/file", home.join("file-link")).unwrap();
        let root = PathBuf::from(format!("/proc/{}/root", std::process::id()));
        let at = |path: &str| root.join(home.join(path).strip_prefix("/").unwrap());
        assert_eq!(io::read_to_string(open(&at("folder/file"), false).unwrap()).unwrap(), "inside");
        for path in ["link/file", "file-link", "folder", "folder/../folder/file", "none"] {
            assert!(open(&at(path), false).is_err(), "{path}");
        }
        assert!(open(&home.join("folder/file"), true).is_ok() && open(&home.join("file-link"), false).is_err());
        assert!(open(Path::new("/dev/null"), false).is_err());
        fs::remove_dir_all(home).unwrap();
    }
}
