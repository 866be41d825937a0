//! The keeper's pen for the region's history: when a checkpoint is due, what of the older ones goes, what happened.
//!
//! Ticks are seconds of the life. At first every tick is a moment, and one at which stacks are looked at. When there is
//! no room for another moment, every second one goes and the step doubles; the same for the stacks, whose step is
//! never the shorter one. The order in which things are written is that of `wire/live/history`: entries before their
//! moment, and a moment goes before its entries are given to the next.

use crate::tap::store::{Rows, Store};
use crate::wire::live::counters::Counter;
use crate::wire::live::history::{Entry, Incident, MOST_MOMENTS, MOST_ROW_MOMENTS, Moment};
use crate::wire::live::layout::{Head, SectionId};
use crate::wire::live::supply::Supply;
use crate::wire::live::totals::Totals;
use std::sync::atomic::Ordering;

/// What is due at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// The tick that the checkpoint stands for.
    pub(crate) tick: u32,
    /// Whether stacks are to be looked at.
    pub(crate) has_rows: bool,
}

/// A moment that is written.
#[derive(Clone, Copy)]
struct Written {
    tick: u32,
    has_rows: bool,
    record: u32,
}

/// What is written so far in a region.
pub(crate) struct History {
    rows: Rows,
    moments: Vec<Written>,
    /// Records of the timeline that are free.
    free: Vec<u32>,
    fresh: u32,
    step: u32,
    row_step: u32,
    incidents: u32,
    resets: u64,
    /// There was no room for what stacks hold.
    is_crowded: bool,
    /// There was none once: stacks of which nothing is live go without a row from then on.
    is_dense: bool,
}

impl History {
    /// Nothing written yet.
    pub(crate) fn new() -> History {
        History {
            rows: Rows::default(),
            moments: Vec::new(),
            free: Vec::new(),
            fresh: 0,
            step: 1,
            row_step: 1,
            incidents: 0,
            resets: 0,
            is_crowded: false,
            is_dense: false,
        }
    }

    /// What is due at this second of the life.
    pub(crate) fn due(&self, second: u32) -> Option<Due> {
        let last = self.moments.last().map(|moment| moment.tick);
        let last_rows = self.moments.iter().rev().find(|moment| moment.has_rows).map(|moment| moment.tick);
        let is_new = |tick: u32, last: Option<u32>| last.is_none_or(|last| tick > last);
        let (tick, row_tick) = (floor(second, self.step), floor(second, self.row_step));
        // A late keeper may have missed the very second at which stacks were to be looked at.
        if is_new(row_tick, last_rows) && is_new(row_tick, last) {
            return Some(Due { tick: row_tick, has_rows: true });
        }
        is_new(tick, last).then_some(Due { tick, has_rows: false })
    }

    /// Writes a moment; where stacks are to be looked at, that is done now. `false`: there is no room at all.
    pub(crate) fn write(&mut self, store: &Store, mut moment: Moment) -> bool {
        let region = store.region();
        let resets = region.at(Head::Resets as usize).load(Ordering::Acquire);
        if std::mem::replace(&mut self.resets, resets) != resets {
            self.rows.clear(region);
            self.moments.iter_mut().for_each(|moment| moment.has_rows = false);
        }
        self.make_room(store, moment.has_rows);
        moment.resets = resets as u32;
        if moment.has_rows {
            // Before the rows: what is recycled meanwhile may be missing, rather than counted twice.
            let recycled = Totals {
                ever_objects: region.counter(Counter::RecycledObjects),
                ever_bytes: region.counter(Counter::RecycledBytes),
                ..Totals::default()
            };
            match self.write_rows(store, moment.tick) {
                Some(totals) => moment.totals = totals,
                // It would be wrong about those that found no room. Those that did are right for later moments, too.
                None => moment.has_rows = false,
            }
            moment.totals += recycled;
        }
        let Some(record) = self.take(store) else { return false };
        self.put(store, record, &moment);
        self.moments.push(Written { tick: moment.tick, has_rows: moment.has_rows, record });
        true
    }

