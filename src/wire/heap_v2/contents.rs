//! What a dump holds, taken together from a snapshot: the text is written from it, and a reader of a live region needs
//! no text at all.

use super::mapped::{self, Mapped};
use super::past::past;
use super::raw::{Estimate, Raw, Rounder};
use crate::wire::ages::{Ages, live_bin};
use crate::wire::java_pc;
use crate::wire::live::counters::{self, Counter};
use crate::wire::live::failures::Failure;
use crate::wire::live::history::{Incident, MOST_ROW_MOMENTS, Moment};
use crate::wire::live::records::{ThreadRecord, objects};
use crate::wire::live::snapshot::{Snapshot, Stack};
use crate::wire::live::supply::Supply;
use crate::wire::live::totals::Totals;
use crate::wire::order;
use crate::wire::stack_end::StackEnd;
use std::collections::BTreeMap;

/// What a dump holds besides the snapshot.
#[derive(Debug, Default)]
pub(crate) struct Surroundings<'a> {
    /// Lines of `/proc/<pid>/maps`, executable mappings only, each with its newline.
    pub(crate) maps: &'a [u8],
    /// Further `key: value` lines of metadata, in order.
    pub(crate) metadata: &'a [(String, String)],
    /// Whether the cumulative columns are filled (`prof_accum`).
    pub(crate) accumulated: bool,
}

/// A dump, but for its form.
#[derive(Debug, Default)]
pub(crate) struct Contents<'a> {
    /// Sampling period of the header.
    pub(crate) period: u64,
    /// What is live and what was ever allocated, of all stacks.
    pub(crate) total: [Raw; 2],
    /// The threads, by the numbers N of their `tN` lines.
    pub(crate) threads: Vec<Thread<'a>>,
    /// The stacks, in the order of their frames.
    pub(crate) stacks: Vec<Row<'a>>,
    /// Memory that is not malloc's, by call stack, in the order of their frames.
    pub(crate) mapped: Vec<Mapped<'a>>,
    /// Lines of `/proc/<pid>/maps`.
    pub(crate) maps: &'a [u8],
    /// Lines of metadata, in order.
    pub(crate) metadata: Vec<(String, String)>,
    /// What the fake pcs mean.
    pub(crate) java: Vec<JavaFrame<'a>>,
    /// Checkpoints of the process, each with its wall clock, oldest first.
    pub(crate) timeline: Vec<(u64, Moment)>,
    /// What happened, each with its wall clock, oldest first.
    pub(crate) events: Vec<(u64, Incident)>,
    /// What failed first, each with its wall clock and stack.
    pub(crate) failures: Vec<(u64, Failure, &'a [u64])>,
    /// Wall clock since when samples are taken.
    pub(crate) since_ns: u64,
    /// Wall clocks of the moments that [`Row::past`] tells of; the last is the dump's.
    pub(crate) times_ns: Vec<u64>,
    /// What at those times no row has.
    pub(crate) other: Vec<Totals>,
}

/// A thread.
#[derive(Debug, Default)]
pub(crate) struct Thread<'a> {
    /// Its name.
    pub(crate) name: Option<&'a [u8]>,
    /// What is live of it.
    pub(crate) raw: Raw,
}

/// A call stack.
#[derive(Debug, Default)]
pub(crate) struct Row<'a> {
    /// Return addresses, leaf first.
    pub(crate) frames: &'a [u64],
    /// What is live, for jeprof.
    pub(crate) raw: Raw,
    /// What was ever allocated, for jeprof; nothing without `prof_accum`.
    pub(crate) raw_ever: Raw,
    /// The same and what was ever allocated, exactly.
    pub(crate) totals: Totals,
    /// What of it is whose.
    pub(crate) threads: Vec<Part>,
    /// How old it is.
    pub(crate) ages: Ages,
    /// What it was at each of [`Contents::times_ns`]; `None`: not known.
    pub(crate) past: Option<Vec<Totals>>,
}

/// A thread's part of a stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// Number of the thread.
    pub(crate) thread: usize,
    /// For jeprof.
    pub(crate) raw: Raw,
    /// Live objects, exactly, scaled.
    pub(crate) objects: u64,
    /// Live bytes, exactly.
    pub(crate) bytes: u64,
}

/// A fake pc.
#[derive(Debug)]
pub(crate) struct JavaFrame<'a> {
    /// As it stands in the stacks.
    pub(crate) pc: u64,
    /// Class in internal form; empty for a pseudo frame.
    pub(crate) class: &'a [u8],
    /// Method.
    pub(crate) method: &'a [u8],
    /// Line, 0: unknown.
    pub(crate) line: u32,
}

