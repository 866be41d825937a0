//! pprof's `profile.proto`, gzipped, encoded by hand: what `go tool pprof`, Parca, Pyroscope and
//! speedscope read.
//!
//! The strictest reader sets the rules (Parca's validator): ids count from 1 without gaps, every
//! reference is valid, `string_table[0]` is empty, addresses lie inside their mappings. Sample
//! types are Go's inuse pair with `inuse_space` as the default (and the alloc pair if the dump
//! accumulates), of memory that is not malloc's a pair of its own name; values are unbiased.
//! Locations are named already, so mappings say so. Allocator glue is folded away, as
//! everywhere: pprof's own list does not know every allocator.

use super::Renderer;
use super::protobuf::Message;
use crate::cli::analyze::frames::{Kind, Kinds};
use crate::cli::profile::Profile;
use crate::cli::profile::location::{Function, FunctionId, Line, Location, LocationId, Origin};
use crate::cli::profile::mapping::Mapping;
use crate::cli::profile::metric::Metric;
use crate::cli::profile::sample::{Estimate, Sample};
use crate::cli::profile::series::Series;
use crate::cli::profile::timestamp;
use flate2::Compression;
use flate2::write::GzEncoder;
use rustc_hash::FxHashMap;
use std::io::{self, Write};
use std::time::SystemTime;

/// Writes a pprof file of the last dump.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pprof {
    /// As servers that collect profiles take it by default: live values only, as they add up what
    /// they are sent; the biggest stacks, at most [`FLEET_STACKS`] and [`FLEET_BYTES`].
    pub(crate) is_for_fleet: bool,
}

/// Pyroscope refuses more samples by default (16,000) …
const FLEET_STACKS: usize = 15_000;
/// … and a bigger profile, before compression.
const FLEET_BYTES: usize = 2 << 20;
/// What smaller stacks become.
const REST: &str = "[smaller stacks]";

impl Renderer<Series> for Pprof {
    fn render(&self, series: &Series, out: &mut dyn Write) -> io::Result<()> {
        // Without a time Parca files it under 1970.
        let now = || timestamp::of_file(SystemTime::now());
        let time = series.last().and_then(|dump| dump.time()).or_else(now);
        let mut gzip = GzEncoder::new(out, Compression::default());
        gzip.write_all(&self.encode(&series.profile, time))?;
        gzip.finish()?;
        Ok(())
    }
}

impl Pprof {
    /// The message before compression.
    fn encode(self, profile: &Profile, time: Option<f64>) -> Vec<u8> {
        let mut samples: Vec<&Sample> = profile.samples.iter().filter(|sample| sample.value.bytes >= 0.5).collect();
        let has_accumulated = !self.is_for_fleet && samples.iter().any(|sample| sample.counts.accum_objects > 0);
        if !self.is_for_fleet {
            return encode(profile, time, &samples, &[], has_accumulated);
        }
        samples.sort_by(|a, b| b.value.bytes.total_cmp(&a.value.bytes));
        let mut count = samples.len().min(FLEET_STACKS);
        loop {
            let (kept, rest) = samples.split_at(count);
            let message = encode(profile, time, kept, rest, false);
            if message.len() <= FLEET_BYTES || count == 0 {
                return message;
            }
            count = count * 3 / 4;
        }
    }
}

