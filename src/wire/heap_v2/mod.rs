//! Writes a snapshot as jemalloc's `heap_v2` text, the format that `jeprof` reads.
//!
//! Format: jemalloc 5.3.1, `src/prof_data.c` (counts) and `src/prof_sys.c` (maps). The counts are what stock jeprof
//! turns into the truth (see `raw`). Behind the maps, where `jeprof` ignores whatever is no line of maps, stands what
//! we know more exactly, or besides: metadata, names of Java frames, ages ([`ages`](super::ages)), exact sums and the
//! history (see `lines`).

mod contents;
pub(crate) mod failure;
pub(crate) mod lines;
pub(crate) mod mapped;
mod past;
mod raw;

pub(crate) use contents::{Contents, Surroundings};
pub(crate) use raw::Raw;

use super::live::snapshot::Snapshot;
use failure::FailureLine;
use lines::{EventLine, Exact, MomentLine, OtherLine, PastLine, Times};
use mapped::MappedLine;
use std::io::{self, Write};

/// Writes the dump.
pub(crate) fn write(snapshot: &Snapshot, around: &Surroundings<'_>, out: &mut impl Write) -> io::Result<()> {
    let contents = Contents::of(snapshot, around);
    counts(&contents, out)?;
    out.write_all(b"\nMAPPED_LIBRARIES:\n")?;
    out.write_all(contents.maps)?;
    out.write_all(b"\n# heaptap 1\n")?;
    contents.metadata.iter().try_for_each(|(key, value)| writeln!(out, "# {key}: {value}"))?;
    java_frames(&contents, out)?;
    details(&contents, out)?;
    history(&contents, out)
}

fn counts(contents: &Contents<'_>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "heap_v2/{}", contents.period)?;
    let [now, ever] = contents.total;
    line(out, "t*", now, ever, b"")?;
    for (number, thread) in contents.threads.iter().enumerate() {
        line(out, &format!("t{number}"), thread.raw, Raw::default(), thread.name.unwrap_or_default())?;
    }
    for row in &contents.stacks {
        out.write_all(b"@")?;
        row.frames.iter().try_for_each(|pc| write!(out, " {pc:#x}"))?;
        out.write_all(b"\n")?;
        line(out, "t*", row.raw, row.raw_ever, b"")?;
        for part in row.threads.iter().filter(|part| part.raw != Raw::default()) {
            line(out, &format!("t{}", part.thread), part.raw, Raw::default(), b"")?;
        }
    }
    Ok(())
}

/// The names behind the fake pcs of this dump.
fn java_frames(contents: &Contents<'_>, out: &mut impl Write) -> io::Result<()> {
    contents.java.iter().try_for_each(|frame| {
        write!(out, "# java: {:#x} ", frame.pc)?;
        out.write_all(if frame.class.is_empty() { b"-" } else { frame.class })?;
        out.write_all(b" ")?;
        out.write_all(frame.method)?;
        writeln!(out, " {}", frame.line)
    })
}

/// What is known of each stack besides its counts.
fn details(contents: &Contents<'_>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "# ages: {}", contents.stacks.len())?;
    for (number, row) in contents.stacks.iter().enumerate() {
        if !row.ages.is_empty() {
            writeln!(out, "# age: {number} {}", row.ages)?;
        }
        writeln!(out, "# exact: {}", Exact::of(number, row))?;
    }
    Ok(())
}

fn history(contents: &Contents<'_>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "# observed_since: {}", contents.since_ns)?;
    contents.timeline.iter().try_for_each(|(wall, moment)| writeln!(out, "# moment: {}", MomentLine(*wall, moment)))?;
    contents.events.iter().try_for_each(|(wall, event)| writeln!(out, "# event: {}", EventLine(*wall, *event)))?;
    for (wall, failure, frames) in &contents.failures {
        writeln!(out, "# failure: {}", FailureLine(*wall, *failure, frames))?;
    }
    for row in &contents.mapped {
        writeln!(out, "# mapped: {}", MappedLine(&row.sums, row.frames))?;
    }
    writeln!(out, "# past_times: {}", Times(&contents.times_ns))?;
    writeln!(out, "# past_other: {}", OtherLine(&contents.other))?;
    for (number, row) in contents.stacks.iter().enumerate() {
        if let Some((_, before)) = row.past.as_deref().and_then(<[_]>::split_last) {
            writeln!(out, "# past: {}", PastLine(number, before))?;
        }
    }
    for (number, row) in contents.mapped.iter().enumerate() {
        if let Some((_, before)) = row.past.as_deref().and_then(<[_]>::split_last) {
            writeln!(out, "# mapped_past: {}", PastLine(number, before))?;
        }
    }
    Ok(())
}

/// One count line. A name may stand in the head only: under `@` jeprof wants the line to end in `]`.
fn line(out: &mut impl Write, who: &str, now: Raw, ever: Raw, name: &[u8]) -> io::Result<()> {
    write!(out, "  {who}: {}: {} [{}: {}]", now.objects, now.bytes, ever.objects, ever.bytes)?;
    if !name.is_empty() {
        out.write_all(b" ")?;
        let printable = |&byte: &u8| if byte.is_ascii_control() { b'?' } else { byte };
        out.write_all(&name.iter().map(printable).collect::<Vec<u8>>())?;
    }
    out.write_all(b"\n")
}
