//! A pack: one file with all that it takes to read a profile on another machine.
//!
//! A gzipped tar archive, in this order:
//!
//!     heaptap-pack        `heaptap-pack 1`, then `key: value` lines: who packed it, and when
//!     symbols             names of every place in the dumps (the form of `symbolize::recorded`)
//!     dumps/*.heap        the dumps of one process, byte by byte as they were
//!     java/*.java.so      the side-car that lets stock jeprof print Java names, if there is one
//!
//! A redacted one says `redacted: yes` in the first file; its dumps, their names and `symbols` went through
//! [`Redaction`].
//!
//! So `tar -xzf` gives a stock jeprof what it needs, and heaptap reads the pack as it is.

use super::redacted_dump;
use super::redaction::Redaction;
use super::tar::{self, Entry};
use crate::cli::open;
use crate::cli::symbolize::recorded::Recorded;
use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Name of the first file, and its first word.
const MANIFEST: &str = "heaptap-pack";
const VERSION: u32 = 1;
const SYMBOLS: &str = "symbols";
/// Most bytes of names that are read: a hostile pack cannot fill the memory.
const MOST_SYMBOLS: u64 = 1 << 30;

/// How many times its size a gzipped file may unpack to.
const MOST_UNPACKED: u64 = 100;
/// Beside that much, which costs nobody anything.
const UNPACKED_FREE: u64 = 16 << 20;

/// What goes into a pack.
pub(crate) struct Contents<'a> {
    /// Dump files.
    pub(crate) dumps: &'a [PathBuf],
    /// Side-cars.
    pub(crate) sidecars: &'a [(PathBuf, File)],
    /// Names of all places.
    pub(crate) symbols: &'a Recorded,
}

/// Writes a pack, with a redaction one that tells nothing of machine and user.
pub(crate) fn write(contents: &Contents<'_>, redaction: Option<&mut Redaction>, out: &mut dyn Write) -> io::Result<()> {
    let mut gzip = GzEncoder::new(out, Compression::default());
    match redaction {
        None => write_plain(contents, &mut gzip)?,
        Some(redaction) => write_redacted(contents, redaction, &mut gzip)?,
    }
    tar::finish(&mut gzip)?;
    gzip.finish()?;
    Ok(())
}

fn write_plain(contents: &Contents<'_>, out: &mut dyn Write) -> io::Result<()> {
    write_head(contents.symbols, "", out)?;
    for path in contents.dumps {
        let file = open::regular(path).map_err(|error| of_file(path, &error))?;
        write_file(&name_in("dumps", path), path, &file, out)?;
    }
    for (path, file) in contents.sidecars {
        write_file(&name_in("java", path), path, file, out)?;
    }
    Ok(())
}

fn write_redacted(contents: &Contents<'_>, redaction: &mut Redaction, out: &mut dyn Write) -> io::Result<()> {
    let symbols = contents.symbols.renamed(&mut |text| redaction.text(text));
    write_head(&symbols, "redacted: yes\n", out)?;
    let mut names = HashSet::new();
    for (number, path) in contents.dumps.iter().enumerate() {
        let (text, modified) = redacted(path, redaction).map_err(|error| of_file(path, &error))?;
        let mut name = Redaction::dump_name(path, number);
        if !names.insert(name.clone()) {
            // Of another prefix.
            name = format!("dump-{number}.heap");
        }
        let entry = entry(format!("dumps/{name}"), text.len() as u64, modified);
        tar::write(&entry, &mut text.as_slice(), out)?;
    }
    for (path, file) in contents.sidecars {
        let name = redaction.path(&path.to_string_lossy());
        write_file(&name_in("java", Path::new(&name)), path, file, out)?;
    }
    Ok(())
}

/// A dump's text, and when it was written.
fn redacted(path: &Path, redaction: &mut Redaction) -> io::Result<(Vec<u8>, SystemTime)> {
    let file = open::regular(path)?;
    let modified = file.metadata()?.modified().unwrap_or(UNIX_EPOCH);
    match open(Box::new(BufReader::with_capacity(1 << 18, file)))? {
        Input::Dump(mut text) => Ok((redacted_dump::text(&mut text, redaction)?, modified)),
        Input::Pack(_) => Err(io::Error::other("it is a pack, no dump")),
    }
}

