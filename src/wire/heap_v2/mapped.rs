//! Memory that is not malloc's, by call stack, and its lines in a dump:
//!
//!     # mapped: mapping anonymous - 3 196608 0 65536 12 786432 0x7f0011223344 0x…
//!                                   what gave it (mapping, or thread: stacks of threads), what most of it is, whose
//!                                   (`java_heap` … by the Java VM's own tables; `-`: the program's), ranges and bytes
//!                                   that are mapped, bytes of address space that was only reserved (PROT_NONE),
//!                                   resident bytes (`-`: nobody looked), ranges and bytes ever mapped, the call stack
//!     # mapped_past: 2 0/1/65536/0/0 …
//!                                   the third such line: at which of `past_times` ranges and bytes were mapped, and
//!                                   had been unmapped, since the time before; ranges in 65,536ths (`lines`)

use super::past::past;
use crate::wire::live::history::Moment;
use crate::wire::live::mapped::MappingKind;
use crate::wire::live::snapshot::{Snapshot, Stack};
use crate::wire::live::supply::Supply;
use crate::wire::live::totals::Totals;
use crate::wire::resident::known::Owner;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

/// Most frames that are believed.
const MOST_FRAMES: usize = 1024;

/// What one call stack has mapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// What gave it.
    pub(crate) supply: Supply,
    /// What most of it is.
    pub(crate) kind: MappingKind,
    /// Whose most of it is, if it is the Java VM's.
    pub(crate) owner: Option<Owner>,
    /// Ranges.
    pub(crate) ranges: u64,
    /// Bytes that may be touched.
    pub(crate) bytes: u64,
    /// Bytes of address space that was reserved only.
    pub(crate) reserved: u64,
    /// Resident bytes; `None`: nobody looked.
    pub(crate) resident: Option<u64>,
    /// Ranges ever mapped.
    pub(crate) ever_ranges: u64,
    /// Bytes ever mapped.
    pub(crate) ever_bytes: u64,
}

/// The same with its frames and its past.
#[derive(Debug, Default)]
pub(crate) struct Mapped<'a> {
    /// Return addresses, leaf first.
    pub(crate) frames: &'a [u64],
    /// The sums.
    pub(crate) sums: Sums,
    /// What it was at each of the times of the contents; `None`: not known.
    pub(crate) past: Option<Vec<Totals>>,
}

#[derive(Default)]
struct Group<'a> {
    sums: Sums,
    /// Bytes by what they are.
    kinds: BTreeMap<(MappingKind, Option<u8>), (u64, Option<Owner>)>,
    stacks: Vec<&'a Stack>,
}

/// The rows of a snapshot.
pub(super) fn rows<'a>(snapshot: &'a Snapshot, moments: &[&Moment]) -> Vec<Mapped<'a>> {
    let mut groups: BTreeMap<&[u64], Group<'a>> = BTreeMap::new();
    for mapping in &snapshot.mappings {
        let Some(stack) = snapshot.stacks.get(&mapping.stack) else { continue };
        let group = groups.entry(snapshot.frames(stack)).or_default();
        // The stack of a thread is its own, also where it was taken for a part of something.
        let owner = snapshot.known.owner(mapping.start, mapping.end()).filter(|_| mapping.kind != MappingKind::Stack);
        let sums = &mut group.sums;
        sums.supply = stack.record.supply;
        sums.ranges += 1;
        let place = if mapping.kind == MappingKind::Reserved { &mut sums.reserved } else { &mut sums.bytes };
        *place = place.saturating_add(mapping.bytes);
        if let Some(resident) = mapping.resident {
            sums.resident = Some(sums.resident.unwrap_or(0).saturating_add(resident));
        }
        let all = group.kinds.entry((mapping.kind, owner.map(|owner| owner as u8))).or_insert((0, owner));
        all.0 = all.0.saturating_add(mapping.bytes);
    }
    for stack in snapshot.stacks.values() {
        if let Some(group) = groups.get_mut(snapshot.frames(stack)).filter(|_| stack.record.supply != Supply::Malloc) {
            group.stacks.push(stack);
        }
    }
    groups.into_iter().map(|(frames, group)| row(frames, group, moments)).collect()
}

