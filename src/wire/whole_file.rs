//! A dump file appears whole or not at all, and never takes another one's place.
//!
//! It is written under a temporary name beside its own, then linked to it: linking fails where a file
//! of that name exists (a restarted container has the same pid on the same volume), and the next number
//! is tried. The one module of `wire` that touches files: tap and CLI must do this alike.

use super::dump_name::DumpName;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Numbers that are tried before giving up.
const MOST_TAKEN: u64 = 100_000;

/// Bytes of a file that are read: a side-car has some 10 MiB.
const MOST_BYTES: u64 = 64 << 20;

/// Writes the file and returns the name that it got, or the name that failed and why. The token stands in the
/// temporary name: containers that share a volume share pids, and write at the same time.
pub(crate) fn create(
    mut name: DumpName,
    token: u64,
    write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> Result<DumpName, (DumpName, io::Error)> {
    let temporary = PathBuf::from(format!("{name}.{token:016x}.tmp"));
    let written = write_whole(&temporary, &mut |file| write(file));
    let placed = written.and_then(|_| {
        for _ in 0..MOST_TAKEN {
            match place(&temporary, &name.path()) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => name.seq += 1,
                other => return other,
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    });
    if placed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    match placed {
        Ok(()) => Ok(name),
        Err(error) => Err((name, error)),
    }
}

/// Writes a file in place of an older one of ours, and returns it open.
pub(crate) fn replace(path: &Path, write: &mut dyn FnMut(&mut File) -> io::Result<()>) -> io::Result<File> {
    replace_by(&temporary(path), path, write)
}

/// The same by way of this name beside it.
pub(crate) fn replace_by(
    temporary: &Path,
    path: &Path,
    write: &mut dyn FnMut(&mut File) -> io::Result<()>,
) -> io::Result<File> {
    let replaced = write_whole(temporary, write).and_then(|file| fs::rename(temporary, path).map(|()| file));
    if replaced.is_err() {
        let _ = fs::remove_file(temporary);
    }
    replaced
}

/// Where a file lies while it is not whole.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    PathBuf::from(temporary)
}

/// Writes a new file, readable by its owner only: addresses and paths are its owner's business.
fn write_whole(path: &Path, write: &mut dyn FnMut(&mut File) -> io::Result<()>) -> io::Result<File> {
    let create =
        || OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path);
    let mut file = create().or_else(|error| {
        // A temporary file of this life is what an attempt left that was given up.
        if error.kind() == io::ErrorKind::AlreadyExists && fs::remove_file(path).is_ok() {
            create()
        } else {
            Err(error)
        }
    })?;
    write(&mut file)?;
    file.flush()?;
    Ok(file)
}

/// Reads a file of ours. Not what took its place: a link, or what may block, such as a pipe.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Gives a file its name, unless the name is taken. Where there are no hard links, rename.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) if fs::symlink_metadata(to).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

/// The path from the root, so that it means the same in another directory. Not `canonicalize`: libc's
/// realpath calls malloc, which a final dump must not.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dump_name::DumpKind;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("heaptap-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel what Miri does not know")]
    fn taken_names_are_left_alone_and_failures_leave_nothing() {
        let home = directory("file");
        let name = || DumpName { prefix: home.join("jeprof"), pid: 1, seq: 0, kind: DumpKind::Final };
        let mut write = |out: &mut dyn Write| out.write_all(b"new");
        fs::write(home.join("jeprof.1.0.f.heap"), "old").unwrap();
        std::os::unix::fs::symlink("nowhere", home.join("jeprof.1.1.f.heap")).unwrap();
        assert_eq!(create(name(), 9, &mut write).unwrap().seq, 2);
        assert_eq!(fs::read(home.join("jeprof.1.0.f.heap")).unwrap(), b"old");
        assert_eq!(fs::read(home.join("jeprof.1.2.f.heap")).unwrap(), b"new");
        let failed = create(name(), 9, &mut |_| Err(io::ErrorKind::StorageFull.into()));
        assert_eq!(failed.unwrap_err().1.kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read_dir(&home).unwrap().count(), 3);
        fs::remove_dir_all(home).unwrap();
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel what Miri does not know")]
    fn an_older_file_gives_way_to_a_whole_one_only() {
        let home = directory("replace");
        let path = home.join("x.live");
        let put = |text: &str| replace(&path, &mut |file| file.write_all(text.as_bytes()));
        assert!(put("one").is_ok() && put("two").is_ok());
        assert!(
            replace(&path, &mut |file| file.write_all(b"half").and(Err(io::ErrorKind::StorageFull.into()))).is_err()
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(&home).unwrap().count(), 1);
        fs::remove_dir_all(home).unwrap();
    }
}