/// The records of one call stack, and its samples.
#[derive(Default)]
struct Group<'a> {
    live: Totals,
    ever: Totals,
    threads: BTreeMap<u32, Totals>,
    ages: Ages,
    stacks: Vec<&'a Stack>,
}

impl<'a> Contents<'a> {
    /// Takes everything together.
    pub(crate) fn of(snapshot: &'a Snapshot, around: &Surroundings<'a>) -> Contents<'a> {
        let mut contents = Contents { period: snapshot.period, maps: around.maps, ..Contents::default() };
        let moments: Vec<&Moment> = snapshot.timeline.iter().filter(|moment| moment.has_rows).collect();
        // No keeper leaves more; a damaged region must not cost more.
        let moments = moments.get(moments.len().saturating_sub(MOST_ROW_MOMENTS)..).unwrap_or_default();
        contents.stacks(snapshot, moments, around.accumulated);
        contents.mapped = mapped::rows(snapshot, moments);
        contents.history(snapshot, moments);
        contents.failures(snapshot);
        contents.metadata(snapshot, around);
        contents.java(snapshot);
        contents
    }

    fn stacks(&mut self, snapshot: &'a Snapshot, moments: &[&Moment], accumulated: bool) {
        let known = snapshot.threads.keys().copied();
        let used = snapshot.samples.iter().map(|sample| sample.thread);
        let numbers = order::distinct(known.chain(used).map(u64::from));
        let name = |thread: &u64| snapshot.threads.get(&(*thread as u32)).and_then(ThreadRecord::name);
        self.threads = numbers.iter().map(|thread| Thread { name: name(thread), raw: Raw::default() }).collect();
        let rounder = || Rounder::new(snapshot.period);
        let (mut live, mut ever, mut of_threads) = (rounder(), rounder(), rounder());
        let (mut all, mut sums) = ([Totals::default(); 2], vec![Totals::default(); self.threads.len()]);
        for (frames, group) in group(snapshot, accumulated) {
            all[0] += group.live;
            let mut row = Row { frames, raw: live.round(estimate(&group.live)), ages: group.ages, ..Row::default() };
            if accumulated {
                row.raw_ever = ever.round(estimate_ever(&group.ever));
                all[1] += group.ever;
            }
            // A sample that was just published may not have been counted yet.
            row.totals = Totals {
                ever_objects: group.ever.ever_objects.max(group.live.live_objects),
                ever_bytes: group.ever.ever_bytes.max(group.live.live_bytes),
                ..group.live
            };
            for (thread, totals) in group.threads {
                let (thread, raw) =
                    (numbers.binary_search(&thread.into()).unwrap_or(0), of_threads.round(estimate(&totals)));
                sums.get_mut(thread).into_iter().for_each(|sum| *sum += totals);
                row.threads.push(Part { thread, raw, objects: totals.live_objects, bytes: totals.live_bytes });
            }
            row.past = past(&group.stacks, moments, row.totals);
            self.stacks.push(row);
        }
        // Each by itself: the head is for people, jeprof does not look at it.
        self.total = [rounder().round(estimate(&all[0])), rounder().round(estimate_ever(&all[1]))];
        for (thread, sum) in self.threads.iter_mut().zip(&sums) {
            thread.raw = rounder().round(estimate(sum));
        }
    }

    fn history(&mut self, snapshot: &Snapshot, moments: &[&Moment]) {
        self.timeline = snapshot.timeline.iter().map(|moment| (snapshot.wall_of(moment.at_ns), *moment)).collect();
        self.events = snapshot.events.iter().map(|event| (snapshot.wall_of(event.at_ns), *event)).collect();
        self.since_ns = if snapshot.since_ns == 0 { 0 } else { snapshot.wall_of(snapshot.since_ns) };
        // Now there are stacks of which nothing lives any more, and what was recycled before.
        let mut now = Totals {
            ever_bytes: snapshot.counter(Counter::RecycledBytes),
            ever_objects: snapshot.counter(Counter::RecycledObjects),
            ..Totals::default()
        };
        snapshot
            .stacks
            .values()
            .filter(|stack| stack.record.supply == Supply::Malloc)
            .for_each(|stack| now += Totals { live_objects: 0, live_bytes: 0, ..stack.record.totals() });
        let mut sums = vec![Totals::default(); moments.len() + 1];
        for past in self.stacks.iter().filter_map(|row| row.past.as_ref()) {
            sums.iter_mut().zip(past).for_each(|(sum, totals)| *sum += *totals);
        }
        if let Some(sum) = sums.last_mut() {
            *sum = Totals::default();
            self.stacks.iter().for_each(|row| *sum += row.totals);
        }
        let all = moments.iter().map(|moment| moment.totals).chain([now]);
        self.other = all.zip(sums).map(|(all, sum)| all.beyond(sum)).collect();
        let times = moments.iter().map(|moment| snapshot.wall_of(moment.at_ns));
        self.times_ns = times.chain([snapshot.wall_ns()]).collect();
    }

    fn failures(&mut self, snapshot: &'a Snapshot) {
        let frames = |failure: &Failure| {
            let stack = failure.stack.and_then(|stack| snapshot.stacks.get(&stack));
            stack.map_or(&[][..], |stack| snapshot.frames(stack))
        };
        let told = snapshot.failures.iter().map(|failure| (snapshot.wall_of(failure.at_ns), *failure, frames(failure)));
        self.failures = told.collect();
    }

    fn metadata(&mut self, snapshot: &Snapshot, around: &Surroundings<'_>) {
        let mut tell = |key: &str, value: String| self.metadata.push((key.into(), value));
        tell("pid", snapshot.pid.to_string());
        tell("token", format!("{:016x}", snapshot.token));
        tell("period", snapshot.period.to_string());
        around.metadata.iter().for_each(|(key, value)| tell(key, value.replace('\n', " ")));
        tell("live_samples", snapshot.samples.len().to_string());
        tell("torn_records", snapshot.torn.to_string());
        counters::NAMED.into_iter().for_each(|(counter, name)| tell(name, snapshot.counter(counter).to_string()));
        for end in StackEnd::ALL {
            let count = snapshot.counter_at(counters::stack_end_index(end));
            if count > 0 {
                tell(&format!("stack_end_{}", end.word()), count.to_string());
            }
        }
    }

    fn java(&mut self, snapshot: &'a Snapshot) {
        let failed = self.failures.iter().flat_map(|(_, _, frames)| *frames);
        let mapped = self.mapped.iter().flat_map(|row| row.frames);
        let known = self.stacks.iter().flat_map(|row| row.frames);
        let pcs = known.chain(failed).chain(mapped).copied().filter(|&pc| java_pc::parts(pc).is_some());
        self.java = order::distinct(pcs)
            .into_iter()
            .filter_map(|pc| {
                let (number, line) = java_pc::parts(pc)?;
                let method = snapshot.java_methods.get(&number)?;
                Some(JavaFrame { pc, class: &method.class, method: &method.method, line })
            })
            .collect();
    }
}