fn row<'a>(frames: &'a [u64], group: Group<'a>, moments: &[&Moment]) -> Mapped<'a> {
    let mut sums = group.sums;
    if let Some(((kind, _), (_, owner))) = group.kinds.into_iter().max_by_key(|(_, (bytes, _))| *bytes) {
        (sums.kind, sums.owner) = (kind, owner);
    }
    let mut now = Totals::default();
    group.stacks.iter().for_each(|stack| now += stack.record.totals());
    let all = sums.bytes.saturating_add(sums.reserved);
    (sums.ever_ranges, sums.ever_bytes) = ((now.ever_objects >> 16).max(sums.ranges), now.ever_bytes.max(all));
    // What is reserved is not told apart in what was.
    let past = if sums.reserved == 0 { past(&group.stacks, moments, now) } else { None };
    Mapped { frames, sums, past }
}

/// What a line was read as.
#[cfg(any(test, feature = "cli"))]
pub(crate) type Read = (Sums, Vec<u64>);

/// A line of a dump.
pub(crate) struct MappedLine<'a>(pub(crate) &'a Sums, pub(crate) &'a [u64]);

#[cfg(any(test, feature = "cli"))]
impl MappedLine<'_> {
    /// Reads what its `Display` wrote.
    pub(crate) fn parse(text: &str) -> Option<Read> {
        let mut words = text.split_ascii_whitespace();
        let supply = match words.next()? {
            "mapping" => Supply::Mapping,
            "thread" => Supply::Thread,
            _ => return None,
        };
        let kind = MappingKind::of_word(words.next()?)?;
        let owner = match words.next()? {
            "-" => None,
            word => Some(Owner::of_word(word)?),
        };
        let mut next = || words.next()?.parse::<u64>().ok();
        let (ranges, bytes, reserved) = (next()?, next()?, next()?);
        let resident = match words.next()? {
            "-" => None,
            number => Some(number.parse().ok()?),
        };
        let mut next = || words.next()?.parse::<u64>().ok();
        let (ever_ranges, ever_bytes) = (next()?, next()?);
        let frame = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
        let frames = words.take(MOST_FRAMES).map(frame).collect::<Option<Vec<u64>>>()?;
        let sums = Sums { supply, kind, owner, ranges, bytes, reserved, resident, ever_ranges, ever_bytes };
        Some((sums, frames))
    }
}

impl Display for MappedLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let MappedLine(sums, frames) = self;
        let supply = if sums.supply == Supply::Thread { "thread" } else { "mapping" };
        let owner = sums.owner.map_or("-", Owner::word);
        write!(f, "{supply} {} {owner} {} {} {}", sums.kind.word(), sums.ranges, sums.bytes, sums.reserved)?;
        match sums.resident {
            Some(resident) => write!(f, " {resident}")?,
            None => f.write_str(" -")?,
        }
        write!(f, " {} {}", sums.ever_ranges, sums.ever_bytes)?;
        frames.iter().try_for_each(|frame| write!(f, " {frame:#x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_and_damage_is_refused() {
        let bare = Sums { supply: Supply::Thread, kind: MappingKind::Stack, ranges: 2, bytes: 16, ..Sums::default() };
        let owned = Sums { owner: Some(Owner::JavaHeap), resident: Some(3), supply: Supply::Mapping, ..bare.clone() };
        for sums in [bare, owned] {
            let text = MappedLine(&sums, &[0x10, u64::MAX]).to_string();
            assert_eq!(MappedLine::parse(&text), Some((sums, vec![0x10, u64::MAX])));
            let cut = |words: usize| text.split(' ').take(words).collect::<Vec<_>>().join(" ");
            assert!((0..9).all(|words| MappedLine::parse(&cut(words)).is_none()));
            assert!(MappedLine::parse(&format!("{text} 12")).is_none());
        }
    }
}