    /// Notes what every stack holds; the sum of all. `None`: there was no room for one.
    fn write_rows(&mut self, store: &Store, tick: u32) -> Option<Totals> {
        let (region, rows, is_dense) = (store.region(), &mut self.rows, self.is_dense);
        let (mut sum, mut has_room) = (Totals::default(), true);
        store.each_stack(|stack, generation, supply, totals| {
            if supply == Supply::Malloc {
                sum += totals;
            }
            if is_dense && totals.live_bytes == 0 {
                return rows.forget(region, stack);
            }
            has_room &= rows.note(region, stack, generation, Entry { tick, totals });
        });
        self.is_crowded = !has_room;
        self.is_dense |= !has_room;
        has_room.then_some(sum)
    }

    /// Notes that something happened; when there is no room, in the place of what happened first.
    pub(crate) fn tell(&mut self, store: &Store, incident: &Incident) {
        let region = store.region();
        let capacity = region.section(SectionId::Events).capacity.max(1) as u32;
        let record = self.incidents % capacity;
        if !region.back(SectionId::Events, record) {
            return;
        }
        self.incidents = self.incidents.wrapping_add(1);
        if let Some(at) = region.section(SectionId::Events).record(record) {
            region.publish(at, &incident.pack());
            region.note_used(SectionId::Events, record + 1);
        }
    }

    fn make_room(&mut self, store: &Store, for_rows: bool) {
        let capacity = store.region().section(SectionId::Timeline).capacity;
        let most = MOST_MOMENTS.min(capacity).max(2);
        let most_rows = MOST_ROW_MOMENTS.min(most / 2).max(1);
        while self.moments.len() >= most {
            self.step = self.step.saturating_mul(2);
            self.thin_moments(store);
        }
        let count = |moments: &[Written]| moments.iter().filter(|moment| moment.has_rows).count();
        let mut is_thinned = self.row_step < self.step;
        self.row_step = self.row_step.max(self.step);
        while for_rows && (count(&self.moments) >= most_rows || self.is_crowded) && self.row_step < 1 << 30 {
            self.is_crowded = false;
            self.row_step = self.row_step.saturating_mul(2);
            is_thinned = true;
            self.unmark_rows(store);
        }
        if is_thinned {
            self.unmark_rows(store);
            self.rows.thin(store.region(), self.row_step);
        }
    }

    /// Takes the moments away that the step passes over.
    fn thin_moments(&mut self, store: &Store) {
        let (step, region) = (self.step, store.region());
        let free = &mut self.free;
        self.moments.retain(|moment| {
            let stays = moment.tick.is_multiple_of(step);
            if !stays && let Some(at) = region.section(SectionId::Timeline).record(moment.record) {
                region.withdraw(at);
                free.push(moment.record);
            }
            stays
        });
    }

    /// Moments at which the stacks' step passes over stay without rows.
    fn unmark_rows(&mut self, store: &Store) {
        let row_step = self.row_step;
        let passed: Vec<Written> = self
            .moments
            .iter_mut()
            .filter(|moment| moment.has_rows && !moment.tick.is_multiple_of(row_step))
            .map(|moment| {
                moment.has_rows = false;
                *moment
            })
            .collect();
        for written in passed {
            if let Some(moment) = get(store, written.record) {
                self.put(store, written.record, &Moment { has_rows: false, ..moment });
            }
        }
    }

    fn take(&mut self, store: &Store) -> Option<u32> {
        if let Some(record) = self.free.pop() {
            return Some(record);
        }
        let region = store.region();
        let is_there = (self.fresh as usize) < region.section(SectionId::Timeline).capacity;
        (is_there && region.back(SectionId::Timeline, self.fresh)).then(|| {
            self.fresh += 1;
            self.fresh - 1
        })
    }

