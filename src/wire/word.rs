//! Words and bytes: regions, mirrors and control files are arrays of 64-bit words, files count bytes.

/// Bytes of a word.
pub(crate) const BYTES: usize = size_of::<u64>();

/// Bytes of this many words.
pub(crate) const fn bytes_of(words: usize) -> usize {
    words * BYTES
}

/// Offset in a file, in bytes, of the word with this index.
pub(crate) const fn offset_of(index: usize) -> u64 {
    bytes_of(index) as u64
}

/// Whole words that lie in this many bytes.
pub(crate) const fn whole_in(bytes: usize) -> usize {
    bytes / BYTES
}

/// Words that hold this many bytes, the last one perhaps in part.
pub(crate) const fn needed_for(bytes: usize) -> usize {
    bytes.div_ceil(BYTES)
}

/// Byte `n` of a text that lies in words, its first byte lowest in the first word: the word that holds it, and the
/// bits by which it stands left of the word's lowest byte.
pub(crate) const fn place_of(n: usize) -> (usize, u32) {
    (n / BYTES, 8 * (n % BYTES) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_lie_in_their_words() {
        assert_eq!((bytes_of(3), offset_of(3), whole_in(31), needed_for(25)), (24, 24, 3, 4));
        assert_eq!([0, 7, 8, 17].map(place_of), [(0, 0), (0, 56), (1, 0), (2, 8)]);
    }
}
