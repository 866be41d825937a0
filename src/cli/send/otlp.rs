//! pprof as OTLP profiles (alpha: package `v1development`, proto 1.10 and later, with stacks in the dictionary).
//!
//! The two are cousins: ids that count from 1 without gaps become indices of tables whose first entry is empty, and
//! each sample type a profile of its own. What is read is what `render/pprof` wrote; anything else is refused.

use super::payload::Head;
use crate::cli::render::protobuf::{Message, Value, fields};
use flate2::read::GzDecoder;
use rustc_hash::{FxHashMap, FxHasher};
use std::hash::Hasher;
use std::io::Read;

/// Bytes of a profile that are read: what is sent has at most 2 MiB.
const MOST_BYTES: u64 = 16 << 20;
/// What engines call our labels.
const ATTRIBUTES: [(&str, &str); 5] = [
    ("service_name", "service.name"),
    ("namespace", "k8s.namespace.name"),
    ("pod", "k8s.pod.name"),
    ("cluster", "k8s.cluster.name"),
    ("node", "k8s.node.name"),
];
const BUILD_ID: &str = "process.executable.build_id.gnu";

/// A pprof message taken apart, as far as it is needed.
#[derive(Default)]
struct Pprof<'a> {
    /// Name and unit, by string.
    types: Vec<(u64, u64)>,
    samples: Vec<(Vec<u64>, Vec<u64>)>,
    mappings: Vec<Entry<'a>>,
    locations: Vec<Entry<'a>>,
    functions: Vec<Entry<'a>>,
    strings: Vec<&'a [u8]>,
    time_ns: u64,
    period_type: (u64, u64),
    period: u64,
}

/// A message with an id: its numbers and its messages, by field.
#[derive(Default)]
struct Entry<'a> {
    numbers: FxHashMap<u64, u64>,
    messages: Vec<&'a [u8]>,
}