/// The message with the samples `kept`, and one for all of the `rest`.
fn encode(profile: &Profile, time: Option<f64>, kept: &[&Sample], rest: &[&Sample], has_accumulated: bool) -> Vec<u8> {
    let mut strings = Strings::new();
    let mut message = Message::default();
    let [objects, space] = match profile.metric {
        Metric::Mapped => ["mapped_ranges", "mapped_space"],
        Metric::Resident => ["resident_ranges", "resident_space"],
        _ => ["inuse_objects", "inuse_space"],
    };
    let pairs: &[(&str, &str)] = match has_accumulated {
        true => &[("alloc_objects", "count"), ("alloc_space", "bytes"), (objects, "count"), (space, "bytes")],
        false => &[(objects, "count"), (space, "bytes")],
    };
    for (kind, unit) in pairs {
        message.nested(1, value_type(&mut strings, kind, unit));
    }
    let used = Used::of(profile, kept);
    for sample in kept {
        message.nested(2, encode_sample(sample, has_accumulated, &used, &mut strings));
    }
    for (index, mapping) in used.mappings.iter().enumerate() {
        message.nested(3, encode_mapping(index, mapping, &mut strings));
    }
    for (id, location) in used.locations.iter().enumerate() {
        message.nested(4, encode_location(id, profile, location, &used));
    }
    for (index, function) in used.functions.iter().enumerate() {
        message.nested(5, encode_function(index, function, &mut strings));
    }
    if !rest.is_empty() {
        encode_rest(rest, &used, &mut strings, &mut message);
    }
    // Seconds as f64 hold microseconds.
    message.number(9, time.map_or(0, |seconds| (seconds * 1e6).round() as u64 * 1000));
    message.nested(11, value_type(&mut strings, "space", "bytes"));
    message.number(12, profile.period_bytes);
    let default = strings.id(space);
    message.number(14, default);
    // Last, as everything above may add to it; readers do not mind the order.
    for text in &strings.texts {
        message.bytes(6, text.as_bytes());
    }
    message.buffer
}

fn encode_function(index: usize, function: &Function, strings: &mut Strings) -> Message {
    let mut message = Message::default();
    message.number(1, index as u64 + 1);
    message.number(2, strings.id(&function.name));
    // pprof cuts `<…>` off a name that equals the system's: `Map<K,V>.get`.
    if function.origin != Origin::Java {
        let full = if function.full_name.is_empty() { &function.name } else { &function.full_name };
        message.number(3, strings.id(full));
    }
    message.number(4, strings.id(&function.file));
    message
}

/// One sample, location and function for what is too small to be sent.
fn encode_rest(rest: &[&Sample], used: &Used<'_>, strings: &mut Strings, message: &mut Message) {
    let total: Estimate = rest.iter().map(|sample| sample.value).sum();
    let (location, function) = (used.locations.len() as u64 + 1, used.functions.len() as u64 + 1);
    let mut nested = Message::default();
    nested.packed(1, &[location]);
    nested.packed(2, &[total.objects.round() as u64, total.bytes.round() as u64]);
    message.nested(2, nested);
    let mut line = Message::default();
    line.number(1, function);
    let mut nested = Message::default();
    nested.number(1, location);
    nested.nested(4, line);
    message.nested(4, nested);
    let mut nested = Message::default();
    nested.number(1, function);
    nested.number(2, strings.id(REST));
    message.nested(5, nested);
}

/// Locations that samples refer to, numbered from 1 without gaps, and mappings, the program first
/// (pprof takes the first one for it).
struct Used<'a> {
    profile: &'a Profile,
    kinds: Kinds,
    mappings: Vec<&'a Mapping>,
    mapping_numbers: FxHashMap<usize, u64>,
    locations: Vec<&'a Location>,
    numbers: FxHashMap<u32, u64>,
    functions: Vec<&'a Function>,
    function_numbers: FxHashMap<FunctionId, u64>,
}

impl<'a> Used<'a> {
    fn of(profile: &'a Profile, samples: &[&'a Sample]) -> Used<'a> {
        let mut order: Vec<usize> = (0..profile.mappings.len()).collect();
        let program = profile.program();
        order.sort_by_key(|&index| profile.mappings.get(index).map(|mapping| mapping.path.as_str()) != program);
        let mut used = Used {
            profile,
            kinds: Kinds::of(profile),
            mappings: order.iter().filter_map(|&index| profile.mappings.get(index)).collect(),
            mapping_numbers: order.iter().enumerate().map(|(place, &index)| (index, place as u64 + 1)).collect(),
            locations: Vec::new(),
            numbers: FxHashMap::default(),
            functions: Vec::new(),
            function_numbers: FxHashMap::default(),
        };
        for sample in samples {
            for id in used.stack(sample) {
                used.number(*id);
            }
        }
        used
    }

    /// Gives a location and its functions numbers, once.
    fn number(&mut self, id: LocationId) {
        if self.numbers.contains_key(&id.0) {
            return;
        }
        let location = self.profile.location(id);
        self.locations.push(location);
        self.numbers.insert(id.0, self.locations.len() as u64);
        for line in &location.lines {
            let Some(function) = self.profile.function(line.function) else { continue };
            let functions = &mut self.functions;
            self.function_numbers.entry(line.function).or_insert_with(|| {
                functions.push(function);
                functions.len() as u64
            });
        }
    }

    /// A stack without the allocator's frames at its leaf.
    fn stack(&self, sample: &'a Sample) -> &'a [LocationId] {
        let is_glue = |id: &&LocationId| {
            let lines = &self.profile.location(**id).lines;
            lines.iter().all(|line| self.kinds.kind(line.function) == Kind::Glue)
        };
        let glue = sample.stack.iter().take_while(is_glue).count();
        sample.stack.get(glue.min(sample.stack.len().saturating_sub(1))..).unwrap_or(&[])
    }
}

