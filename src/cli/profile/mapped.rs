//! Memory that is not malloc's: what call stacks have mapped, and threads whose stacks they started.
//!
//! What the Java VM maps for itself is no work of its callers: the heap grows wherever somebody happens to allocate. So
//! it is shown by class, one pseudo frame each, with the parts in it that the VM's own tables or its library's frames
//! tell; a mapping that a Java method asked for is that method's.

use super::Profile;
use super::history::{EventKind, Past, add_rows};
use super::location::{Function, FunctionId, Line, Location, LocationId};
use super::mapped_stack::{MappedStack, NAMES};
use super::metadata::JavaName;
use super::metric::Metric;
use super::sample::{Estimate, Sample};
use super::series::{Dump, Series};
use crate::wire::file_group;
use crate::wire::java_pc;
use crate::wire::live::supply::Supply;
use crate::wire::resident::known::Owner;
use rustc_hash::{FxHashMap, FxHashSet};

/// First address of the pseudo frames: beyond what any processor calls an address.
const FIRST: u64 = 0xffff_ffe0_0000_0000;

/// Tells the Java VM's own apart. Once the mappings of all places are known.
pub(super) fn classify(profile: &mut Profile) {
    let mut mapped = std::mem::take(&mut profile.mapped);
    let is_group = |name: &&JavaName| file_group::is_group(name.method.as_bytes());
    let groups = profile.metadata.java.iter().filter(is_group).map(|name| name.pc.saturating_sub(1)).collect();
    mapped.iter_mut().for_each(|mapped| mapped.class = class(profile, mapped, &groups));
    profile.mapped = mapped;
}

/// `groups`: addresses of pseudo frames that stand for files.
fn class(profile: &Profile, mapped: &MappedStack, groups: &FxHashSet<u64>) -> Option<usize> {
    match mapped.sums.owner {
        Some(Owner::JavaHeap) => return Some(0),
        Some(Owner::Metaspace) => return Some(1),
        Some(Owner::GcStructures) => return Some(2),
        Some(Owner::CodeCache) => return Some(3),
        Some(Owner::Malloc) | None => {}
    }
    // Behind the exported function stands what called it.
    let is_call = |id: &&LocationId| !groups.contains(&profile.location(**id).address);
    let library = mapped
        .stack
        .iter()
        .skip(1)
        .find(is_call)
        .and_then(|id| profile.location(*id).mapping)
        .and_then(|id| profile.mapping(id));
    let is_vms = library.is_some_and(|mapping| ["libjvm.so", "libjimage.so"].contains(&mapping.file_name()));
    let is_java = || mapped.stack.iter().any(|id| java_pc::parts(profile.location(*id).address).is_some());
    match mapped.sums.supply {
        Supply::Thread if is_vms && !is_java() => Some(5),
        Supply::Mapping if is_vms => Some(4),
        _ => None,
    }
}

/// Puts mapped memory in the place of malloc's. None of it is sampled.
pub(super) fn take_the_place_of_malloc(profile: &mut Profile, metric: Metric) {
    let mut samples: Vec<Sample> = Vec::new();
    let mut classes: FxHashMap<usize, usize> = FxHashMap::default();
    for mapped in &profile.mapped {
        let Some(mut sample) = sample(mapped, metric) else { continue };
        let known = mapped.class.and_then(|class| classes.get(&class)).and_then(|at| samples.get_mut(*at));
        match (known, mapped.class) {
            (Some(sum), _) => {
                sum.value += sample.value;
                add_rows(&mut sum.past, &sample.past);
            }
            (None, Some(class)) => {
                profile.locations.push(Location { address: FIRST + class as u64, ..Location::default() });
                sample.stack = Box::new([LocationId(u32::try_from(profile.locations.len() - 1).unwrap_or(u32::MAX))]);
                classes.insert(class, samples.len());
                samples.push(sample);
            }
            (None, None) => samples.push(sample),
        }
    }
    profile.samples = samples;
    profile.period_bytes = 1;
    profile.history.timeline.iter_mut().for_each(|moment| moment.period_bytes = 1);
    let of_sampling = [
        EventKind::SamplingStarted,
        EventKind::SamplingStopped,
        EventKind::Rate,
        EventKind::Governor,
        EventKind::Reset,
    ];
    profile.history.events.retain(|event| !of_sampling.contains(&event.kind));
    match metric {
        Metric::Mapped => profile.history.other.iter_mut().for_each(|other| *other = Past::default()),
        _ => profile.history.forget_rows(),
    }
}

fn sample(mapped: &MappedStack, metric: Metric) -> Option<Sample> {
    let sums = &mapped.sums;
    let (bytes, past) = match metric {
        Metric::Resident => (sums.resident.unwrap_or(0), Box::default()),
        _ => (sums.bytes, mapped.past.clone()),
    };
    let value = Estimate {
        objects: sums.ranges as f64,
        bytes: bytes as f64,
        accum_objects: sums.ever_ranges as f64,
        accum_bytes: sums.ever_bytes as f64,
    };
    (bytes > 0).then(|| Sample { stack: mapped.stack.clone(), value, past, ..Sample::default() })
}

/// What the last dump of a named series tells of mapped memory, over the times of its history. `None`: nothing.
pub(crate) fn series(all: &Series, metric: Metric) -> Option<Series> {
    let mut profile = all.profile.clone();
    take_the_place_of_malloc(&mut profile, metric);
    if profile.samples.is_empty() {
        return None;
    }
    name(&mut profile);
    profile.metric = metric;
    let (total, stacks) = (profile.total(), profile.samples.len());
    let dump = Dump { total, stacks, period_bytes: profile.period_bytes, ..all.last()?.clone() };
    let history = profile.samples.iter().map(|sample| vec![(0, sample.value)]).collect();
    Some(Series { dumps: vec![dump], profile, history, from: all.from, ..Series::default() })
}

/// Names the pseudo frames, once all others have their names.
pub(crate) fn name(profile: &mut Profile) {
    let pseudo = |address: u64| NAMES.get(usize::try_from(address.checked_sub(FIRST)?).ok()?);
    for location in &mut profile.locations {
        let Some(name) = pseudo(location.address) else { continue };
        let id = FunctionId(u32::try_from(profile.functions.len()).unwrap_or(u32::MAX));
        profile.functions.push(Function { name: (*name).to_owned(), ..Function::default() });
        location.lines = vec![Line { function: id, line: 0 }];
    }
}
