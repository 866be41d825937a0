//! Memory that is not malloc's, beside it: how much is mapped and resident, by whom, and what of it grew.

use super::frames::{Kind, Kinds};
use super::own::Owners;
use crate::cli::profile::Profile;
use crate::cli::profile::history::Past;
use crate::cli::profile::location::{Line, Origin};
use crate::cli::profile::mapped_stack::MappedStack;
use crate::wire::file_group;
use crate::wire::live::supply::Supply;
use serde::Serialize;

/// Places that are told.
const MOST_PLACES: usize = 20;

/// What a process has mapped.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Mapped {
    /// Bytes that may be touched, the JVM's own and stacks of threads included.
    pub(crate) bytes: u64,
    /// What of them is resident; `None`: nobody looked.
    pub(crate) resident_bytes: Option<u64>,
    /// Ranges of addresses.
    pub(crate) ranges: u64,
    /// Address space that was only reserved (PROT_NONE), bytes.
    pub(crate) reserved_bytes: u64,
    /// Bytes of what the Java VM maps for itself.
    pub(crate) jvm_bytes: u64,
    /// Threads whose start was seen and that run.
    pub(crate) threads: u64,
    /// Mappings and threads that could not be recorded.
    pub(crate) unrecorded: u64,
    /// The program's places, biggest first.
    pub(crate) places: Vec<MappedPlace>,
}

/// What one place of the program has mapped.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct MappedPlace {
    /// `thread`: stacks of threads that it started; else what most of it is: `anonymous`, `file`, `shared`, `reserved`.
    pub(crate) what: &'static str,
    /// The user's own function; without one the nearest that has a name.
    pub(crate) place: String,
    /// Bytes that may be touched.
    pub(crate) bytes: u64,
    /// What of them is resident; `None`: nobody looked.
    pub(crate) resident_bytes: Option<u64>,
    /// Ranges of addresses, or threads.
    pub(crate) ranges: u64,
    /// Bytes more than at the first moment that is known of it.
    pub(crate) grown_bytes: Option<f64>,
    /// Ranges, or threads, more.
    pub(crate) grown_ranges: Option<f64>,
    /// The call stack, leaf first.
    pub(crate) frames: Vec<String>,
    /// What it was at each time of the history, the last being now; empty where that is not known.
    #[serde(skip)]
    pub(crate) past: Vec<Past>,
}

/// What a profile's process has mapped; what grew did so since that time, seconds since 1970. `None`: nothing is known.
pub(crate) fn mapped(profile: &Profile, since: Option<f64>) -> Option<Mapped> {
    if profile.mapped.is_empty() {
        return None;
    }
    let mut all = Mapped { unrecorded: profile.metadata.unrecorded_mappings.unwrap_or(0), ..Mapped::default() };
    for stack in &profile.mapped {
        let sums = &stack.sums;
        all.bytes = all.bytes.saturating_add(sums.bytes);
        all.ranges = all.ranges.saturating_add(sums.ranges);
        all.reserved_bytes = all.reserved_bytes.saturating_add(sums.reserved);
        all.resident_bytes = sum(all.resident_bytes, sums.resident);
        if stack.class_name().is_some() {
            all.jvm_bytes = all.jvm_bytes.saturating_add(sums.bytes);
        }
        if sums.supply == Supply::Thread {
            all.threads = all.threads.saturating_add(sums.ranges);
        }
    }
    all.places = places(profile, since);
    all.places.truncate(MOST_PLACES);
    Some(all)
}

/// The program's own places, biggest first.
fn places(profile: &Profile, since: Option<f64>) -> Vec<MappedPlace> {
    let kinds = Kinds::of(profile);
    let owners = Owners::of(profile, &kinds);
    let look = since.and_then(|since| look_at(profile, since));
    let mut places: Vec<MappedPlace> = Vec::new();
    for stack in profile.mapped.iter().filter(|stack| stack.class_name().is_none()) {
        let place = place(profile, &kinds, &owners, stack, look);
        match places.iter_mut().find(|known| known.what == place.what && known.place == place.place) {
            Some(known) => add(known, &place),
            None => places.push(place),
        }
    }
    // What is resident costs; of what nobody looked at the length must do.
    let size = |place: &MappedPlace| (place.resident_bytes.unwrap_or(place.bytes), place.bytes);
    places.sort_by(|a, b| size(b).cmp(&size(a)).then_with(|| a.place.cmp(&b.place)));
    places
}

