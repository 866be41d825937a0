//! Copies a region or a mirror out of its file: the header, and the parts that hold anything.
//!
//! Nearly all of a region is holes that were never written, and reading them would take longest. This file says which
//! parts to read, the caller reads them, and this file checks them.

use super::layout::{HEADER_WORDS, Head, Layout, MIRROR, SectionId};
use super::mirror;
use super::words::Words;
use crate::wire::word;
use std::io;
use std::ops::Range;

/// Bytes that are read at a time: a million samples are 64 MiB, and each call costs as much as to copy a page.
const PIECE: usize = 64 << 10;

/// The words of a file of that many bytes, of which at most `most` are read: a file that claims more is made up.
/// `read` fills the buffer with what lies at an offset of it.
pub(crate) fn words(
    bytes: u64,
    most: u64,
    read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<Vec<u64>> {
    let count = usize::try_from(bytes).map_or(0, word::whole_in);
    // A length beyond all memory is an error, not an abort.
    Vec::<u64>::new().try_reserve_exact(count).map_err(io::Error::other)?;
    let mut words = vec![0; count];
    let head = HEADER_WORDS.min(words.len());
    fill(&mut words, 0..head, read)?;
    let layout = Layout::read(words.as_slice()).map_err(io::Error::other)?;
    if words.as_slice().word(Head::Kind as usize) == MIRROR {
        if bytes > most {
            return Err(io::Error::other("a mirror of that size is none of ours"));
        }
        let all = head..words.len();
        fill(&mut words, all, read)?;
        mirror::check(&words).map_err(io::Error::other)?;
        return Ok(words);
    }
    let used = SectionId::ALL.map(|id| layout.used(words.as_slice(), id));
    if used.iter().map(|range| word::offset_of(range.len())).sum::<u64>() > most {
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
    let mut bytes = vec![0; PIECE.min(word::bytes_of(range.len()))];
    let start = range.start;
    let Some(place) = words.get_mut(range) else { return Ok(()) };
    for (n, piece) in place.chunks_mut(word::whole_in(PIECE)).enumerate() {
        let Some(bytes) = bytes.get_mut(..word::bytes_of(piece.len())) else { break };
        read(word::offset_of(start) + (n * PIECE) as u64, bytes)?;
        for (word, chunk) in piece.iter_mut().zip(bytes.chunks_exact(word::BYTES)) {
            *word = chunk.try_into().map_or(0, u64::from_ne_bytes);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::layout::{MAGIC, MIN_BYTES};
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "minutes under Miri")]
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