fn write_head(symbols: &Recorded, more: &str, out: &mut dyn Write) -> io::Result<()> {
    let now = SystemTime::now();
    let manifest = format!("{MANIFEST} {VERSION}\nwritten_by: heaptap {}\n{more}", env!("CARGO_PKG_VERSION"));
    let mut text = Vec::new();
    symbols.write(&mut text)?;
    for (name, text) in [(MANIFEST, manifest.as_bytes()), (SYMBOLS, &text)] {
        tar::write(&entry(name.to_owned(), text.len() as u64, now), &mut { text }, out)?;
    }
    Ok(())
}

fn of_file(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn write_file(name: &str, path: &Path, mut file: &File, out: &mut dyn Write) -> io::Result<()> {
    let meta = file.metadata().map_err(|error| of_file(path, &error))?;
    let entry = entry(name.to_owned(), meta.len(), meta.modified().unwrap_or(UNIX_EPOCH));
    tar::write(&entry, &mut file, out).map_err(|error| of_file(path, &error))
}

fn entry(name: String, bytes: u64, modified: SystemTime) -> Entry {
    let modified = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Entry { name, bytes, modified, is_file: true }
}

/// `dumps/` and the file's name; of a very long one the end, which tells process and number.
fn name_in(folder: &str, path: &Path) -> String {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let most = 100 - folder.len() - 1;
    let from = (name.len().saturating_sub(most)..=name.len()).find(|&at| name.is_char_boundary(at)).unwrap_or(0);
    format!("{folder}/{}", name.get(from..).unwrap_or(""))
}

/// What a file that may be packed is.
pub(crate) enum Input {
    /// A dump, perhaps after decompression.
    Dump(Box<dyn BufRead>),
    /// A pack; its bytes after decompression.
    Pack(Box<dyn BufRead>),
}

/// Looks at the beginning of an input.
pub(crate) fn open(mut input: Box<dyn BufRead>) -> io::Result<Input> {
    if !input.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        return Ok(Input::Dump(input));
    }
    let mut plain: Box<dyn BufRead> = Box::new(BufReader::with_capacity(1 << 18, Unpacked::new(input)));
    let is_pack = plain.fill_buf()?.starts_with(b"heaptap-pack\0");
    Ok(if is_pack { Input::Pack(plain) } else { Input::Dump(plain) })
}

/// A gzipped file's content. Text packs to a tenth; what grows a thousandfold was made to fill a memory.
struct Unpacked {
    gzip: GzDecoder<Counted>,
    bytes: u64,
}

impl Unpacked {
    fn new(input: Box<dyn BufRead>) -> Unpacked {
        Unpacked { gzip: GzDecoder::new(Counted { input, bytes: 0 }), bytes: 0 }
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.gzip.read(buffer)?;
        self.bytes += read as u64;
        if self.bytes > UNPACKED_FREE + self.gzip.get_ref().bytes.saturating_mul(MOST_UNPACKED) {
            return Err(io::Error::other(format!("it unpacks to more than {MOST_UNPACKED} times its size")));
        }
        Ok(read)
    }
}

/// How much was read.
struct Counted {
    input: Box<dyn BufRead>,
    bytes: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.input.consume(bytes);
    }
}

/// What is done with a dump of a pack: its name, its time, its text.
pub(crate) type EachDump<'a> = dyn FnMut(&str, Option<SystemTime>, &mut dyn BufRead) + 'a;

