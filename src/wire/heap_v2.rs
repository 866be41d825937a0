//! Writes a snapshot as jemalloc's `heap_v2` text, the format that `jeprof` reads.
//!
//! Format: jemalloc 5.3.1, `src/prof_data.c` (counts) and `src/prof_sys.c` (maps).
//!
//! **What the numbers are.** A sample of usable size s, requested size n, drawn with period R,
//! stands for `w = 1/(1-exp(-n/R))` objects and `s*w` bytes. Per stack these sum up to `C` objects
//! and `S` bytes: the truth that readers shall see. But jeprof multiplies what it reads: from
//! objects c and bytes b it makes `c*f` and `b*f` with `f = 1/(1-exp(-(b/c)/R))`. So the file gets
//! `b = S*(1-exp(-(S/C)/R))` and `c = C*(1-exp(-(S/C)/R))`, the numbers that jeprof turns into S
//! and C again. Example: R = 131072, one live sample of malloc(100) in the 112-byte class:
//! w = 1311.2, C = 1311.2, S = 146,856; b = 125, c = 1.12.
//!
//! c must be written as an integer, and for small objects jeprof's bytes are about `c*R`: plain
//! rounding would shift a stack of few samples by up to half a sample, always the same way for
//! objects of one size. The rounding error is therefore carried on to the next stack, so that
//! totals stay unbiased.

use super::ages::{Ages, live_bin};
use super::java_pc;
use super::live::counters;
use super::live::records::{SampleRecord, ThreadRecord};
use super::live::snapshot::{Snapshot, Stack};
use super::math::one_minus_exp;
use super::stack_end::StackEnd;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

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

/// Estimated objects and bytes: sums of what samples stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Estimate {
    objects: f64,
    bytes: f64,
}

impl Estimate {
    fn add(&mut self, sample: &SampleRecord) {
        self.objects += sample.weight_objects();
        self.bytes += sample.weight_bytes as f64;
    }

    /// The numbers that jeprof turns into this estimate (see the head of this file).
    fn inverted(&self, period: f64) -> Estimate {
        if self.objects <= 0.0 {
            return Estimate::default();
        }
        let kept = one_minus_exp(self.bytes / self.objects / period);
        Estimate { objects: self.objects * kept, bytes: self.bytes * kept }
    }
}

/// Rounds a series of estimates to integers and carries the error on.
#[derive(Default)]
struct Rounder {
    carry: Estimate,
}

impl Rounder {
    fn round(&mut self, exact: Estimate) -> (u64, u64) {
        if exact.objects <= 0.0 {
            return (0, 0);
        }
        let (objects, bytes) = (exact.objects + self.carry.objects, exact.bytes + self.carry.bytes);
        // jeprof does not scale a stack of 0 objects at all, so one is the least.
        let (whole_objects, whole_bytes) = (objects.round().max(1.0), bytes.round().max(1.0));
        self.carry = Estimate { objects: objects - whole_objects, bytes: bytes - whole_bytes };
        (whole_objects as u64, whole_bytes as u64)
    }
}

/// The samples of one call stack.
#[derive(Default)]
struct Group<'a> {
    frames: &'a [u64],
    total: Estimate,
    ever: Estimate,
    threads: BTreeMap<u32, Estimate>,
    ages: Ages,
}

/// Writes the dump.
pub(crate) fn write(snapshot: &Snapshot, around: &Surroundings<'_>, out: &mut impl Write) -> io::Result<()> {
    let groups = group(snapshot, around.accumulated);
    let writer = Writer { snapshot, around, period: snapshot.period.max(1) as f64, numbers: numbers(snapshot) };
    writer.head(out)?;
    writer.stacks(&groups, out)?;
    out.write_all(b"\nMAPPED_LIBRARIES:\n")?;
    out.write_all(around.maps)?;
    writer.metadata(&groups, out)
}