fn value_type(strings: &mut Strings, kind: &str, unit: &str) -> Message {
    let mut message = Message::default();
    message.number(1, strings.id(kind));
    message.number(2, strings.id(unit));
    message
}

fn encode_sample<'a>(sample: &'a Sample, has_accumulated: bool, used: &Used<'a>, strings: &mut Strings) -> Message {
    let mut message = Message::default();
    let locations: Vec<u64> = used.stack(sample).iter().filter_map(|id| used.numbers.get(&id.0).copied()).collect();
    message.packed(1, &locations);
    let value = sample.value;
    let round = |value: f64| value.round().max(0.0) as u64;
    match has_accumulated {
        true => message.packed(2, &[value.accum_objects, value.accum_bytes, value.objects, value.bytes].map(round)),
        false => message.packed(2, &[value.objects, value.bytes].map(round)),
    }
    if value.objects >= 0.5 {
        let mut label = Message::default();
        label.number(1, strings.id("bytes"));
        label.number(3, round(value.bytes / value.objects));
        label.number(4, strings.id("bytes"));
        message.nested(3, label);
    }
    message
}

fn encode_mapping(index: usize, mapping: &Mapping, strings: &mut Strings) -> Message {
    let mut message = Message::default();
    message.number(1, index as u64 + 1);
    message.number(2, mapping.start);
    message.number(3, mapping.end);
    message.number(4, mapping.offset);
    message.number(5, strings.id(&mapping.path));
    message.number(6, strings.id(mapping.build_id.as_deref().unwrap_or("")));
    message.number(7, 1);
    message
}

fn encode_location(index: usize, profile: &Profile, location: &Location, used: &Used<'_>) -> Message {
    let mut message = Message::default();
    message.number(1, index as u64 + 1);
    let is_java = location
        .lines
        .first()
        .and_then(|line| profile.function(line.function))
        .is_some_and(|function| function.origin == Origin::Java);
    let mapping = location.mapping.filter(|_| !is_java);
    message.number(2, mapping.and_then(|id| used.mapping_numbers.get(&id.index()).copied()).unwrap_or(0));
    message.number(3, location.address);
    for Line { function, line } in &location.lines {
        let mut nested = Message::default();
        nested.number(1, used.function_numbers.get(function).copied().unwrap_or(0));
        nested.number(2, u64::from(*line));
        message.nested(4, nested);
    }
    message
}

/// `string_table`.
struct Strings {
    texts: Vec<String>,
    ids: FxHashMap<String, u64>,
}

impl Strings {
    fn new() -> Strings {
        Strings { texts: vec![String::new()], ids: FxHashMap::from_iter([(String::new(), 0)]) }
    }

    fn id(&mut self, text: &str) -> u64 {
        // `;` separates frames for some readers.
        let text = text.replace(';', "_");
        if let Some(&id) = self.ids.get(&text) {
            return id;
        }
        let id = self.texts.len() as u64;
        self.ids.insert(text.clone(), id);
        self.texts.push(text);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_string_is_stored_once_and_separators_are_replaced() {
        let mut strings = Strings::new();
        assert_eq!((strings.id(""), strings.id("a"), strings.id("a;b"), strings.id("a_b")), (0, 1, 2, 2));
        assert_eq!(strings.texts, ["", "a", "a_b"]);
    }
}
