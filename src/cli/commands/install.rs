//! `heaptap install DIR`: the library and this program as files in a folder: a volume that a server's container mounts,
//! or a host's `/opt`. Needs nothing but itself: images without a shell have no `cp`.
//!
//! Each file appears whole, and takes the place of an older one by its name: a process that runs under that keeps it.

use crate::cli::attach::{glibc, program};
use crate::cli::inert::say;
use crate::cli::open;
use crate::wire::whole_file;
use anyhow::{Context, Result, bail};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

/// Everybody may run and load them, whatever our umask is: the server is another user.
const MODE: u32 = 0o755;
/// Bytes of a file that is copied, at most.
const MOST_BYTES: u64 = 256 << 20;

/// Copy the library and this program to a folder, such as a volume that a server's container mounts
///
/// Prints the files' paths. Files that are there already are replaced whole; a process that runs under an older library
/// keeps it until it is restarted.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// The folder; it is made where it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// The library to copy [default: as for `heaptap run`]
    #[arg(long, value_name = "PATH")]
    lib: Option<PathBuf>,

    /// Copy the library alone
    #[arg(long)]
    library_only: bool,

    /// Refuse a library that could not be preloaded into this program [default: into those of this machine]
    #[arg(long = "for", value_name = "PROGRAM")]
    program: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let tap = program::find_tap(arguments.lib.as_deref())?;
    check(&tap, arguments.program.as_deref())?;
    let folder = folder(&arguments.folder)?;
    let mut files = vec![(tap, folder.join("libheaptap.so"))];
    if !arguments.library_only {
        let own = std::env::current_exe().context("cannot find this program's own file (is /proc mounted?)")?;
        files.push((own, folder.join("heaptap")));
    }
    for (from, to) in &files {
        copy(from, to)?;
        writeln!(io::stdout(), "{}", to.display())?;
    }
    advise(&folder);
    Ok(ExitCode::SUCCESS)
}

/// Whether it can be loaded where it is wanted, as far as that can be known here.
fn check(tap: &Path, program: Option<&Path>) -> Result<()> {
    if let Some(program) = program {
        return program::check(tap, &program::resolve(program.as_os_str())?);
    }
    if let Some(libc) = glibc::of_this_machine() {
        glibc::check(tap, &libc, "this machine")?;
    }
    if let Some(needed) = glibc::needed(tap).filter(|needed| *needed > glibc::RELEASED) {
        say(&format!(
            "{} needs glibc {needed}: programs of an image with an older one would not start under it. A released \
             library needs glibc {}",
            tap.display(),
            glibc::RELEASED
        ));
    }
    Ok(())
}

/// The folder, made if need be, by a path that `LD_PRELOAD` can name.
fn folder(given: &Path) -> Result<PathBuf> {
    let folder = whole_file::absolute(given);
    if folder.as_os_str().as_bytes().iter().any(|byte| byte.is_ascii_whitespace() || *byte == b':') {
        bail!("{}: the loader cannot preload a path with blanks or colons. Name another folder", folder.display());
    }
    if !folder.exists() {
        let made = DirBuilder::new().recursive(true).mode(MODE).create(&folder);
        made.and_then(|()| fs::set_permissions(&folder, Permissions::from_mode(MODE)))
            .with_context(|| format!("cannot make {} as user {}", folder.display(), open::reader()))?;
    }
    if !folder.is_dir() {
        bail!("{} is no folder", folder.display());
    }
    Ok(folder)
}

/// Copies a file under its new name, unless just that is there.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let is_there = to.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & MODE == MODE);
    if is_there && read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if to.is_dir() {
        bail!("{} is a folder: remove it, or name another place", to.display());
    }
    let mut write = |file: &mut File| {
        file.write_all(&bytes)?;
        file.set_permissions(Permissions::from_mode(MODE))?;
        // A node that goes down now must not leave an empty library under that name.
        file.sync_all()
    };
    let replaced = whole_file::replace_by(&beside(to), to, &mut write);
    replaced.map(drop).with_context(|| {
        format!(
            "cannot write {} as user {}: it must be able to write to that volume (in Kubernetes: fsGroup, or an init \
             container with the server's runAsUser)",
            to.display(),
            open::reader()
        )
    })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open::regular(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A name for the file while it is not whole, which nobody else uses: containers that share a volume share pids.
fn beside(path: &Path) -> PathBuf {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    path.with_file_name(format!(".heaptap-{}-{now}.tmp", std::process::id()))
}

/// What is to be done next.
fn advise(folder: &Path) {
    let mounts = open::kernel(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    if let Some(mount) = program::noexec_mount(&mounts, folder) {
        say(&format!("{mount} is mounted noexec here: where the server sees it, it must not be, or nothing is loaded"));
    }
    say(&format!("start the server with LD_PRELOAD={}/libheaptap.so and MALLOC_CONF=prof:true,…", folder.display()));
}