/// Collects the samples by call stack, in the order of the frames. Two records of one stack (the
/// store allows them) become one group.
fn group(snapshot: &Snapshot, accumulated: bool) -> Vec<Group<'_>> {
    let mut by_frames: BTreeMap<&[u64], Group<'_>> = BTreeMap::new();
    let mut entry = |stack: &Stack, change: &mut dyn FnMut(&mut Group<'_>)| {
        let frames = snapshot.frames(stack);
        change(by_frames.entry(frames).or_insert_with(|| Group { frames, ..Group::default() }));
    };
    for sample in &snapshot.samples {
        let Some(stack) = snapshot.stacks.get(&sample.stack) else { continue };
        entry(stack, &mut |group| {
            group.total.add(sample);
            let age = live_bin(snapshot.now_ns().saturating_sub(sample.birth_ns));
            group.ages.add_live(age, sample.weight_objects(), sample.weight_bytes as f64);
            group.threads.entry(sample.thread).or_default().add(sample);
        });
    }
    if accumulated {
        for stack in snapshot.stacks.values() {
            entry(stack, &mut |group| {
                group.ever.objects += stack.record.objects_ever();
                group.ever.bytes += stack.record.bytes as f64;
            });
        }
    }
    for stack in snapshot.stacks.values() {
        if let Some(group) = by_frames.get_mut(snapshot.frames(stack)) {
            group.ages.add_record(&stack.record.ages);
        }
    }
    by_frames.into_values().collect()
}

/// The numbers N of the `tN` lines: threads in the order of their records.
fn numbers(snapshot: &Snapshot) -> BTreeMap<u32, usize> {
    let known = snapshot.threads.keys().copied();
    let used = snapshot.samples.iter().map(|sample| sample.thread);
    let all: BTreeSet<u32> = known.chain(used).collect();
    all.into_iter().enumerate().map(|(number, thread)| (thread, number)).collect()
}

struct Writer<'a> {
    snapshot: &'a Snapshot,
    around: &'a Surroundings<'a>,
    period: f64,
    numbers: BTreeMap<u32, usize>,
}

