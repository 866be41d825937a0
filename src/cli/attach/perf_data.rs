//! What a JVM says of itself in the file that it keeps mapped for `jstat`: `hsperfdata_<user>/<pid>`.
//!
//! Format: HotSpot's `share/runtime/perfMemory.hpp` (version 2). Read as a file, without the JVM's help; no counter is
//! trusted further than to be a number.

use crate::cli::analyze::rss::JvmSizes;

const MAGIC: [u8; 4] = [0xca, 0xfe, 0xc0, 0xc0];
/// Entries that are looked at; a JVM has some hundreds.
const MOST_ENTRIES: u32 = 10_000;

/// The sizes that tell mappings apart.
pub(super) fn sizes(file: &[u8]) -> JvmSizes {
    let young = counter(file, "sun.gc.generation.0.maxCapacity").unwrap_or(0);
    let old = counter(file, "sun.gc.generation.1.maxCapacity").unwrap_or(0);
    // Serial and parallel collectors divide the heap; G1 gives all of it for either.
    let mut heap = vec![young.max(old), young.saturating_add(old)];
    heap.retain(|size| *size > 0);
    JvmSizes { heap, metaspace: counter(file, "sun.gc.metaspace.used") }
}

/// A counter of type long.
fn counter(file: &[u8], name: &str) -> Option<u64> {
    let reader = Reader { file, is_little: *file.get(4)? == 1 };
    if file.get(..4)? != MAGIC {
        return None;
    }
    let (mut at, entries) = (reader.u32(24)? as usize, reader.u32(28)?);
    for _ in 0..entries.min(MOST_ENTRIES) {
        let length = reader.u32(at)? as usize;
        let name_at = at.checked_add(reader.u32(at + 4)? as usize)?;
        let is_long = *file.get(at + 12)? == b'J' && reader.u32(at + 8)? == 0;
        let bytes = file.get(name_at..)?;
        if is_long && bytes.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0)) {
            return reader.u64(at.checked_add(reader.u32(at + 16)? as usize)?);
        }
        at = at.checked_add(length.max(20))?;
    }
    None
}

struct Reader<'a> {
    file: &'a [u8],
    is_little: bool,
}

impl Reader<'_> {
    fn u32(&self, at: usize) -> Option<u32> {
        let bytes: [u8; 4] = self.file.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn u64(&self, at: usize) -> Option<u64> {
        let bytes: [u8; 8] = self.file.get(at..at.checked_add(8)?)?.try_into().ok()?;
        Some(if self.is_little { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with these counters.
    fn file(counters: &[(&str, u64)]) -> Vec<u8> {
        let mut file = [&MAGIC[..], &[1, 2, 0, 1], &[0; 16], &32u32.to_le_bytes()].concat();
        file.extend((counters.len() as u32).to_le_bytes());
        for (name, value) in counters {
            let padded = (name.len() + 1).next_multiple_of(8);
            let length = 20 + padded + 4 + 8;
            for word in [length as u32, 20, 0] {
                file.extend(word.to_le_bytes());
            }
            file.extend([b'J', 0, 2, 3]);
            file.extend((24 + padded as u32).to_le_bytes());
            file.extend(name.bytes());
            file.resize(file.len() + padded - name.len() + 4, 0);
            file.extend(value.to_le_bytes());
        }
        file
    }

    #[test]
    fn sizes_of_both_kinds_of_collectors_are_read() {
        let divided = file(&[
            ("java.cls.loadedClasses", 7),
            ("sun.gc.generation.0.maxCapacity", 100),
            ("sun.gc.generation.1.maxCapacity", 200),
            ("sun.gc.metaspace.used", 5),
        ]);
        assert_eq!(sizes(&divided), JvmSizes { heap: vec![200, 300], metaspace: Some(5) });
        assert_eq!(sizes(&file(&[])), JvmSizes::default());
    }

    #[test]
    fn damage_is_no_panic() {
        let sound = file(&[("sun.gc.generation.0.maxCapacity", 100), ("sun.gc.metaspace.used", 5)]);
        for at in 0..sound.len() {
            let _ = sizes(&sound[..at]);
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = sound.clone();
                bytes[at] ^= flip;
                let _ = sizes(&bytes);
            }
        }
    }
}
