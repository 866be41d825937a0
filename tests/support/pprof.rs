//! A strict reader of pprof files: the rules of the strictest collector (Parca's validator) and the names that
//! Pyroscope and Parca file as memory. Written from the format's description, down to the varints.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A value on the wire.
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// One sample: location ids, values, and its labels' keys.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Leaf first.
    pub(crate) locations: Vec<u64>,
    /// One a sample type.
    pub(crate) values: Vec<u64>,
}

/// A profile that keeps all rules.
#[derive(Debug, Default)]
pub(crate) struct Pprof {
    /// (type, unit), in order.
    pub(crate) sample_types: Vec<(String, String)>,
    /// All samples.
    pub(crate) samples: Vec<Sample>,
    /// Names of the functions of each location, innermost first.
    pub(crate) names: BTreeMap<u64, Vec<String>>,
    /// Nanoseconds since 1970.
    pub(crate) time: u64,
    /// Length before compression.
    pub(crate) bytes: usize,
}

/// Fields of a message, in order.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Wire<'_>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => Wire::Number(varint(&mut bytes)),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (head, rest) = bytes.split_at(length);
                bytes = rest;
                Wire::Bytes(head)
            }
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, value));
    }
    fields
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a varint ends");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
    }
    panic!("a varint of more than ten bytes")
}

/// The numbers and the messages of a message, by field.
#[derive(Default)]
struct Message<'a> {
    numbers: BTreeMap<u64, u64>,
    messages: BTreeMap<u64, Vec<&'a [u8]>>,
}

impl<'a> Message<'a> {
    fn read(bytes: &'a [u8]) -> Message<'a> {
        let mut message = Message::default();
        for (field, value) in fields(bytes) {
            match value {
                Wire::Number(number) => assert!(message.numbers.insert(field, number).is_none(), "field {field} twice"),
                Wire::Bytes(bytes) => message.messages.entry(field).or_default().push(bytes),
            }
        }
        message
    }

    fn number(&self, field: u64) -> u64 {
        self.numbers.get(&field).copied().unwrap_or(0)
    }

    fn all(&self, field: u64) -> impl Iterator<Item = Message<'a>> + '_ {
        self.messages.get(&field).into_iter().flatten().map(|bytes| Message::read(bytes))
    }

    fn packed(&self, field: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        for mut bytes in self.messages.get(&field).into_iter().flatten().copied() {
            while !bytes.is_empty() {
                numbers.push(varint(&mut bytes));
            }
        }
        numbers
    }
}

impl Pprof {
    /// Reads a file; anything that breaks a rule fails the test.
    pub(crate) fn read(path: &Path) -> Pprof {
        Pprof::of(&std::fs::read(path).unwrap())
    }

    /// Reads a file's bytes.
    pub(crate) fn of(file: &[u8]) -> Pprof {
        assert_eq!(&file[..2], &[0x1f, 0x8b], "a pprof file is gzipped");
        Pprof::check(&gunzip(file))
    }

    fn check(plain: &[u8]) -> Pprof {
        let top = Message::read(plain);
        let strings: Vec<String> = top.messages[&6]
            .iter()
            .map(|bytes| String::from_utf8(bytes.to_vec()).expect("strings are UTF-8"))
            .collect();
        assert_eq!(strings[0], "", "the first string is empty");
        let text = |id: u64| strings[id as usize].clone();
        let types = |message: Message<'_>| (text(message.number(1)), text(message.number(2)));
        let mut profile = Pprof { bytes: plain.len(), time: top.number(9), ..Pprof::default() };
        profile.sample_types = top.all(1).map(types).collect();
        assert_eq!(top.all(11).map(types).collect::<Vec<_>>(), [("space".to_owned(), "bytes".to_owned())]);
        assert_eq!(Some(text(top.number(14))), profile.sample_types.last().map(|last| last.0.clone()), "what is shown");
        assert!(profile.time > 1_500_000_000_000_000_000, "a time in this century: {}", profile.time);
        assert!(top.numbers.contains_key(&12), "a period");
        let mappings = mappings(&top, &text);
        let functions = functions(&top, &text);
        profile.names = locations(&top, &mappings, &functions);
        for sample in top.all(2) {
            let sample = Sample { locations: sample.packed(1), values: sample.packed(2) };
            assert_eq!(sample.values.len(), profile.sample_types.len());
            assert!(sample.locations.iter().all(|id| profile.names.contains_key(id)), "{sample:?}");
            profile.samples.push(sample);
        }
        profile
    }

    /// The sum of a type's values.
    pub(crate) fn sum(&self, kind: &str) -> u64 {
        let at = self.sample_types.iter().position(|(name, _)| name == kind).expect(kind);
        self.samples.iter().map(|sample| sample.values[at]).sum()
    }

    /// Names along a sample, leaf first.
    pub(crate) fn stack(&self, sample: &Sample) -> Vec<&str> {
        sample.locations.iter().flat_map(|id| &self.names[id]).map(String::as_str).collect()
    }
}

/// Start and end by id.
fn mappings(top: &Message<'_>, text: &dyn Fn(u64) -> String) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    for (index, mapping) in top.all(3).enumerate() {
        assert_eq!(mapping.number(1), index as u64 + 1, "mapping ids count from 1");
        assert!(mapping.number(2) < mapping.number(3));
        let id = text(mapping.number(6));
        assert!(id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)), "build id {id}");
        found.push((mapping.number(2), mapping.number(3)));
    }
    found
}

fn functions(top: &Message<'_>, text: &dyn Fn(u64) -> String) -> Vec<String> {
    let mut found = Vec::new();
    for (index, function) in top.all(5).enumerate() {
        assert_eq!(function.number(1), index as u64 + 1, "function ids count from 1");
        let name = text(function.number(2));
        assert!(!name.is_empty() && !name.contains(';'), "function {name:?}");
        // A Java method's name must not be cut at `<`, as it would be if the system's name were equal.
        assert!(!name.contains(".<init>") || function.number(3) == 0, "{name} has a system name");
        found.push(name);
    }
    found
}

fn locations(top: &Message<'_>, mappings: &[(u64, u64)], functions: &[String]) -> BTreeMap<u64, Vec<String>> {
    let mut found = BTreeMap::new();
    for (index, location) in top.all(4).enumerate() {
        assert_eq!(location.number(1), index as u64 + 1, "location ids count from 1");
        if let Some(place) = location.number(2).checked_sub(1) {
            let (start, end) = mappings[place as usize];
            assert!((start..end).contains(&location.number(3)), "an address outside its mapping");
        }
        let names = location.all(4).map(|line| functions[line.number(1) as usize - 1].clone());
        found.insert(location.number(1), names.collect::<Vec<_>>());
        assert!(!found[&location.number(1)].is_empty(), "a location without a name");
    }
    found
}

fn gunzip(file: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, file) = (child.stdin.take().unwrap(), file.to_vec());
    let writer = std::thread::spawn(move || input.write_all(&file));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "gzip accepts it");
    output.stdout
}
