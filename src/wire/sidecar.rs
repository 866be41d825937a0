//! The side-car: a tiny ELF file that lets stock `jeprof` print Java names.
//!
//! jeprof names addresses with `nm` and `addr2line`, by the files that MAPPED_LIBRARIES lists. So the fake
//! pcs get a line there, and a file: an ET_DYN without code whose symbol table has one function a
//! method, `STRIDE` bytes long. Without the file nothing else is lost.
//!
//! ```text
//! ELF header | .symtab | .strtab | .shstrtab | section headers     (.text: address 0, no bytes)
//! ```
//!
//! jeprof drops `<…>` and `(…)` from names and `;` separates frames in folded stacks, so `<init>`
//! becomes `{init}` and such characters an underscore.
//!
//! One file serves all dumps of a process: a new one also holds the names of the one before, since methods that nothing
//! refers to any more leave the region (numbers are never given again, so no two can contradict each other).

use crate::wire::file_group;
use crate::wire::java_pc;
use crate::wire::live::snapshot::{JavaMethod, Snapshot};
use std::collections::BTreeMap;
use std::path::Path;

const HEADER: usize = 64;
const SECTION_HEADER: usize = 64;
const SYMBOL: usize = 24;
/// Names of the sections, each at its offset: "" .text .symtab .strtab .shstrtab.
const SECTION_NAMES: &[u8] = b"\0.text\0.symtab\0.strtab\0.shstrtab\0";

/// Names that a file holds at most, some 10 MiB: beyond, the lowest numbers of older dumps go.
const MOST_NAMES: usize = 1 << 17;

/// The file's bytes, or `None` if no Java method was seen. `older`: the bytes of the file that this one will replace,
/// or nothing.
pub(crate) fn bytes(snapshot: &Snapshot, older: &[u8]) -> Option<Vec<u8>> {
    end(snapshot)?;
    let mut methods: BTreeMap<u64, Vec<u8>> = names_in(older).unwrap_or_default();
    let own = &snapshot.java_methods;
    methods.retain(|number, _| !own.contains_key(number));
    while methods.len() + own.len() > MOST_NAMES && methods.pop_first().is_some() {}
    methods.extend(own.iter().map(|(number, method)| (*number, symbol_name(method))));
    let mut symbols = vec![0; SYMBOL];
    let mut names = vec![0];
    for (number, name) in &methods {
        symbol(&mut symbols, names.len(), number * java_pc::STRIDE);
        names.extend(name);
        names.push(0);
    }
    Some(elf(&symbols, &names, end_of(*methods.last_key_value()?.0)))
}

/// The symbols of a file that [`bytes`] made, by method number. `None`: it is none.
fn names_in(file: &[u8]) -> Option<BTreeMap<u64, Vec<u8>>> {
    let word = |bytes: &[u8], at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let headers_at = word(file, 40)?;
    if file.get(..HEADER) != Some(&header(headers_at)[..]) {
        return None;
    }
    let section = |index: usize| {
        let header = file.get(usize::try_from(headers_at).ok()?.checked_add(index * SECTION_HEADER)?..)?;
        let (start, len) = (usize::try_from(word(header, 24)?).ok()?, usize::try_from(word(header, 32)?).ok()?);
        file.get(start..start.checked_add(len)?)
    };
    let (symbols, names) = (section(2)?, section(3)?);
    let mut methods = BTreeMap::new();
    for symbol in symbols.chunks_exact(SYMBOL).skip(1) {
        let name_at = u32::from_le_bytes(*symbol.first_chunk()?) as usize;
        let address = u64::from_le_bytes(*symbol.get(8..)?.first_chunk()?);
        let name = names.get(name_at..)?.split(|&byte| byte == 0).next()?;
        let (number, _) = java_pc::parts(java_pc::BASE.checked_add(address)?)?;
        methods.insert(number, name.to_vec());
    }
    Some(methods)
}