fn place(profile: &Profile, kinds: &Kinds, owners: &Owners, stack: &MappedStack, look: Option<usize>) -> MappedPlace {
    let lines: Vec<Line> = stack.stack.iter().flat_map(|id| &profile.location(*id).lines).copied().collect();
    let name = |line: &Line| profile.function(line.function).map(|function| function.name.clone());
    let is_call = |line: &Line| {
        let is_group = |name: &str| file_group::is_group(name.as_bytes());
        let is_file = profile.function(line.function).is_some_and(|function| is_group(&function.name));
        kinds.kind(line.function) != Kind::Glue && !is_file
    };
    let visible = || lines.iter().skip(1).position(is_call).map(|at| at + 1);
    // What the JDK starts by itself is a method of its, not what the machine starts threads with.
    let is_method = |line: &Line| {
        let function = profile.function(line.function);
        let is_none = |name: &str| name.starts_with("java.lang.Thread.") || file_group::is_group(name.as_bytes());
        function.is_some_and(|it| it.origin == Origin::Java && !is_none(&it.name))
    };
    let own = owners.own_frame(&lines).or_else(|| lines.iter().position(is_method)).or_else(visible);
    let sums = &stack.sums;
    let before = look.and_then(|look| stack.past.get(look));
    let now = stack.past.last();
    let grown = |of: fn(&Past) -> f64| Some(of(now?) - of(before?));
    MappedPlace {
        what: if sums.supply == Supply::Thread { "thread" } else { sums.kind.word() },
        place: own.and_then(|at| lines.get(at)).and_then(name).unwrap_or_else(|| "a place without a name".to_owned()),
        bytes: sums.bytes,
        resident_bytes: sums.resident,
        ranges: sums.ranges,
        grown_bytes: grown(|past| past.live_bytes),
        grown_ranges: grown(|past| past.live_objects),
        frames: lines.iter().filter_map(name).collect(),
        past: stack.past.to_vec(),
    }
}

fn add(known: &mut MappedPlace, other: &MappedPlace) {
    known.bytes = known.bytes.saturating_add(other.bytes);
    known.ranges = known.ranges.saturating_add(other.ranges);
    known.resident_bytes = sum(known.resident_bytes, other.resident_bytes);
    let both = |a: Option<f64>, b: Option<f64>| Some(a? + b?);
    known.grown_bytes = both(known.grown_bytes, other.grown_bytes);
    known.grown_ranges = both(known.grown_ranges, other.grown_ranges);
    match (known.past.len(), other.past.len()) {
        (here, there) if here == there => known.past.iter_mut().zip(&other.past).for_each(|(sum, past)| *sum += *past),
        _ => known.past.clear(),
    }
}

fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (known, None) | (None, known) => known,
    }
}

/// The first look at the stacks from that time on, but for the last, which is the dump's own moment.
fn look_at(profile: &Profile, since: f64) -> Option<usize> {
    let times = &profile.history.stack_times_ns;
    let at = times.iter().position(|&time| time as f64 / 1e9 >= since - 1.0)?;
    (at + 1 < times.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::heap_v2;

    const TEN: u64 = 1_795_644_000;

    fn profile() -> Profile {
        let times = [0, 60, 120].map(|second| format!(" {}000000000", TEN + second));
        let text = format!(
            "heap_v2/1\n  t*: 0: 0 [0: 0]\n\nMAPPED_LIBRARIES:\n1000-2000 r-xp 0 00:00 1 /opt/app/server\n\
             5000-6000 r-xp 0 00:00 2 /opt/jdk/lib/libjvm.so\n# heaptap 1\n\
             # mapped: thread stack - 310 325058560 0 3174400 312 327155712 0x9001 0x1010\n\
             # mapped: mapping anonymous - 2 131072 0 131072 2 131072 0x9002 0x1020\n\
             # mapped: mapping anonymous - 1 65536 0 65536 1 65536 0x9002 0x1020 0x1030\n\
             # mapped: mapping anonymous java_heap 1 268435456 0 1048576 1 268435456 0x9002 0x5010 0x1040\n\
             # mapped: mapping reserved - 1 0 1073741824 0 1 1073741824 0x9002 0x5020\n\
             # past_times:{}\n# past_other: 0/0/0/0 0/0/0/0 0/0/0/0\n\
             # mapped_past: 0 0/655360/10485760/0/0 1/13107200/209715200/65536/1048576\n# ages: 0\n",
            times.concat()
        );
        heap_v2::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_mapped_is_summed_up_and_the_jvms_own_is_told_apart() {
        let mut profile = profile();
        assert_eq!(profile.warnings.lines().count(), 0);
        crate::cli::symbolize::symbolize(&mut profile, &Default::default(), &mut |_, _| {});
        let found = mapped(&profile, Some(TEN as f64 + 59.0)).unwrap();
        assert_eq!((found.bytes, found.reserved_bytes), (325_058_560 + 196_608 + 268_435_456, 1 << 30));
        assert_eq!((found.jvm_bytes, found.threads, found.ranges), (268_435_456, 310, 315));
        assert_eq!(found.resident_bytes, Some(3_174_400 + 196_608 + 1_048_576));
        let places: Vec<(&str, u64)> = found.places.iter().map(|place| (place.what, place.ranges)).collect();
        assert_eq!(places, [("thread", 310), ("anonymous", 3)]);
        // 10 threads at first, 200 more a minute later of which one had ended.
        assert_eq!(found.places[0].grown_ranges, Some(310.0 - 209.0));
        assert_eq!(found.places[1].grown_ranges, None);
        assert_eq!(mapped(&heap_v2::parse(&b"heap_v2/1\n  t*: 0: 0 [0: 0]\n"[..]).unwrap(), None), None);
    }
}
