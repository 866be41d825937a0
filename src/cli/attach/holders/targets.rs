//! What a scan looks for: words that point into one of many blocks.
//!
//! A word is compared with the range of all of them first, four words' worth of instructions and no memory; sampled
//! blocks lie in addresses of their own, so that this is nearly all there is to do. What is within asks a bitmap of the
//! pages that the blocks lie in, and then the sorted list.

use crate::cli::analyze::holders::graph::NodeId;

/// Bits of the bitmap.
const BITS: u64 = 1 << 20;
/// Pages of all blocks together that the bitmap takes at most; of more it tells larger pieces apart.
const MOST_SET: u64 = BITS / 8;
/// Words that are compared in one go.
const STEP: usize = 16;

/// The blocks.
pub(super) struct Targets {
    /// The lowest first address, and from there to the highest last one.
    low: u64,
    span: u64,
    shift: u32,
    bits: Vec<u64>,
    /// First address, last address and number of each, sorted; they do not overlap.
    blocks: Vec<(u64, u64, NodeId)>,
}

impl Targets {
    /// Of blocks: their first and last addresses.
    pub(super) fn of(mut blocks: Vec<(u64, u64, NodeId)>) -> Targets {
        blocks.sort_unstable();
        let low = blocks.first().map_or(0, |block| block.0);
        let high = blocks.iter().map(|block| block.1).max().unwrap_or(0);
        let pieces =
            |shift: u32| -> u64 { blocks.iter().map(|(first, last, _)| (last >> shift) - (first >> shift) + 1).sum() };
        let shift = (12..40).find(|shift| pieces(*shift) <= MOST_SET.max(blocks.len() as u64 * 2)).unwrap_or(40);
        let mut bits = vec![0u64; (BITS / 64) as usize];
        for (first, last, _) in &blocks {
            for piece in (first >> shift..=last >> shift).take(BITS as usize) {
                let (word, bit) = place(piece);
                bits.get_mut(word).into_iter().for_each(|word| *word |= bit);
            }
        }
        Targets { low, span: high.saturating_sub(low), shift, bits, blocks }
    }

    /// Tells each word that points into a block: its index, its value, and the block.
    pub(super) fn find(&self, words: &[u64], found: &mut dyn FnMut(usize, u64, NodeId)) {
        if self.blocks.is_empty() {
            return;
        }
        let (low, span) = (self.low, self.span);
        for (step, piece) in words.chunks(STEP).enumerate() {
            let is_any = piece.iter().fold(false, |any, word| any | (word.wrapping_sub(low) <= span));
            if is_any {
                for (index, &word) in piece.iter().enumerate() {
                    if let Some(block) = self.block(word) {
                        found(step * STEP + index, word, block);
                    }
                }
            }
        }
    }

    /// The same of words at any address: `shift` bytes behind each word begins another.
    pub(super) fn find_shifted(&self, words: &[u64], found: &mut dyn FnMut(usize, u32, u64, NodeId)) {
        for shift in 1..8 {
            for (index, pair) in words.windows(2).enumerate() {
                let &[one, next] = pair else { continue };
                let word = one >> (8 * shift) | next << (64 - 8 * shift);
                if let Some(block) = self.block(word) {
                    found(index, shift, word, block);
                }
            }
        }
    }

    /// The block that an address lies in.
    #[inline]
    fn block(&self, address: u64) -> Option<NodeId> {
        if address.wrapping_sub(self.low) > self.span {
            return None;
        }
        let (word, bit) = place(address >> self.shift);
        if self.bits.get(word)? & bit == 0 {
            return None;
        }
        let after = self.blocks.partition_point(|block| block.0 <= address);
        let (_, last, id) = self.blocks.get(after.checked_sub(1)?)?;
        (address <= *last).then_some(*id)
    }
}

#[inline]
fn place(piece: u64) -> (usize, u64) {
    let bit = piece % BITS;
    ((bit / 64) as usize, 1 << (bit % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(targets: &Targets, words: &[u64]) -> Vec<(usize, u64, NodeId)> {
        let mut all = Vec::new();
        targets.find(words, &mut |index, word, block| all.push((index, word, block)));
        all
    }

    #[test]
    fn interior_pointers_and_both_ends_are_found_and_nothing_else() {
        let base = 0x2000_0000_0000;
        let targets = Targets::of(vec![(base + 0x9000, base + 0x9010, 1), (base, base + 64, 0)]);
        let mut words = vec![0u64; 40];
        (words[3], words[17], words[18], words[39]) = (base, base + 64, base + 65, base + 0x9008);
        (words[20], words[21]) = (base + 0x8fff, u64::MAX);
        assert_eq!(found(&targets, &words), [(3, base, 0), (17, base + 64, 0), (39, base + 0x9008, 1)]);
        assert_eq!(found(&Targets::of(vec![]), &words), []);
    }

    #[test]
    fn words_that_are_not_aligned_are_found_by_a_second_look() {
        let base = 0x2345_6789_a000;
        let targets = Targets::of(vec![(base, base + 64, 5)]);
        let word = base + 3;
        let words = [word << 24, word >> 40, 0];
        let mut all = Vec::new();
        targets.find_shifted(&words, &mut |index, shift, value, block| all.push((index, shift, value, block)));
        assert_eq!((found(&targets, &words), all), (vec![], vec![(0, 3, word, 5)]));
    }

    #[test]
    fn huge_blocks_are_told_apart_by_larger_pieces() {
        let base = 1 << 45;
        let targets = Targets::of(vec![(base, base + (64 << 30), 0), (base + (65 << 30), base + (65 << 30) + 9, 1)]);
        assert!(targets.shift > 12);
        assert_eq!(found(&targets, &[base + (33 << 30), base + (65 << 30) + 4]).len(), 2);
    }
}
