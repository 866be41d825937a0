//! Names for groups of mapped files: `[/data/indices/*/0/index/_*.cfs]` stands for thousands of files of an index.
//!
//! What tells one file of a group from the next is replaced by a star: numbers, hashes, UUIDs, the names of Lucene's
//! segments. The name is a pseudo frame of the stacks that map such files, above the call. Allocates nothing: the tap
//! makes it while a mapping is recorded.

/// Longest name.
pub(crate) const MOST_BYTES: usize = 256;
/// The name of all groups beyond those that are kept apart.
pub(crate) const OTHERS: &[u8] = b"[other files]";
/// A run of letters and digits of this length, with both, is a hash; of hexadecimal digits half of it.
const HASH: usize = 16;
/// A UUID has so many characters.
const UUID: usize = 36;

/// Whether a frame's name is that of a group of files.
pub(crate) fn is_group(name: &[u8]) -> bool {
    name.starts_with(b"[/") || name == OTHERS
}

/// The name of the group of a file, written into `place`. `None`: the path is not absolute, so it names no file.
pub(crate) fn name<'a>(path: &[u8], place: &'a mut [u8; MOST_BYTES]) -> Option<&'a [u8]> {
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    if !path.starts_with(b"/") {
        return None;
    }
    let mut text = Text { place, length: 0 };
    text.add(b"[");
    for component in path.split(|&byte| byte == b'/').skip(1) {
        text.add(b"/");
        text.component(component);
    }
    text.close()
}

/// A text of bounded length.
struct Text<'a> {
    place: &'a mut [u8; MOST_BYTES],
    length: usize,
}

impl<'a> Text<'a> {
    fn add(&mut self, bytes: &[u8]) {
        // The bracket at the end has its place.
        let room = self.place.get_mut(self.length..MOST_BYTES - 1).unwrap_or_default();
        self.length += room.iter_mut().zip(bytes).map(|(to, byte)| *to = *byte).count();
    }

    fn close(self) -> Option<&'a [u8]> {
        *self.place.get_mut(self.length)? = b']';
        self.place.get(..=self.length)
    }

    /// A folder or file, by its runs of letters and digits.
    fn component(&mut self, component: &[u8]) {
        if is_key(component) {
            return self.add(b"*");
        }
        let mut rest = component;
        // `_1a.cfs`: the segments of an index are counted with all digits and letters.
        if let Some(segment) = rest.strip_prefix(b"_") {
            self.add(b"_");
            let (number, behind) =
                segment.split_at(run(segment, |byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()));
            if number.is_empty() || !matches!(behind.first(), Some(b'.' | b'_')) {
                rest = segment;
            } else {
                self.add(b"*");
                rest = behind;
            }
        }
        while !rest.is_empty() {
            let (word, behind) = rest.split_at(run(rest, |byte| byte.is_ascii_alphanumeric()));
            if is_uuid(rest) {
                self.add(b"*");
                rest = rest.get(UUID..).unwrap_or_default();
                continue;
            }
            if is_hash(word) {
                self.add(b"*")
            } else {
                self.without_numbers(word)
            }
            let (between, behind) = behind.split_at(run(behind, |byte| !byte.is_ascii_alphanumeric()));
            self.add(between);
            rest = behind;
        }
    }

    fn without_numbers(&mut self, word: &[u8]) {
        let mut rest = word;
        while !rest.is_empty() {
            let (letters, behind) = rest.split_at(run(rest, |byte| !byte.is_ascii_digit()));
            self.add(letters);
            let (number, behind) = behind.split_at(run(behind, |byte| byte.is_ascii_digit()));
            if !number.is_empty() {
                self.add(b"*");
            }
            rest = behind;
        }
    }
}

/// How many bytes from the first on are of a kind.
fn run(bytes: &[u8], is_of: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&byte| !is_of(byte)).unwrap_or(bytes.len())
}

fn is_hash(word: &[u8]) -> bool {
    let has = |is_of: fn(&u8) -> bool| word.iter().any(is_of);
    let is_hexadecimal = word.iter().all(u8::is_ascii_hexdigit);
    let is_long = word.len() >= if is_hexadecimal { HASH / 2 } else { HASH };
    is_long && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
}

fn is_uuid(text: &[u8]) -> bool {
    let is_right = |(at, byte): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.get(..UUID).is_some_and(|text| text.iter().enumerate().all(is_right))
        && !text.get(UUID).is_some_and(u8::is_ascii_alphanumeric)
}

/// A random key in letters, digits, `-` and `_` (Elasticsearch names the folders of indices so): no word has capitals,
/// small letters and digits in 20 characters and more without a dot.
fn is_key(component: &[u8]) -> bool {
    let has = |is_of: fn(&u8) -> bool| component.iter().any(is_of);
    let is_plain = component.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let is_mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    component.len() >= 20 && is_plain && is_mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str) -> String {
        let mut place = [0; MOST_BYTES];
        let name = name(path.as_bytes(), &mut place).unwrap_or_default();
        assert!(name.is_empty() || is_group(name));
        String::from_utf8_lossy(name).into_owned()
    }

    #[test]
    fn what_tells_files_of_a_group_apart_is_a_star() {
        let cases = [
            ("/es/nodes/0/indices/aX3_kQ9tR0mZyB-c1Dq2Fw/0/index/_1a.cfs", "[/es/nodes/*/indices/*/*/index/_*.cfs]"),
            ("/es/index/_zz_Lucene90_0.dvd", "[/es/index/_*_Lucene*_*.dvd]"),
            ("/kafka/orders-12/00000000000000001234.index (deleted)", "[/kafka/orders-*/*.index]"),
            ("/var/db/000123.sst", "[/var/db/*.sst]"),
            ("/cas/data/users-5f1e0a70c2b111ee/nb-17-big-Data.db", "[/cas/data/users-*/nb-*-big-Data.db]"),
            ("/t/123e4567-e89b-12d3-a456-426614174000.bin", "[/t/*.bin]"),
            ("/t/_private/_x", "[/t/_private/_x]"),
            ("/usr/lib/jvm/java-17/lib/server/classes.jsa", "[/usr/lib/jvm/java-*/lib/server/classes.jsa]"),
            ("/deadbeef/facade", "[/deadbeef/facade]"),
        ];
        cases.iter().for_each(|(path, group)| assert_eq!(named(path), *group));
        let groups =
            (0..3000).map(|n| named(&format!("/es/index/_{n:x}.cfs"))).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(groups.len(), 1);
    }

    #[test]
    fn what_is_no_file_has_no_name_and_long_ones_are_cut() {
        assert_eq!([named("pipe:[12]"), named("memfd:x"), named("")], ["", "", ""]);
        let long = named(&"/ä".repeat(300));
        assert!(long.len() <= MOST_BYTES + 2 && long.ends_with(']'), "{long}");
    }
}
