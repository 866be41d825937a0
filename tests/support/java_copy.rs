//! A copy of a Java virtual machine that differs in its `libjvm.so` only.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::Folder;
use super::java::Jvm;

/// What stands before a build id in an object: length of the owner's name, of the id, kind; the name.
const BUILD_ID_NOTE: &[u8] = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";
const BUILD_ID_BYTES: usize = 20;

/// A JDK made of links to this one, but for `libjvm.so`, which is a copy that `change` may change. `None`: another
/// layout.
pub(crate) fn with_libjvm(jvm: &Jvm, folder: &Folder, change: impl FnOnce(&Path)) -> Option<Jvm> {
    let library = libjvm(&jvm.home)?;
    let program = jvm.java.strip_prefix(&jvm.home).ok()?;
    let home = folder.subfolder("jdk");
    mirror(&jvm.home, &home, &[library.as_path(), program]);
    change(&home.join(&library));
    Jvm::at(&home)
}

/// The same without the tables that it exports about itself; and, if wanted, of a build that nobody knows.
pub(crate) fn without_tables(jvm: &Jvm, folder: &Folder, is_unknown: bool) -> Option<Jvm> {
    with_libjvm(jvm, folder, |library| {
        let mut bytes = fs::read(library).expect("a copy");
        hide(&mut bytes, b"gHotSpotVM");
        if is_unknown {
            for at in places(&bytes, BUILD_ID_NOTE) {
                bytes[at + BUILD_ID_NOTE.len()] ^= 0xff;
            }
        }
        fs::write(library, bytes).expect("a copy can be written");
    })
}

/// Whether the tap knows the layout of this machine by its build id.
pub(crate) fn is_known_build(jvm: &Jvm) -> bool {
    let Some(library) = libjvm(&jvm.home) else { return false };
    let bytes = fs::read(jvm.home.join(library)).expect("a library");
    let Some(at) = places(&bytes, BUILD_ID_NOTE).pop() else { return false };
    let id = bytes.iter().skip(at + BUILD_ID_NOTE.len()).take(BUILD_ID_BYTES);
    let line = format!("build {} ", id.map(|byte| format!("{byte:02x}")).collect::<String>());
    let layouts = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tap/jvm/layouts.txt");
    fs::read_to_string(layouts).expect("the table").contains(&line)
}

/// Where the library lies in a home, of JDK 9 and later or of JDK 8.
fn libjvm(home: &Path) -> Option<PathBuf> {
    let names = ["lib/server", "jre/lib/amd64/server", "jre/lib/aarch64/server"];
    names.map(|folder| Path::new(folder).join("libjvm.so")).into_iter().find(|path| home.join(path).is_file())
}

/// Gives exported symbols other names, and makes them local: so the library itself still finds them, by their numbers.
fn hide(bytes: &mut [u8], prefix: &[u8]) {
    const DYNSYM: u64 = 11;
    const SYMBOL_BYTES: usize = 24;
    let number = |bytes: &[u8], at: usize, size: usize| {
        bytes[at..at + size].iter().rev().fold(0, |number: u64, byte| number << 8 | u64::from(*byte)) as usize
    };
    let (sections, size) = (number(bytes, 40, 8), number(bytes, 58, 2));
    let header = |index: usize| sections + index * size;
    let count = number(bytes, 60, 2);
    let symbols = (0..count).map(header).find(|&at| number(bytes, at + 4, 4) as u64 == DYNSYM).expect("a .dynsym");
    let names = number(bytes, header(number(bytes, symbols + 40, 4)) + 24, 8);
    let (first, length) = (number(bytes, symbols + 24, 8), number(bytes, symbols + 32, 8));
    for symbol in (first..first + length).step_by(SYMBOL_BYTES) {
        let name = names + number(bytes, symbol, 4);
        if bytes[name..].starts_with(prefix) {
            // The upper half of this byte is the binding: 0 is local.
            bytes[symbol + 4] &= 0x0f;
            bytes[name] = b'-';
        }
    }
}

/// Where a text stands.
fn places(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == wanted[0]).map(|(at, _)| at);
    starts.filter(|&at| bytes[at..].starts_with(wanted)).collect()
}

/// Fills a folder with links to what another one holds, and with copies of these files below it.
fn mirror(from: &Path, to: &Path, copies: &[&Path]) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let (name, place) = (entry.file_name(), to.join(entry.file_name()));
        let below: Vec<&Path> = copies.iter().filter_map(|path| path.strip_prefix(&name).ok()).collect();
        match below[..] {
            [] => symlink(entry.path(), place).expect("a link"),
            [file] if file.as_os_str().is_empty() => drop(fs::copy(entry.path(), place).expect("a copy")),
            _ => mirror(&entry.path(), &place, &below),
        }
    }
}