impl Writer<'_> {
    fn head(&self, out: &mut impl Write) -> io::Result<()> {
        let mut total = Estimate::default();
        let mut threads: BTreeMap<u32, Estimate> = BTreeMap::new();
        for sample in &self.snapshot.samples {
            total.add(sample);
            threads.entry(sample.thread).or_default().add(sample);
        }
        let mut ever = Estimate::default();
        if self.around.accumulated {
            for stack in self.snapshot.stacks.values() {
                ever.objects += stack.record.objects_ever();
                ever.bytes += stack.record.bytes as f64;
            }
        }
        writeln!(out, "heap_v2/{}", self.snapshot.period)?;
        let rounded = |estimate: Estimate| Rounder::default().round(estimate.inverted(self.period));
        line(out, "t*", rounded(total), rounded(ever), b"")?;
        for (thread, number) in &self.numbers {
            let estimate = threads.get(thread).copied().unwrap_or_default();
            let name = self.snapshot.threads.get(thread).and_then(ThreadRecord::name).unwrap_or_default();
            line(out, &format!("t{number}"), rounded(estimate), (0, 0), name)?;
        }
        Ok(())
    }

    fn stacks(&self, groups: &[Group<'_>], out: &mut impl Write) -> io::Result<()> {
        let (mut totals, mut ever, mut threads) = (Rounder::default(), Rounder::default(), Rounder::default());
        for group in groups {
            out.write_all(b"@")?;
            for pc in group.frames {
                write!(out, " {pc:#x}")?;
            }
            out.write_all(b"\n")?;
            let total = totals.round(group.total.inverted(self.period));
            let ever = ever.round(group.ever.inverted(self.period));
            line(out, "t*", total, ever, b"")?;
            for (thread, estimate) in &group.threads {
                let number = self.numbers.get(thread).copied().unwrap_or(0);
                let counts = threads.round(estimate.inverted(self.period));
                line(out, &format!("t{number}"), counts, (0, 0), b"")?;
            }
        }
        Ok(())
    }

    /// Metadata stands after the maps, where `jeprof` ignores whatever is not a maps line.
    fn metadata(&self, groups: &[Group<'_>], out: &mut impl Write) -> io::Result<()> {
        let snapshot = self.snapshot;
        out.write_all(b"\n# heaptap 1\n")?;
        writeln!(out, "# pid: {}", snapshot.pid)?;
        writeln!(out, "# token: {:016x}", snapshot.token)?;
        writeln!(out, "# period: {}", snapshot.period)?;
        for (key, value) in self.around.metadata {
            writeln!(out, "# {key}: {}", value.replace('\n', " "))?;
        }
        writeln!(out, "# live_samples: {}", snapshot.samples.len())?;
        writeln!(out, "# torn_records: {}", snapshot.torn)?;
        for (counter, name) in counters::NAMED {
            writeln!(out, "# {name}: {}", snapshot.counter(counter))?;
        }
        for end in StackEnd::ALL {
            let count = snapshot.counter_at(counters::stack_end_index(end));
            if count > 0 {
                writeln!(out, "# stack_end_{}: {count}", end.word())?;
            }
        }
        self.java_frames(groups, out)?;
        writeln!(out, "# ages: {}", groups.len())?;
        let mut stacks = groups.iter().enumerate().filter(|(_, group)| !group.ages.is_empty());
        stacks.try_for_each(|(number, group)| writeln!(out, "# age: {number} {}", group.ages))
    }

    /// The names behind the fake pcs of this dump.
    fn java_frames(&self, groups: &[Group<'_>], out: &mut impl Write) -> io::Result<()> {
        let pcs: BTreeSet<u64> = groups.iter().flat_map(|group| group.frames).copied().collect();
        for pc in pcs {
            let Some((number, line)) = java_pc::parts(pc) else { continue };
            let Some(method) = self.snapshot.java_methods.get(&number) else { continue };
            write!(out, "# java: {pc:#x} ")?;
            out.write_all(if method.class.is_empty() { b"-" } else { &method.class })?;
            out.write_all(b" ")?;
            out.write_all(&method.method)?;
            writeln!(out, " {line}")?;
        }
        Ok(())
    }
}

/// One count line. A name may stand in the head only: under `@` jeprof wants the line to end in `]`.
fn line(out: &mut impl Write, who: &str, now: (u64, u64), ever: (u64, u64), name: &[u8]) -> io::Result<()> {
    write!(out, "  {who}: {}: {} [{}: {}]", now.0, now.1, ever.0, ever.1)?;
    if !name.is_empty() {
        out.write_all(b" ")?;
        let printable = |&byte: &u8| if byte.is_ascii_control() { b'?' } else { byte };
        out.write_all(&name.iter().map(printable).collect::<Vec<u8>>())?;
    }
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What jeprof makes of a count line (AdjustSamples in jeprof.in).
    fn jeprof(objects: f64, bytes: f64, period: f64) -> (f64, f64) {
        let scale = 1.0 / (1.0 - (-(bytes / objects) / period).exp());
        (objects * scale, bytes * scale)
    }

    #[test]
    fn jeprof_turns_inverted_numbers_back() {
        let period = 131_072.0;
        for (objects, bytes) in [(1311.2, 146_856.0), (3.0, 9.0e6), (1e6, 24e6), (1.0001, 4096.0)] {
            let exact = Estimate { objects, bytes };
            let stored = exact.inverted(period);
            let (read_objects, read_bytes) = jeprof(stored.objects, stored.bytes, period);
            assert!((read_objects / objects - 1.0).abs() < 1e-9 && (read_bytes / bytes - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn rounding_keeps_the_sum() {
        let mut rounder = Rounder::default();
        let exact = Estimate { objects: 1.12, bytes: 125.44 };
        let sum = (0..1000).map(|_| rounder.round(exact)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        assert_eq!(sum, (1120, 125_440));
    }
}