    fn put(&self, store: &Store, record: u32, moment: &Moment) {
        let region = store.region();
        if let Some(at) = region.section(SectionId::Timeline).record(record) {
            region.publish(at, &moment.pack());
            region.note_used(SectionId::Timeline, record + 1);
        }
    }
}

fn get(store: &Store, record: u32) -> Option<Moment> {
    let at = store.region().section(SectionId::Timeline).record(record)?;
    let words = store.region().record(at + 1)?;
    Some(Moment::unpack(&words.each_ref().map(|word| word.load(Ordering::Relaxed))))
}

fn floor(second: u32, step: u32) -> u32 {
    second - second % step.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::os::tls;
    use crate::tap::store::tests::fixture::{sampled, store, trace};
    use crate::wire::live::history;
    use crate::wire::live::layout::MIN_BYTES;
    use crate::wire::live::snapshot::Snapshot;

    /// What the rows of a snapshot, and its totals, say of a moment.
    fn sums(snapshot: &Snapshot, moment: &Moment) -> (Totals, Totals) {
        let mut sum = Totals::default();
        for stack in snapshot.stacks.values() {
            sum += stack.row.as_deref().map_or(Totals::default(), |row| history::at(row, moment.tick));
        }
        (sum, moment.totals)
    }

    #[test]
    fn moments_double_their_step_and_rows_keep_what_they_were() {
        let store = store(40 << 20);
        let thread = tls::thread();
        let mut history = History::new();
        let mut live = vec![];
        // What was true at each second, by the number of the stack's frame.
        let mut truth: Vec<[u64; 3]> = vec![];
        for second in 0..1000u32 {
            let address = u64::from(second) * 64 + 64;
            // One grows, one is never touched again, one comes and goes.
            live.push((address, store.insert(&sampled(address), &trace([1]), thread, None).unwrap()));
            if second == 0 {
                store.insert(&sampled(8), &trace([2]), thread, None).unwrap();
            }
            let short = store.insert(&sampled(16), &trace([3]), thread, None).unwrap();
            assert!(store.retire(short, 16, 0, None));
            truth.push([u64::from(second) + 1, 1, u64::from(second) + 1].map(|count| count * 1000));
            if let Some(due) = history.due(second) {
                let moment = Moment { tick: due.tick, has_rows: due.has_rows, ..Moment::default() };
                assert!(history.write(&store, moment));
            }
        }
        let snapshot = Snapshot::take(store.region()).unwrap();
        assert!((128..=256).contains(&snapshot.timeline.len()), "{}", snapshot.timeline.len());
        let moments: Vec<&Moment> = snapshot.timeline.iter().filter(|moment| moment.has_rows).collect();
        assert!((16..=32).contains(&moments.len()), "{}", moments.len());
        assert!(moments.windows(2).all(|pair| pair[1].tick - pair[0].tick == history.row_step));
        for moment in moments {
            let expected = truth[moment.tick as usize];
            for stack in snapshot.stacks.values() {
                let at = history::at(stack.row.as_deref().unwrap(), moment.tick);
                let frame = snapshot.frames(stack)[0];
                assert_eq!(at.ever_bytes, expected[frame as usize - 1], "stack {frame} at {}", moment.tick);
                assert_eq!(at.live_bytes, if frame == 3 { 0 } else { at.ever_bytes });
            }
            let (rows, totals) = sums(&snapshot, moment);
            assert_eq!(rows, totals);
        }
    }

    #[test]
    fn recycled_stacks_stay_in_the_totals() {
        let store = store(MIN_BYTES);
        let thread = tls::thread();
        let mut history = History::new();
        let capacity = store.region().section(SectionId::Stacks).capacity as u64;
        for second in 0..40u32 {
            for n in 0..capacity / 4 {
                let key = u64::from(second) * capacity + n + 1;
                let slot = store.insert(&sampled(key * 64), &trace([key]), thread, None).unwrap();
                store.retire(slot, key * 64, 0, None);
            }
            let due = history.due(second).unwrap_or(Due { tick: second, has_rows: false });
            history.write(&store, Moment { tick: due.tick, has_rows: due.has_rows, ..Moment::default() });
        }
        let snapshot = Snapshot::take(store.region()).unwrap();
        assert!(snapshot.counter(Counter::RecycledBytes) > 0);
        let moments: Vec<&Moment> = snapshot.timeline.iter().filter(|moment| moment.has_rows).collect();
        assert!(moments.len() > 1);
        for moment in moments {
            let (rows, totals) = sums(&snapshot, moment);
            assert_eq!(totals.ever_bytes, (u64::from(moment.tick) + 1) * (capacity / 4) * 1000);
            assert!(rows.ever_bytes <= totals.ever_bytes);
        }
    }

    #[test]
    fn a_reset_ends_what_rows_tell() {
        let store = store(MIN_BYTES);
        let thread = tls::thread();
        let mut history = History::new();
        let mut turn = |second| {
            store.insert(&sampled(64 + u64::from(second)), &trace([7]), thread, None).unwrap();
            history.write(&store, Moment { tick: second, has_rows: true, ..Moment::default() });
        };
        turn(0);
        turn(1);
        store.clear();
        let rows = |snapshot: &Snapshot| snapshot.timeline.iter().filter(|moment| moment.has_rows).count();
        let snapshot = Snapshot::take(store.region()).unwrap();
        assert_eq!((snapshot.timeline.len(), rows(&snapshot)), (2, 0));
        turn(2);
        let snapshot = Snapshot::take(store.region()).unwrap();
        assert_eq!((snapshot.timeline.len(), rows(&snapshot)), (3, 1));
        let (sum, totals) = sums(&snapshot, snapshot.timeline.last().unwrap());
        assert_eq!((sum, totals.ever_bytes), (totals, 1000));
    }

    #[test]
    fn readers_during_checkpoints_see_rows_that_sum_up() {
        let store = store(4 << 20);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut history = History::new();
                let mut held = std::collections::VecDeque::new();
                for second in 0..600u32 {
                    for n in 0..20u64 {
                        let address = (u64::from(second) * 20 + n + 1) * 64;
                        let slot = store.insert(&sampled(address), &trace([n + 1]), tls::thread(), None).unwrap();
                        held.push_back((slot, address));
                        if held.len() > 300
                            && let Some((slot, address)) = held.pop_front()
                        {
                            assert!(store.retire(slot, address, 0, None));
                        }
                    }
                    if let Some(due) = history.due(second) {
                        let moment = Moment { tick: due.tick, has_rows: due.has_rows, ..Moment::default() };
                        history.write(&store, moment);
                    }
                }
                done.store(true, Ordering::Release);
            });
            while !done.load(Ordering::Acquire) {
                let snapshot = Snapshot::take(store.region()).unwrap();
                let all_known = snapshot.stacks.values().all(|stack| stack.row.is_some()) && snapshot.torn == 0;
                for moment in snapshot.timeline.iter().filter(|moment| moment.has_rows && all_known) {
                    let (rows, totals) = sums(&snapshot, moment);
                    assert_eq!(rows, totals, "at {}", moment.tick);
                }
            }
        });
    }

    #[test]
    fn the_first_incidents_make_room_for_the_last() {
        let store = store(MIN_BYTES);
        let mut history = History::new();
        for n in 0..300 {
            let kind = history::EventKind::Dump;
            history.tell(&store, &Incident { at_ns: n, kind, value: n });
        }
        let events = Snapshot::take(store.region()).unwrap().events;
        assert_eq!(events.last().unwrap().value, 299);
        assert!(events.windows(2).all(|pair| pair[0].at_ns < pair[1].at_ns) && events.len() > 100);
    }
}
