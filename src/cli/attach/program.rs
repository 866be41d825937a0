//! Will a preload work in this program? Asked before it is started, because the answers afterwards
//! are bad: a preload for the wrong libc ends the program with 127 before `main`, and a static or
//! set-user-id program ignores it without a word.

use super::{glibc, musl};
use crate::cli::open;
use crate::cli::symbolize::elf::{Elf, ElfError, Machine};
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Scripts whose interpreter is a script, at most (the kernel's own limit is 4).
const SCRIPTS: usize = 4;

/// Finds the file that a command name means, as a shell does.
pub(crate) fn resolve(command: &OsStr) -> Result<PathBuf> {
    let shown = command.to_string_lossy();
    if command.as_bytes().contains(&b'/') {
        let path = PathBuf::from(command);
        let meta = std::fs::metadata(&path).with_context(|| format!("cannot run {shown}"))?;
        if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 {
            bail!("cannot run {shown}: not an executable file");
        }
        return Ok(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/local/bin:/usr/bin:/bin"));
    let found = std::env::split_paths(&path).map(|directory| directory.join(command)).find(|path| is_executable(path));
    found.with_context(|| format!("cannot run {shown}: no such program in PATH"))
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Says why this library, preloaded, would kill the program or be ignored by it.
pub(crate) fn check(tap: &Path, path: &Path) -> Result<()> {
    let binary = binary(path)?;
    check_binary(&binary)?;
    let shown = binary.display().to_string();
    if uses_musl(&binary) {
        return musl::check(tap, &shown);
    }
    match glibc::of_program(&binary) {
        Some(libc) => glibc::check(tap, &libc, &shown),
        None => Ok(()),
    }
}

/// What a user should know of this program's profile before it is made.
pub(crate) fn lacks(path: &Path) -> Option<String> {
    let binary = binary(path).ok().filter(|binary| uses_musl(binary))?;
    Some(format!("{} {}", binary.display(), musl::LACKS))
}

/// Whether the program names musl's loader.
pub(crate) fn uses_musl(binary: &Path) -> bool {
    Elf::open(binary).is_ok_and(|elf| elf.interpreter.as_deref().is_some_and(musl::is_loader))
}

/// The program that runs in the end: of a script its interpreter.
fn binary(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..=SCRIPTS {
        match interpreter_of_script(&path)? {
            Some(interpreter) => path = interpreter,
            None => return Ok(path),
        }
    }
    bail!("{}: its `#!` lines lead from script to script without an end", path.display())
}

/// The program behind `#!`, with `/usr/bin/env NAME` resolved; `None` for a binary.
fn interpreter_of_script(path: &Path) -> Result<Option<PathBuf>> {
    let mut head = Vec::new();
    let file = open::regular(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.take(512).read_to_end(&mut head).with_context(|| format!("cannot read {}", path.display()))?;
    let Some(line) = head.strip_prefix(b"#!") else { return Ok(None) };
    let line = line.split(|&byte| byte == b'\n').next().unwrap_or(line);
    let mut words = line.split(|byte| b" \t\r".contains(byte)).filter(|word| !word.is_empty());
    let Some(interpreter) = words.next() else { bail!("{}: nothing behind `#!`", path.display()) };
    let interpreter = PathBuf::from(OsString::from_vec(interpreter.to_vec()));
    let is_env = interpreter.file_name() == Some(OsStr::new("env"));
    let name = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='));
    match name.filter(|_| is_env) {
        Some(name) => resolve(OsStr::from_bytes(name)).map(Some),
        None => Ok(Some(interpreter)),
    }
}

/// The same for a program that is no script.
pub(crate) fn check_binary(path: &Path) -> Result<()> {
    let shown = path.display();
    let elf = match Elf::open(path) {
        Ok(elf) => elf,
        Err(ElfError::NotElf) => bail!("{shown} is neither an ELF program nor a script with a `#!` line"),
        Err(ElfError::OtherClass) => bail!("{shown} is a 32-bit program: the 64-bit tap cannot be loaded into it"),
        Err(error) => bail!("cannot read {shown}: {error}"),
    };
    if elf.machine != Machine::OURS {
        bail!("{shown} is built for another processor ({:?}) than the tap ({:?})", elf.machine, Machine::OURS);
    }
    if elf.interpreter.is_none() {
        bail!("{shown} is statically linked: nothing can be preloaded into it. Build it with a shared libc");
    }
    let meta = std::fs::metadata(path).with_context(|| format!("cannot read {shown}"))?;
    let ours = std::fs::metadata("/proc/self").map_or(meta.uid(), |own| own.uid());
    if meta.permissions().mode() & 0o4000 != 0 && meta.uid() != ours {
        bail!("{shown} is set-user-id: the loader ignores LD_PRELOAD in it. Run what it starts instead");
    }
    Ok(())
}

/// The tap's library: `given`, else `$HEAPTAP_LIB`, else beside this program or in its `lib`.
pub(crate) fn find_tap(given: Option<&Path>) -> Result<PathBuf> {
    let named = given.map(Path::to_owned).or_else(|| std::env::var_os("HEAPTAP_LIB").map(PathBuf::from));
    let path = match named {
        Some(path) => path.canonicalize().with_context(|| format!("cannot use {} as the tap", path.display()))?,
        None => beside_this_program()?,
    };
    // ld.so splits LD_PRELOAD at both, and there is no way to quote them.
    if path.as_os_str().as_bytes().iter().any(|byte| byte.is_ascii_whitespace() || *byte == b':') {
        bail!("{}: the loader cannot preload a path with blanks or colons. Copy the library elsewhere", path.display());
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if let Some(mount) = noexec_mount(&mounts, &path) {
        bail!(
            "{}: {mount} is mounted noexec, so the loader cannot map a library there. Copy it elsewhere (--lib)",
            path.display()
        );
    }
    match Elf::open(&path) {
        Ok(elf) if elf.machine == Machine::OURS => Ok(path),
        Ok(elf) => bail!("{} is built for another processor ({:?})", path.display(), elf.machine),
        Err(error) => bail!("{} is no library: {error}", path.display()),
    }
}

/// The mount that a path lies on, if it is one that nothing can be executed from. `mounts`: lines of
/// `/proc/PID/mountinfo`.
pub(crate) fn noexec_mount(mounts: &str, path: &Path) -> Option<String> {
    let of = |line: &str| {
        let mut fields = line.split(' ').skip(4);
        Some((fields.next()?.replace("\\040", " "), fields.next()?.to_owned()))
    };
    // Of two mounts on one place the later hides the other.
    let holding = mounts.lines().filter_map(of).filter(|(place, _)| path.starts_with(place));
    let (place, options) = holding.max_by_key(|(place, _)| place.len())?;
    options.split(',').any(|option| option == "noexec").then_some(place)
}

/// Where the library lies, seen from the program's folder: beside it, below a prefix, or where deb and rpm put it.
fn places() -> [String; 5] {
    let architecture = std::env::consts::ARCH;
    [
        "libheaptap.so".into(),
        "../lib/libheaptap.so".into(),
        "../lib/heaptap/libheaptap.so".into(),
        format!("../lib/{architecture}-linux-gnu/heaptap/libheaptap.so"),
        "../lib64/heaptap/libheaptap.so".into(),
    ]
}

fn beside_this_program() -> Result<PathBuf> {
    let program =
        std::env::current_exe().and_then(|path| path.canonicalize()).context("cannot find this program's place")?;
    let directory = program.parent().unwrap_or(Path::new("/"));
    let found = places().iter().find_map(|place| directory.join(place).canonicalize().ok());
    found.with_context(|| {
        format!(
            "libheaptap.so was found neither beside {} nor in its ../lib or where packages put it. Name it with --lib \
             or $HEAPTAP_LIB (`cargo build --release` makes it in target/release)",
            program.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With our own program as the library: it fits its own libc.
    fn checked(path: &Path) -> Result<()> {
        check(&std::env::current_exe().unwrap(), path)
    }

    fn script(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("heaptap-test-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn programs_and_scripts_of_this_machine_pass() {
        for name in ["sh", "env"] {
            checked(&resolve(OsStr::new(name)).unwrap()).unwrap();
        }
        for (name, line) in [("plain", "#!/bin/sh -e\n"), ("env", "#!/usr/bin/env -S FOO=1 sh\n")] {
            let path = script(name, line);
            assert!(checked(&path).is_ok(), "{line}");
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_preloaded_is_refused_with_a_reason() {
        let path = script("text", "echo hello\n");
        assert!(checked(&path).unwrap_err().to_string().contains("neither an ELF program nor a script"));
        std::fs::write(&path, format!("#!{}\n", path.display())).unwrap();
        assert!(checked(&path).unwrap_err().to_string().contains("from script to script"));
        // The header of our own program, as if it were for other machines.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let mut other = own[..4096.min(own.len())].to_vec();
        other[18] = 8;
        std::fs::write(&path, &other).unwrap();
        assert!(checked(&path).unwrap_err().to_string().contains("another processor"));
        other[4] = 1;
        std::fs::write(&path, &other).unwrap();
        assert!(checked(&path).unwrap_err().to_string().contains("32-bit"));
        std::fs::remove_file(path).unwrap();
        assert!(resolve(OsStr::new("no-such-program-here")).unwrap_err().to_string().contains("PATH"));
        assert!(resolve(OsStr::new("/etc")).unwrap_err().to_string().contains("not an executable"));
    }

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "1 0 8:1 / / rw,relatime - ext4 x rw\n2 1 0:2 / /opt rw,noexec - tmpfs x rw\n\
                      3 2 0:3 / /opt/a\\040b rw - tmpfs x rw\n";
        let of = |path: &str| noexec_mount(mounts, Path::new(path));
        assert_eq!(of("/opt/libheaptap.so").as_deref(), Some("/opt"));
        assert_eq!((of("/opt/a b/x"), of("/optional/x"), of("/x")), (None, None, None));
    }

    #[test]
    fn a_tap_with_a_colon_in_its_path_is_refused() {
        let path = script("a:b", "");
        assert!(find_tap(Some(&path)).unwrap_err().to_string().contains("colons"));
        std::fs::remove_file(path).unwrap();
    }
}