impl<'a> Entry<'a> {
    fn read(bytes: &'a [u8]) -> Option<Entry<'a>> {
        let mut entry = Entry::default();
        for field in fields(bytes) {
            match field? {
                (field, Value::Number(number)) => drop(entry.numbers.insert(field, number)),
                (_, Value::Bytes(bytes)) => entry.messages.push(bytes),
            }
        }
        Some(entry)
    }

    fn number(&self, field: u64) -> u64 {
        self.numbers.get(&field).copied().unwrap_or(0)
    }
}

impl<'a> Pprof<'a> {
    fn read(bytes: &'a [u8]) -> Option<Pprof<'a>> {
        let mut pprof = Pprof::default();
        let pair = |bytes| Entry::read(bytes).map(|entry| (entry.number(1), entry.number(2)));
        for field in fields(bytes) {
            match field? {
                (1, Value::Bytes(bytes)) => pprof.types.push(pair(bytes)?),
                (2, Value::Bytes(bytes)) => pprof.samples.push(sample(bytes)?),
                (3, Value::Bytes(bytes)) => pprof.mappings.push(Entry::read(bytes)?),
                (4, Value::Bytes(bytes)) => pprof.locations.push(Entry::read(bytes)?),
                (5, Value::Bytes(bytes)) => pprof.functions.push(Entry::read(bytes)?),
                (6, Value::Bytes(bytes)) => pprof.strings.push(bytes),
                (9, Value::Number(time)) => pprof.time_ns = time,
                (11, Value::Bytes(bytes)) => pprof.period_type = pair(bytes)?,
                (12, Value::Number(period)) => pprof.period = period,
                _ => {}
            }
        }
        let counts = |entries: &[Entry<'_>]| entries.iter().zip(1..).all(|(entry, id)| entry.number(1) == id);
        let is_ours = counts(&pprof.mappings) && counts(&pprof.locations) && counts(&pprof.functions);
        (is_ours && pprof.strings.first() == Some(&&[][..])).then_some(pprof)
    }
}

/// Locations and values of a sample.
fn sample(bytes: &[u8]) -> Option<(Vec<u64>, Vec<u64>)> {
    let (mut locations, mut values) = (Vec::new(), Vec::new());
    for field in fields(bytes) {
        match field? {
            (1, value) => numbers(value, &mut locations)?,
            (2, value) => numbers(value, &mut values)?,
            _ => {}
        }
    }
    Some((locations, values))
}

fn numbers(value: Value<'_>, into: &mut Vec<u64>) -> Option<()> {
    match value {
        Value::Number(number) => into.push(number),
        Value::Bytes(mut packed) => {
            while !packed.is_empty() {
                into.push(crate::cli::render::protobuf::varint(&mut packed)?);
            }
        }
    }
    Some(())
}

/// The request that carries a profile.
pub(super) fn request(head: &Head, gzipped: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(gzipped).take(MOST_BYTES).read_to_end(&mut plain).ok()?;
    let pprof = Pprof::read(&plain)?;
    let mut stacks = Stacks::default();
    let indices: Vec<u64> = pprof.samples.iter().map(|(locations, _)| stacks.index(locations)).collect();
    let mut scope = Message::default();
    scope.bytes(1, b"heaptap");
    scope.bytes(2, env!("CARGO_PKG_VERSION").as_bytes());
    let mut scoped = Message::default();
    scoped.nested(1, scope);
    for at in 0..pprof.types.len() {
        scoped.nested(2, profile(&pprof, at, &indices, gzipped));
    }
    let mut resource = Message::default();
    for (name, value) in &head.labels {
        let known = ATTRIBUTES.iter().find(|(label, _)| label == name);
        resource.nested(1, key_value(known.map_or(name.as_str(), |(_, attribute)| attribute), value));
    }
    let mut of_resource = Message::default();
    of_resource.nested(1, resource);
    of_resource.nested(2, scoped);
    let mut request = Message::default();
    request.nested(1, of_resource);
    request.nested(2, dictionary(&pprof, &stacks));
    Some(request.buffer)
}

/// Lists of locations, each once; index 0 is the empty one.
#[derive(Default)]
struct Stacks<'a> {
    indices: FxHashMap<&'a [u64], u64>,
    all: Vec<&'a [u64]>,
}

impl<'a> Stacks<'a> {
    fn index(&mut self, locations: &'a [u64]) -> u64 {
        let all = &mut self.all;
        *self.indices.entry(locations).or_insert_with(|| {
            all.push(locations);
            all.len() as u64
        })
    }
}

/// One of the sample types.
fn profile(pprof: &Pprof<'_>, at: usize, stacks: &[u64], gzipped: &[u8]) -> Message {
    let mut message = Message::default();
    message.nested(1, value_type(pprof.types.get(at).copied().unwrap_or_default()));
    for ((_, values), stack) in pprof.samples.iter().zip(stacks) {
        let mut sample = Message::default();
        sample.number(1, *stack);
        sample.packed(4, &[values.get(at).copied().unwrap_or(0)]);
        message.nested(2, sample);
    }
    message.fixed(3, pprof.time_ns);
    message.nested(5, value_type(pprof.period_type));
    message.number(6, pprof.period);
    message.bytes(7, &id(gzipped, at));
    message
}

/// The same for the same profile, so that who gets it twice can tell.
fn id(gzipped: &[u8], at: usize) -> [u8; 16] {
    let half = |seed: u64| {
        let mut hasher = FxHasher::default();
        hasher.write_u64(seed + at as u64);
        hasher.write(gzipped);
        // Not all zeroes, which means none.
        (hasher.finish() | 1).to_be_bytes()
    };
    let mut id = [0; 16];
    id.iter_mut().zip(half(1).into_iter().chain(half(1 << 32))).for_each(|(to, from)| *to = from);
    id
}

fn dictionary(pprof: &Pprof<'_>, stacks: &Stacks<'_>) -> Message {
    let mut message = Message::default();
    // The first entry of each table is the empty one.
    (1..=4).chain([6, 7]).for_each(|table| message.nested(table, Message::default()));
    let mut attributes = Vec::new();
    for mapping in &pprof.mappings {
        let mut nested = Message::default();
        (1..=3).for_each(|field| nested.number(field, mapping.number(field + 1)));
        nested.number(4, mapping.number(5));
        let build_id = pprof.strings.get(usize::try_from(mapping.number(6)).unwrap_or(0));
        if let Some(build_id) = build_id.filter(|build_id| !build_id.is_empty()) {
            attributes.push(*build_id);
            nested.packed(5, &[attributes.len() as u64]);
        }
        message.nested(1, nested);
    }
    for location in &pprof.locations {
        message.nested(2, of_location(location));
    }
    for function in &pprof.functions {
        let mut nested = Message::default();
        (1..=3).for_each(|field| nested.number(field, function.number(field + 1)));
        message.nested(3, nested);
    }
    pprof.strings.iter().for_each(|text| message.bytes(5, text));
    message.bytes(5, BUILD_ID.as_bytes());
    for build_id in attributes {
        let mut nested = Message::default();
        nested.number(1, pprof.strings.len() as u64);
        nested.nested(2, string(build_id));
        message.nested(6, nested);
    }
    for stack in &stacks.all {
        let mut nested = Message::default();
        nested.packed(1, stack);
        message.nested(7, nested);
    }
    message
}

fn of_location(location: &Entry<'_>) -> Message {
    let mut message = Message::default();
    message.number(1, location.number(2));
    message.number(2, location.number(3));
    for line in location.messages.iter().filter_map(|line| Entry::read(line)) {
        let mut nested = Message::default();
        nested.number(1, line.number(1));
        nested.number(2, line.number(2));
        message.nested(3, nested);
    }
    message
}

fn value_type((name, unit): (u64, u64)) -> Message {
    let mut message = Message::default();
    message.number(1, name);
    message.number(2, unit);
    message
}

fn key_value(key: &str, value: &str) -> Message {
    let mut message = Message::default();
    message.bytes(1, key.as_bytes());
    message.nested(2, string(value.as_bytes()));
    message
}

fn string(text: &[u8]) -> Message {
    let mut message = Message::default();
    message.bytes(1, text);
    message
}

/// What a Collector that took the request left out of it all the same (`partial_success`).
pub(super) fn rejected(answer: &[u8]) -> Option<String> {
    let mut told = None;
    for field in fields(answer) {
        if let Some((1, Value::Bytes(partial))) = field {
            let entry = Entry::read(partial)?;
            let words =
                entry.messages.first().map_or_else(String::new, |text| String::from_utf8_lossy(text).into_owned());
            told = (entry.number(1) > 0).then(|| format!("{} profiles rejected: {words}", entry.number(1)));
        }
    }
    told
}

/// The words of a refusal: the message of a `google.rpc.Status`. `None`: it is something else.
pub(super) fn words(answer: &[u8]) -> Option<String> {
    let mut words = None;
    for field in fields(answer) {
        if let (2, Value::Bytes(text)) = field? {
            words = Some(String::from_utf8(text.to_vec()).ok()?);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn damaged_profiles_are_refused_and_nothing_panics() {
        let mut whole = Message::default();
        whole.nested(1, value_type((1, 2)));
        let mut sample = Message::default();
        sample.packed(1, &[1]);
        sample.packed(2, &[7]);
        whole.nested(2, sample);
        let mut location = Message::default();
        location.number(1, 1);
        whole.nested(4, location);
        ["", "inuse_space", "bytes"].iter().for_each(|text| whole.bytes(6, text.as_bytes()));
        let head = Head::new(1, vec![("service_name".into(), "shop".into())], String::new());
        let request = |bytes: &[u8]| super::request(&head, &gzipped(bytes));
        let sent = request(&whole.buffer).unwrap();
        assert!(sent.windows(12).any(|part| part == b"service.name"));
        for cut in 0..whole.buffer.len() {
            request(&whole.buffer[..cut]);
            let mut flipped = whole.buffer.clone();
            flipped[cut] ^= 0xff;
            request(&flipped);
        }
        assert!(super::request(&head, b"no gzip").is_none() && request(b"").is_none());
    }

    #[test]
    fn a_collector_says_what_it_left_out() {
        let mut partial = Message::default();
        partial.number(1, 2);
        partial.bytes(2, b"too old");
        let mut answer = Message::default();
        answer.nested(1, partial);
        assert_eq!(rejected(&answer.buffer).unwrap(), "2 profiles rejected: too old");
        assert_eq!((rejected(b""), rejected(b"{}"), rejected(&[0x0a])), (None, None, None));
        let mut status = Message::default();
        status.number(1, 3);
        status.bytes(2, b"http: request body too large");
        assert_eq!(words(&status.buffer).unwrap(), "http: request body too large");
        assert_eq!((words(b""), words(b"404 page not found"), words(b"unexpected EOF")), (None, None, None));
    }
}
