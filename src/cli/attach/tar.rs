//! The archive format of POSIX (ustar), as much as a pack needs: regular files, written and read in
//! one pass. Nothing is ever extracted: a name in an archive is only a name.

use std::io::{self, Read, Write};
use std::path::{Component, Path};

const BLOCK: usize = 512;
/// Octal digits of the size field: 8 GiB.
const MOST_BYTES: u64 = 0o77_777_777_777;

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name there.
    pub(crate) name: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// Seconds since 1970.
    pub(crate) modified: u64,
    /// A file, not a link, a folder or a device.
    pub(crate) is_file: bool,
}

impl Entry {
    /// Whether its name is that of a file below the archive's own folder: not a link, nor `/etc/x` or `../x`.
    pub(crate) fn is_inside(&self) -> bool {
        let mut parts = Path::new(&self.name).components();
        self.is_file && !self.name.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
    }
}

/// Writes one file; `content` must be as long as the entry says.
pub(crate) fn write(entry: &Entry, content: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&header(entry)?)?;
    let copied = io::copy(&mut content.take(entry.bytes), out)?;
    // A file that shrank meanwhile: the archive stays readable.
    io::copy(&mut io::repeat(b'\n').take(entry.bytes - copied), out)?;
    let padding = (BLOCK - (entry.bytes % BLOCK as u64) as usize) % BLOCK;
    out.write_all(&[0; BLOCK][..padding])
}

/// Writes the end.
pub(crate) fn finish(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

/// Hands each file to `each`, in order; stops at the end mark, or where the archive is damaged (an error).
pub(crate) fn read(
    input: &mut dyn Read,
    each: &mut dyn FnMut(&Entry, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        let mut block = [0; BLOCK];
        input.read_exact(&mut block)?;
        if block == [0; BLOCK] {
            return Ok(());
        }
        let entry = parse(&block).ok_or_else(|| io::Error::other("the archive is damaged"))?;
        let mut content = (&mut *input).take(entry.bytes);
        each(&entry, &mut content)?;
        let left = content.limit() + (BLOCK as u64 - entry.bytes % BLOCK as u64) % BLOCK as u64;
        let skipped = io::copy(&mut (&mut *input).take(left), &mut io::sink())?;
        if skipped < left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn header(entry: &Entry) -> io::Result<[u8; BLOCK]> {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    if entry.name.len() > 100 || entry.bytes > MOST_BYTES {
        return Err(io::Error::other(format!("{} has too long a name, or more than 8 GiB", entry.name)));
    }
    put(0, entry.name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", entry.bytes).as_bytes());
    put(136, format!("{:011o}\0", entry.modified.min(MOST_BYTES)).as_bytes());
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(header)
}

fn parse(header: &[u8; BLOCK]) -> Option<Entry> {
    let text = |range: std::ops::Range<usize>| {
        let field = header.get(range)?;
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
        std::str::from_utf8(field.get(..end)?).ok().map(str::trim)
    };
    let number = |range| u64::from_str_radix(text(range)?, 8).ok();
    let spaces = 8 * u32::from(b' ');
    let others = header.iter().enumerate().filter(|(at, _)| !(148..156).contains(at));
    let sum = others.map(|(_, &byte)| u32::from(byte)).sum::<u32>() + spaces;
    let is_whole = number(148..156) == Some(u64::from(sum)) && header.get(257..262) == Some(b"ustar");
    let (bytes, modified) = (number(124..136)?, number(136..148)?);
    let is_file = matches!(header.get(156), Some(b'0' | 0));
    let entry = Entry { name: text(0..100)?.to_owned(), bytes, modified, is_file };
    is_whole.then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut out = Vec::new();
        for (name, text) in [("a", "alpha"), ("dumps/b.heap", ""), ("c", &"x".repeat(1024))] {
            let entry = Entry { name: name.into(), bytes: text.len() as u64, modified: 1_795_644_062, is_file: true };
            write(&entry, &mut text.as_bytes(), &mut out).unwrap();
        }
        finish(&mut out).unwrap();
        out
    }

    fn list(mut bytes: &[u8]) -> (Vec<(String, usize)>, io::Result<()>) {
        let mut found = Vec::new();
        let ended = read(&mut bytes, &mut |entry, content| {
            let mut text = Vec::new();
            content.read_to_end(&mut text)?;
            found.push((entry.name.clone(), text.len()));
            Ok(())
        });
        (found, ended)
    }

    #[test]
    fn files_come_out_as_they_went_in() {
        let (found, ended) = list(&archive());
        ended.unwrap();
        assert_eq!(found, [("a".into(), 5), ("dumps/b.heap".into(), 0), ("c".into(), 1024)]);
    }

    #[test]
    fn stock_tar_reads_it() {
        let path = std::env::temp_dir().join(format!("heaptap-test-{}.tar", std::process::id()));
        std::fs::write(&path, archive()).unwrap();
        let listed = std::process::Command::new("tar").arg("-tf").arg(&path).output().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(String::from_utf8_lossy(&listed.stdout), "a\ndumps/b.heap\nc\n");
    }

    #[test]
    fn no_damage_panics_and_what_is_whole_is_read() {
        let whole = archive();
        assert_eq!(list(&whole[..700]).0, [("a".to_owned(), 5)]);
        for at in 0..whole.len() {
            for flip in [0x01, 0x10, 0x80] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                assert!(list(&bytes).0.len() <= 3, "{at}");
            }
        }
        for length in (0..whole.len() - 1024).step_by(37) {
            assert!(list(&whole[..length]).1.is_err(), "{length}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let entry = Entry { name: "x".repeat(101), bytes: 0, modified: 0, is_file: true };
        assert!(write(&entry, &mut io::empty(), &mut Vec::new()).is_err());
    }
}