/// Hands each dump of a pack to `each`: its name, its time, its text. The names of places are added to
/// `recorded`. At an error, both have what came before it.
pub(crate) fn read(input: &mut dyn Read, recorded: &mut Recorded, each: &mut EachDump<'_>) -> Result<()> {
    let (mut newer, mut strange) = (None, 0);
    tar::read(input, &mut |entry, content| {
        match entry.name.as_str() {
            _ if !entry.is_inside() => strange += 1,
            MANIFEST => newer = version(content)?.filter(|version| *version > VERSION),
            SYMBOLS => recorded.extend(Recorded::read(BufReader::new(content.take(MOST_SYMBOLS)))?),
            name if name.ends_with(".heap") => {
                let time = UNIX_EPOCH.checked_add(Duration::from_secs(entry.modified));
                each(name, time, &mut BufReader::with_capacity(1 << 16, content));
            }
            _ => {}
        }
        Ok(())
    })
    // To the end, where gzip's check sum stands.
    .and_then(|()| io::copy(&mut input.take(1 << 20), &mut io::sink()).map(drop))
    .context("a damaged pack: what came before the damage is used")?;
    if let Some(version) = newer {
        bail!("a pack of version {version}: this heaptap reads version {VERSION} (a newer heaptap reads it)");
    }
    if strange > 0 {
        bail!("{strange} of its entries are no files in it (links, paths that lead out of it): not looked at");
    }
    Ok(())
}

fn version(content: &mut dyn Read) -> io::Result<Option<u32>> {
    let mut text = String::new();
    content.take(4096).read_to_string(&mut text)?;
    Ok(text.strip_prefix(MANIFEST).and_then(|rest| rest.lines().next()?.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::heap_v2;

    fn packed() -> Vec<u8> {
        let dump = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dumps/small.heap");
        let symbols = Recorded::read(&b"module\t-\tsymbol table\t/a\nplace\t1\nframe\t0\tn\tmain\t\t\n"[..]).unwrap();
        let mut pack = Vec::new();
        write(&Contents { dumps: &[dump], sidecars: &[], symbols: &symbols }, None, &mut pack).unwrap();
        pack
    }

    /// Names of dumps and bytes in them, and whether names were found.
    fn unpacked(pack: &[u8]) -> (Vec<(String, f64)>, Option<Recorded>) {
        let (mut found, mut recorded) = (Vec::new(), Recorded::default());
        let input = open(Box::new(io::Cursor::new(pack.to_vec())));
        let Ok(Input::Pack(mut input)) = input else { return (found, None) };
        let read = read(&mut input, &mut recorded, &mut |name, _, text| {
            if let Ok(profile) = heap_v2::parse(text) {
                found.push((name.to_owned(), profile.total().bytes));
            }
        });
        (found, read.ok().map(|()| recorded))
    }

    #[test]
    fn a_pack_gives_back_its_dumps_and_names() {
        let (found, recorded) = unpacked(&packed());
        let bytes = heap_v2::parse(&include_bytes!("../../../tests/dumps/small.heap")[..]).unwrap().total().bytes;
        assert_eq!(found, [("dumps/small.heap".to_owned(), bytes)]);
        assert!(recorded.unwrap().module("/a", None).is_some());
    }

    #[test]
    fn no_damage_panics() {
        let whole = packed();
        let mut random = 7u64;
        for _ in 0..2000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut bytes = whole.clone();
            bytes[(random >> 33) as usize % whole.len()] ^= (random >> 20) as u8 | 1;
            unpacked(&bytes);
        }
        for length in (0..whole.len()).step_by(7) {
            assert!(unpacked(&whole[..length]).1.is_none(), "{length}");
        }
    }

    #[test]
    fn a_newer_pack_is_refused_by_its_version() {
        let mut plain = Vec::new();
        GzDecoder::new(packed().as_slice()).read_to_end(&mut plain).unwrap();
        let at = plain.windows(14).position(|window| window == b"heaptap-pack 1").unwrap();
        plain[at + 13] = b'9';
        let error = read(&mut plain.as_slice(), &mut Recorded::default(), &mut |_, _, _| {}).unwrap_err().to_string();
        assert!(error.contains("version 9"), "{error}");
    }

    #[test]
    fn long_names_keep_their_end() {
        let path = PathBuf::from(format!("/x/{}.7.0.f.heap", "ü".repeat(99)));
        let name = name_in("dumps", &path);
        assert!(name.len() <= 100 && name.ends_with("ü.7.0.f.heap"), "{name}");
    }
}
