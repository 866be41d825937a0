//! Copies a region or a mirror out of its file: the header, and the parts that hold anything.
//!
//! Nearly all of a region is holes that were never written; reading them would take longest. The caller reads
//! the file, this decides what of it, and checks what came.

use super::layout::{HEADER_WORDS, Layout, SectionId};
use super::mirror;
use std::io;
use std::ops::Range;

/// Bytes that are read at a time.
const PIECE: usize = 4096;

/// The words of a file of that many bytes, of which at most `most` are read: who claims more has made the file up.
/// `read` fills the buffer with what lies at an offset of it.
pub(crate) fn words(
    bytes: u64,
    most: u64,
    read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<Vec<u64>> {
    let mut words = vec![0; usize::try_from(bytes / 8).unwrap_or(0)];
    let head = HEADER_WORDS.min(words.len());
    fill(&mut words, 0..head, read)?;
    let layout = Layout::read(words.as_slice()).map_err(io::Error::other)?;
    if mirror::is_mirror(words.as_slice()) {
        if bytes > most {
            return Err(io::Error::other("a mirror of that size is none of ours"));
        }
        let all = head..words.len();
        fill(&mut words, all, read)?;
        mirror::check(&words).map_err(io::Error::other)?;
        return Ok(words);
    }
    let used = SectionId::ALL.map(|id| layout.used(words.as_slice(), id));
    if used.iter().map(|range| range.len() as u64 * 8).sum::<u64>() > most {
        return Err(io::Error::other("damaged region: it claims to hold more than there is"));
    }
    for range in used {
        fill(&mut words, range, read)?;
    }
    Ok(words)
}

fn fill(
    words: &mut [u64],
    range: Range<usize>,
    read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut bytes = [0; PIECE];
    let start = range.start;
    let Some(place) = words.get_mut(range) else { return Ok(()) };
    for (n, piece) in place.chunks_mut(PIECE / 8).enumerate() {
        let Some(bytes) = bytes.get_mut(..piece.len() * 8) else { break };
        read((start * 8 + n * PIECE) as u64, bytes)?;
        for (word, chunk) in piece.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = chunk.try_into().map_or(0, u64::from_ne_bytes);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::layout::{Head, MAGIC, MIN_BYTES};
    use super::*;

    #[test]
    fn only_what_is_used_is_read() {
        let layout = Layout::for_bytes(MIN_BYTES);
        let mut sound = vec![0u64; layout.words()];
        sound[Head::Magic as usize] = MAGIC;
        layout.header().for_each(|(index, value)| sound[index] = value);
        sound[Layout::used_word(SectionId::Samples)] = 3;
        let samples = layout.section(SectionId::Samples);
        sound[samples.start + 23] = 42;
        sound[samples.start + 24] = 43;
        let file: Vec<u8> = sound.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut touched = 0;
        let mut read = |at: u64, bytes: &mut [u8]| {
            touched += bytes.len();
            let at = at as usize;
            bytes.copy_from_slice(file.get(at..at + bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        };
        let bytes = file.len() as u64;
        let copy = words(bytes, bytes, &mut read).unwrap();
        assert_eq!((copy[samples.start + 23], copy[samples.start + 24]), (42, 0));
        assert!(words(bytes, 10_000, &mut read).is_err());
        assert!(touched < file.len() / 4, "{touched} of {}", file.len());
        for cut in [0, 7, 4096, 8192] {
            assert!(words(cut, cut, &mut |_, _| Ok(())).is_err());
        }
    }
}