/// The line of MAPPED_LIBRARIES that leads to the file.
pub(crate) fn maps_line(snapshot: &Snapshot, path: &Path) -> Option<String> {
    let end = java_pc::BASE + end(snapshot)?;
    Some(format!("{:x}-{end:x} r-xp 00000000 00:00 0                          {}\n", java_pc::BASE, path.display()))
}

/// Bytes of fake pcs in use.
fn end(snapshot: &Snapshot) -> Option<u64> {
    // The first one stands for those whose names could not be kept: it is there without any Java, too. Groups of files
    // are in no stack that jeprof reads.
    let is_frame = |(number, method): &(&u64, &JavaMethod)| **number > 0 && !file_group::is_group(&method.method);
    snapshot.java_methods.iter().any(|method| is_frame(&method)).then_some(())?;
    Some(end_of(*snapshot.java_methods.last_key_value()?.0))
}

/// The offset behind the fake pcs of a method.
fn end_of(number: u64) -> u64 {
    (number + 1) * java_pc::STRIDE
}

/// `java.util.zip.Deflater.{init}`.
fn symbol_name(method: &JavaMethod) -> Vec<u8> {
    let dot = |&byte: &u8| if byte == b'/' { b'.' } else { byte };
    let mut name: Vec<u8> = method.class.iter().map(dot).collect();
    if !name.is_empty() {
        name.push(b'.');
    }
    name.extend(match &method.method[..] {
        b"<init>" => &b"{init}"[..],
        b"<clinit>" => b"{clinit}",
        other => other,
    });
    for byte in &mut name {
        if matches!(*byte, 0..=b' ' | b';' | b'<' | b'>' | b'(' | b')' | 0x7f) {
            *byte = b'_';
        }
    }
    name
}

/// One Elf64_Sym: a global function of section 1 (.text).
fn symbol(symbols: &mut Vec<u8>, name: usize, address: u64) {
    const GLOBAL_FUNCTION: u8 = 1 << 4 | 2;
    symbols.extend((name as u32).to_le_bytes());
    symbols.extend([GLOBAL_FUNCTION, 0, 1, 0]);
    symbols.extend(address.to_le_bytes());
    symbols.extend(java_pc::STRIDE.to_le_bytes());
}

fn elf(symbols: &[u8], names: &[u8], text_bytes: u64) -> Vec<u8> {
    let (symbols_at, names_at) = (HEADER, HEADER + symbols.len());
    let section_names_at = names_at + names.len();
    let headers_at = (section_names_at + SECTION_NAMES.len()).next_multiple_of(8);
    let mut file = header(headers_at as u64);
    file.extend([symbols, names, SECTION_NAMES].concat());
    file.resize(headers_at, 0);
    file.extend([0; SECTION_HEADER]);
    // name, type, flags, offset, size, link, info, entry size
    let sections = [
        (1, 8, 6, 0, text_bytes, 0, 0, 0),
        (7, 2, 0, symbols_at as u64, symbols.len() as u64, 3, 1, SYMBOL as u64),
        (15, 3, 0, names_at as u64, names.len() as u64, 0, 0, 0),
        (23, 3, 0, section_names_at as u64, SECTION_NAMES.len() as u64, 0, 0, 0),
    ];
    for (name, kind, flags, offset, size, link, info, entry) in sections {
        file.extend([u32::to_le_bytes(name), u32::to_le_bytes(kind)].concat());
        file.extend(
            [u64::to_le_bytes(flags), 0u64.to_le_bytes(), u64::to_le_bytes(offset), size.to_le_bytes()].concat(),
        );
        file.extend([u32::to_le_bytes(link), u32::to_le_bytes(info)].concat());
        file.extend([1u64.to_le_bytes(), u64::to_le_bytes(entry)].concat());
    }
    file
}

