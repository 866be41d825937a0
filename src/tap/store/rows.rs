//! The rows of the region's history: from which tick on a stack's sums were what.
//!
//! The keeper alone writes them, so there is no lock and nothing to agree on; readers in other processes see each
//! record whole or not at all (`publication`), and what a row tells of moments that stay is the same before and
//! after it is thinned (`wire/live/history`). A row is a list of records from its last one back; where each list ends,
//! and which records are free, only the keeper knows.

use super::region::Region;
use crate::wire::live::history::{ENTRIES, Entry, RowRecord};
use crate::wire::live::layout::SectionId;
use crate::wire::live::totals::Totals;
use std::sync::atomic::Ordering;

/// The last record of a stack's row.
#[derive(Clone, Copy, Default)]
struct Last {
    /// Which stack of that number: the low half of its record's generation.
    generation: u32,
    record: Option<u32>,
}

/// Where the rows are, and what is free.
#[derive(Default)]
pub(crate) struct Rows {
    /// By the number of the stack.
    last: Vec<Last>,
    free: Vec<u32>,
    fresh: u32,
}

impl Rows {
    /// Notes what a stack's sums are at a tick, if they are others than before. `false`: there is no room.
    pub(crate) fn note(&mut self, region: &Region, stack: u32, generation: u32, entry: Entry) -> bool {
        if self.last.len() <= stack as usize {
            self.last.resize(stack as usize + 1, Last::default());
        }
        let Some(last) = self.last.get(stack as usize).copied() else { return false };
        let last = match last.record {
            Some(record) if last.generation != generation => {
                // The slot is another stack's now.
                self.give_back(region, record);
                None
            }
            record => record,
        };
        let written = match last.and_then(|number| Some((number, read(region, number)?))) {
            Some((number, record)) => self.append(region, number, record, entry),
            None if entry.totals == Totals::default() => None,
            None => self.begin(region, RowRecord { stack, generation, ..RowRecord::default() }, entry),
        };
        let is_there = written.is_some() || (last.is_none() && entry.totals == Totals::default());
        if let Some(place) = self.last.get_mut(stack as usize) {
            *place = Last { generation, record: written.or(last) };
        }
        is_there
    }

    /// Takes the row of a stack away, if it has one.
    pub(crate) fn forget(&mut self, region: &Region, stack: u32) {
        let place = self.last.get_mut(stack as usize);
        if let Some(record) = place.and_then(|last| last.record.take()) {
            self.give_back(region, record);
        }
    }

    /// Adds an entry behind the last; the record that it is in.
    fn append(&mut self, region: &Region, number: u32, mut record: RowRecord, entry: Entry) -> Option<u32> {
        let used = record.entries.iter().flatten().count();
        let before = used.checked_sub(1).and_then(|last| record.entries.get_mut(last)).and_then(Option::as_mut);
        match before {
            Some(before) if before.totals == entry.totals => return Some(number),
            // An older one that was given this tick when its own went.
            Some(before) if before.tick >= entry.tick => before.totals = entry.totals,
            _ => match record.entries.get_mut(used) {
                Some(place) => *place = Some(entry),
                None => {
                    let next = RowRecord { previous: Some(number), entries: [None; ENTRIES], ..record };
                    return self.begin(region, next, entry);
                }
            },
        }
        write(region, number, &record);
        Some(number)
    }

    fn begin(&mut self, region: &Region, mut record: RowRecord, entry: Entry) -> Option<u32> {
        let number = self.take(region)?;
        if let Some(first) = record.entries.first_mut() {
            *first = Some(entry);
        }
        write(region, number, &record);
        Some(number)
    }

    /// A record that nothing uses.
    fn take(&mut self, region: &Region) -> Option<u32> {
        if let Some(number) = self.free.pop() {
            return Some(number);
        }
        let capacity = region.section(SectionId::Rows).capacity;
        if self.fresh as usize >= capacity || !region.back(SectionId::Rows, self.fresh) {
            return None;
        }
        self.fresh += 1;
        region.note_used(SectionId::Rows, self.fresh);
        Some(self.fresh - 1)
    }

    /// Takes a list of records away, from its last one back.
    fn give_back(&mut self, region: &Region, last: u32) {
        let mut next = Some(last);
        // No list is longer than all records; it would be a damaged one.
        for _ in 0..self.fresh {
            let Some(number) = next else { return };
            next = read(region, number).and_then(|record| record.previous);
            self.withdraw(region, number);
        }
    }

    fn withdraw(&mut self, region: &Region, number: u32) {
        if let Some(at) = region.section(SectionId::Rows).record(number) {
            region.withdraw(at);
            self.free.push(number);
        }
    }

    /// Gives each entry the tick of the next moment that stays, where every `step`th second does; of entries with one
    /// tick the last stays. The moments that go are gone already.
    pub(crate) fn thin(&mut self, region: &Region, step: u32) {
        for stack in 0..self.last.len() {
            let Some(Last { generation, record: Some(last) }) = self.last.get(stack).copied() else { continue };
            let last = self.thin_row(region, last, step);
            if let Some(place) = self.last.get_mut(stack) {
                *place = Last { generation, record: last };
            }
        }
    }

    /// Thins one row; its last record then.
    fn thin_row(&mut self, region: &Region, last: u32, step: u32) -> Option<u32> {
        let (mut numbers, mut entries): (Vec<u32>, Vec<Entry>) = (Vec::new(), Vec::new());
        let mut next = Some(last);
        while let Some((number, record)) = next.and_then(|number| Some((number, read(region, number)?))) {
            if numbers.len() > self.fresh as usize {
                break;
            }
            numbers.push(number);
            entries.extend(record.entries.into_iter().rev().flatten());
            next = record.previous;
        }
        numbers.reverse();
        entries.reverse();
        let before = entries.clone();
        entries.iter_mut().for_each(|entry| entry.tick = entry.tick.next_multiple_of(step.max(1)));
        let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            match kept.last_mut().filter(|last| last.tick == entry.tick) {
                Some(last) => *last = entry,
                None => kept.push(entry),
            }
        }
        if kept == before {
            return Some(last);
        }
        let head = read(region, last)?;
        let mut previous = None;
        let mut chunks = kept.chunks(ENTRIES);
        for number in numbers {
            match chunks.next() {
                Some(chunk) => {
                    let entries = std::array::from_fn(|n| chunk.get(n).copied());
                    write(region, number, &RowRecord { previous, entries, ..head });
                    previous = Some(number);
                }
                None => self.withdraw(region, number),
            }
        }
        previous
    }

    /// Forgets all rows.
    pub(crate) fn clear(&mut self, region: &Region) {
        for number in 0..self.fresh {
            if let Some(at) = region.section(SectionId::Rows).record(number) {
                region.withdraw(at);
            }
        }
        self.last.clear();
        self.free = (0..self.fresh).rev().collect();
    }
}

fn read(region: &Region, number: u32) -> Option<RowRecord> {
    let at = region.section(SectionId::Rows).record(number)?;
    let words = region.record(at + 1)?;
    Some(RowRecord::unpack(&words.each_ref().map(|word| word.load(Ordering::Relaxed))))
}

fn write(region: &Region, number: u32, record: &RowRecord) {
    if let Some(at) = region.section(SectionId::Rows).record(number) {
        region.publish(at, &record.pack());
    }
}