fn estimate(totals: &Totals) -> Estimate {
    Estimate { objects: objects(totals.live_objects), bytes: totals.live_bytes as f64 }
}

fn estimate_ever(totals: &Totals) -> Estimate {
    Estimate { objects: objects(totals.ever_objects), bytes: totals.ever_bytes as f64 }
}

/// Collects the samples by call stack, in the order of the frames. Two records of one stack (the
/// store allows them) become one group.
fn group(snapshot: &Snapshot, accumulated: bool) -> BTreeMap<&[u64], Group<'_>> {
    let mut groups: BTreeMap<&[u64], Group<'_>> = BTreeMap::new();
    for sample in &snapshot.samples {
        let Some(stack) = snapshot.stacks.get(&sample.stack) else { continue };
        let group = groups.entry(snapshot.frames(stack)).or_default();
        let (objects_here, bytes) = (sample.scaled_objects(), sample.weight_bytes);
        let live = Totals { live_objects: objects_here, live_bytes: bytes, ..Totals::default() };
        group.live += live;
        *group.threads.entry(sample.thread).or_default() += live;
        let age = live_bin(snapshot.now_ns().saturating_sub(sample.birth_ns));
        group.ages.add_live(age, objects(objects_here), bytes as f64);
    }
    for stack in snapshot.stacks.values().filter(|stack| stack.record.supply == Supply::Malloc) {
        let frames = snapshot.frames(stack);
        let group = if accumulated { Some(groups.entry(frames).or_default()) } else { groups.get_mut(frames) };
        let Some(group) = group else { continue };
        group.ever += stack.record.totals();
        group.ages.add_record(&stack.record.ages);
        group.stacks.push(stack);
    }
    groups.values_mut().for_each(|group| group.ages.round());
    groups
}