/// Elf64_Ehdr of a little-endian ET_DYN for the machine we run on.
fn header(section_headers_at: u64) -> Vec<u8> {
    const MACHINE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    header.extend([3u16.to_le_bytes(), MACHINE.to_le_bytes()].concat());
    header.extend(1u32.to_le_bytes());
    header.extend([0u64.to_le_bytes(), 0u64.to_le_bytes(), section_headers_at.to_le_bytes()].concat());
    header.extend(0u32.to_le_bytes());
    let halves = [HEADER as u16, 0, 0, SECTION_HEADER as u16, 5, 4];
    header.extend(halves.map(u16::to_le_bytes).concat());
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A snapshot that holds these methods: number, class, name.
    fn holding(names: &[(u64, &str, &str)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (number, class, method) in names {
            let method = JavaMethod { class: (*class).into(), method: (*method).into() };
            snapshot.java_methods.insert(*number, method);
        }
        snapshot
    }

    #[test]
    fn wild_places_in_an_older_file_are_refused() {
        let whole = bytes(&holding(&[(1, "a/B", "c")]), &[]).unwrap();
        let headers_at = usize::try_from(u64::from_le_bytes(*whole[40..].first_chunk().unwrap())).unwrap();
        // The symbol's address, where the symbols begin, how many bytes they have.
        for place in [HEADER + SYMBOL + 8, headers_at + 2 * SECTION_HEADER + 24, headers_at + 2 * SECTION_HEADER + 32] {
            let mut wild = whole.clone();
            wild[place..place + 8].copy_from_slice(&(u64::MAX - 7).to_le_bytes());
            assert_eq!(names_in(&wild), None, "{place}");
        }
        let mut wild = whole;
        wild[..HEADER].copy_from_slice(&header(u64::MAX - 2 * SECTION_HEADER as u64 - 7));
        assert_eq!(names_in(&wild), None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "starts a program")]
    fn binutils_read_the_names_that_fake_pcs_stand_for() {
        assert_eq!(bytes(&Snapshot::default(), &[]), None);
        assert_eq!(bytes(&holding(&[(0, "", "[unnamed Java frame]")]), &[]), None);
        let recycled = java_pc::number(4, 70_000).unwrap();
        let older =
            holding(&[(0, "java/util/zip/Deflater", "<init>"), (3, "org/x/A$B", "run"), (4, "", "[compiling a.b]")]);
        let snapshot = holding(&[(0, "java/util/zip/Deflater", "<init>"), (recycled, "org/x/Later", "go")]);
        let older = bytes(&older, b"no side-car").unwrap();
        let path = std::env::temp_dir().join(format!("heaptap-sidecar-{}.so", std::process::id()));
        std::fs::write(&path, bytes(&snapshot, &older).unwrap()).unwrap();
        let offset = |method, line| format!("{:#x}", java_pc::pc(method, line) - java_pc::BASE - 1);
        let addresses = [offset(0, 0), offset(3, 700), offset(4, 65_535), offset(recycled, 1)];
        let output = Command::new("addr2line").arg("-fe").arg(&path).args(addresses).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let found: Vec<&str> = text.lines().step_by(2).collect();
        assert_eq!(found, ["java.util.zip.Deflater.{init}", "org.x.A$B.run", "[compiling_a.b]", "org.x.Later.go"]);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes under Miri")]
    fn a_side_car_that_is_cut_anywhere_adds_nothing_wrong() {
        let whole = bytes(&holding(&[(1, "a/B", "c"), (9, "d/E", "f")]), &[]).unwrap();
        let both = BTreeMap::from([(1, b"a.B.c".to_vec()), (9, b"d.E.f".to_vec())]);
        assert_eq!(names_in(&whole), Some(both));
        for length in 0..whole.len() {
            assert!(names_in(&whole[..length]).is_none_or(|names| names.len() == 2), "{length}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes under Miri")]
    fn the_file_does_not_grow_for_ever() {
        let mut file = Vec::new();
        for life in 1..=4 {
            let names: Vec<_> = (0..60_000).map(|record| (java_pc::number(record, life).unwrap(), "a", "b")).collect();
            file = bytes(&holding(&names), &file).unwrap();
        }
        let names = names_in(&file).unwrap();
        assert_eq!(names.len(), MOST_NAMES);
        assert!((0..60_000).all(|record| names.contains_key(&java_pc::number(record, 4).unwrap())));
    }
}
