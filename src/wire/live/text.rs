//! The text of a region: code mappings and metadata of a dump, kept ready for the readers of the region.
//!
//! Code mappings (lines of `/proc/<pid>/maps`), an empty line, then `key: value` lines. The section has two
//! halves; the keeper writes the one that is not valid and then makes it valid by one store of the header
//! word `Text`: `generation << 32 | bytes`, where the generation's lowest bit names the half.

use super::layout::{Head, Layout, SectionId};
use super::words::Words;
use crate::wire::word;

/// Text of a region, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text {
    /// Lines of maps, each with its newline.
    pub(crate) maps: Vec<u8>,
    /// Metadata, in order.
    pub(crate) metadata: Vec<(String, String)>,
}

impl Text {
    /// The bytes that stand in the region.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.maps.clone();
        bytes.push(b'\n');
        for (key, value) in &self.metadata {
            bytes.extend_from_slice(format!("{key}: {}\n", value.replace('\n', " ")).as_bytes());
        }
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; what is not of its form is left out.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Text {
        let mut text = Text::default();
        let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
        for line in lines.by_ref().take_while(|line| *line != b"\n") {
            text.maps.extend_from_slice(line);
        }
        for line in lines {
            let line = String::from_utf8_lossy(line.trim_ascii_end());
            if let Some((key, value)) = line.split_once(": ") {
                text.metadata.push((key.into(), value.into()));
            }
        }
        text
    }

    /// The text of a region; empty if none was written yet, or it is being changed too fast.
    pub(crate) fn read(words: &(impl Words + ?Sized), layout: &Layout) -> Text {
        let state = words.word(Head::Text as usize);
        let section = layout.section(SectionId::Text);
        let half = half(state, section.capacity);
        let len = (state as u32 as usize).min(word::bytes_of(section.capacity / 2));
        let start = section.start + half;
        let bytes: Vec<u8> =
            (start..start + word::needed_for(len)).flat_map(|at| words.word(at).to_le_bytes()).collect();
        // Two changes meanwhile, and this half is being written again.
        if words.word_again(Head::Text as usize) >> 32 > (state >> 32) + 1 {
            return Text::default();
        }
        Text::from_bytes(bytes.get(..len).unwrap_or(&[]))
    }
}

/// First word of the half that a state names, within a section of that capacity.
pub(crate) fn half(state: u64, capacity: usize) -> usize {
    if state >> 32 & 1 == 0 { 0 } else { capacity / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_its_bytes() {
        let metadata = vec![("exe".into(), "/bin/a b: c".into()), ("reason".into(), "live".into())];
        let text = Text { maps: b"1-2 r-xp 0 0:0 0 /a\n2-3 r-xp 0 0:0 0 /b\n".to_vec(), metadata };
        assert_eq!(Text::from_bytes(&text.to_bytes()), text);
        assert_eq!(Text::from_bytes(b""), Text::default());
        let garbage = Text::from_bytes(b"\xff\xfe\n\nno colon\na: b");
        assert_eq!(garbage.metadata, [("a".to_owned(), "b".to_owned())]);
    }

    #[test]
    fn no_damage_panics_or_makes_more_of_it() {
        let metadata = vec![("exe".into(), "/bin/a b: c".into()), ("reason".into(), "live".into())];
        let whole = Text { maps: b"1-2 r-xp 0 0:0 0 /a\n2-3 r-xp 0 0:0 0 /b\n".to_vec(), metadata }.to_bytes();
        for at in 0..whole.len() {
            for flip in [0x01, 0x2a, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                let text = Text::from_bytes(&bytes);
                let pairs = text.metadata.iter().map(|(key, value)| key.len() + value.len());
                // Bytes that are no UTF-8 become a mark of three bytes.
                assert!(text.maps.len() + pairs.sum::<usize>() <= 3 * whole.len(), "{at}");
            }
            let cut = Text::from_bytes(&whole[..at]);
            assert!(cut.maps.len() <= at && cut.metadata.len() <= 2, "{at}");
        }
    }
}
