//! The models of the store, each with the promise that it proves.

use crate::tap::os::atomic::Ordering;
use crate::tap::stack::StackTrace;
use crate::tap::store::methods::Methods;
use crate::tap::store::region::Region;
use crate::tap::store::slots::SlotPool;
use crate::tap::store::stacks::Stacks;
use crate::wire::java_pc;
use crate::wire::live::layout::SectionId;
use crate::wire::live::records::{JavaMethodRecord, STACK_REFERENCES, STACK_SHAPE};
use crate::wire::live::state::{self, Reading};
use crate::wire::live::supply::Supply;
use crate::wire::live::words::Words;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;

/// Runs a model under every order with at most `preemptions` switches that no thread asked for.
pub(crate) fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// What the threads of the slot model share; the words count the owners of each slot.
struct Slots {
    region: Region,
    slots: SlotPool,
    owners: [AtomicU64; 3],
}

impl Slots {
    fn take(&self) -> u32 {
        let slot = self.slots.take(&self.region, 0).expect("enough slots for all");
        assert_eq!(self.owners[slot as usize].fetch_add(1, Ordering::Relaxed), 0, "slot {slot} has two owners");
        slot
    }

    fn give(&self, slot: u32) {
        self.owners[slot as usize].fetch_sub(1, Ordering::Relaxed);
        self.slots.give(&self.region, 0, slot);
    }
}

/// A slot has one owner, also where the first free slot is taken, the second too, and the first given back, while
/// another thread is about to take it (ABA).
#[test]
fn a_slot_has_one_owner() {
    explore(3, || {
        let owners = std::array::from_fn(|_| AtomicU64::new(0));
        let shared = Arc::new(Slots { region: Region::of(3), slots: SlotPool::new(SectionId::Threads, 0), owners });
        let all = [0; 3].map(|_| shared.take());
        all.into_iter().rev().for_each(|slot| shared.give(slot));
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let first = other.take();
            let second = other.take();
            other.give(first);
            second
        });
        let ours = shared.take();
        shared.give(ours);
        let theirs = thread.join().unwrap();
        shared.give(theirs);
        let all = [0; 3].map(|_| shared.take());
        assert!(all.iter().all(|slot| *slot < 3));
    });
}

/// A reader sees a record whole or not at all, while its slot is given back (which writes a link into it) and used
/// again.
///
/// The reader is the spawned thread: loom looks for the orders in which a load comes earlier, not for those in which it
/// comes later than a store that its thread's own load precedes.
#[test]
fn a_record_is_read_whole_or_not_at_all() {
    explore(3, || {
        let shared = Arc::new((Region::of(1), SlotPool::new(SectionId::Threads, 0)));
        let (region, slots) = &*shared;
        let write = |value: u64| {
            let slot = slots.take(region, 0).expect("one slot for one thread");
            let at = region.section(SectionId::Threads).record(slot).unwrap();
            region.publish_with(at, || (1..=2).for_each(|word| region.at(at + word).store(value, Ordering::Relaxed)));
            (slot, at)
        };
        let (slot, at) = write(100);
        let other = Arc::clone(&shared);
        let reader = thread::spawn(move || state::read::<2>(&other.0, at));
        region.withdraw(at);
        slots.give(region, 0, slot);
        write(200);
        if let Reading::Whole(words, word) = reader.join().unwrap() {
            assert_eq!(words, [[100; 2], [200; 2]][state::generation(word) as usize - 1]);
        }
        assert!(matches!(state::read::<2>(region, at), Reading::Whole([200, 200], _)));
    });
}

/// The same for a record that another one takes the place of at once, as a thread's does when it changes its name.
#[test]
fn a_record_that_is_replaced_is_read_whole_or_not_at_all() {
    explore(3, || {
        let shared = Arc::new(Region::of(1));
        let at = shared.section(SectionId::Threads).record(0).unwrap();
        let write = |value: u64| {
            shared.publish_with(at, || (1..=2).for_each(|word| shared.at(at + word).store(value, Ordering::Relaxed)));
        };
        write(100);
        let other = Arc::clone(&shared);
        let reader = thread::spawn(move || state::read::<2>(&*other, at));
        write(200);
        if let Reading::Whole(words, word) = reader.join().unwrap() {
            assert_eq!(words, [[100; 2], [200; 2]][state::generation(word) as usize - 1]);
        }
    });
}

fn trace(pc: u64) -> StackTrace {
    let mut trace = StackTrace::new(4);
    assert!(trace.push(pc));
    trace
}

/// The frame that a stack's record leads to.
fn frame_of(region: &Region, stack: u32) -> u64 {
    let at = region.section(SectionId::Stacks).record(stack).unwrap();
    let chunk = (region.at(at + STACK_SHAPE).load(Ordering::Relaxed) >> 32) as u32;
    let chunk = region.section(SectionId::Chunks).record(chunk).unwrap();
    region.at(chunk + 1).load(Ordering::Relaxed)
}

/// A stack that somebody holds a reference to is not taken back and not made another one, although there is room for
/// one stack only and each thread has to take the other's away.
#[test]
fn a_stack_in_use_is_never_recycled() {
    explore(2, || {
        let region = Region::of(1);
        let stacks = Stacks::new(&region, false).unwrap();
        let shared = Arc::new((region, stacks));
        let work = |shared: &(Region, Stacks), pc: u64| {
            let (region, stacks) = shared;
            if let Some(stack) = stacks.intern(region, &trace(pc), Supply::Malloc, 0) {
                let at = region.section(SectionId::Stacks).record(stack).unwrap();
                assert!(region.is_live(at) && frame_of(region, stack) == pc);
                stacks.release(region, stack);
            }
        };
        work(&shared, 0x1000);
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || work(&other, 0x2000));
        work(&shared, 0x1000);
        thread.join().unwrap();
        // Nobody holds anything any more: a third stack finds room.
        let (region, stacks) = &*shared;
        let stack = stacks.intern(region, &trace(0x3000), Supply::Malloc, 0).expect("the room of those that went");
        let at = region.section(SectionId::Stacks).record(stack).unwrap();
        assert_eq!((frame_of(region, stack), region.at(at + STACK_REFERENCES).load(Ordering::Relaxed)), (0x3000, 1));
    });
}

/// Two threads that meet the same new stack may record it twice, but each finds its own frames.
#[test]
fn two_threads_with_one_new_stack_both_find_it() {
    explore(2, || {
        let region = Region::of(2);
        let stacks = Stacks::new(&region, false).unwrap();
        let shared = Arc::new((region, stacks));
        let work = |shared: &(Region, Stacks)| {
            let (region, stacks) = shared;
            let stack = stacks.intern(region, &trace(0x1000), Supply::Malloc, 0).expect("room for both");
            assert_eq!(frame_of(region, stack), 0x1000);
            stack
        };
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || work(&other));
        let ours = work(&shared);
        let theirs = thread.join().unwrap();
        let (region, stacks) = &*shared;
        let again = stacks.intern(region, &trace(0x1000), Supply::Malloc, 0).unwrap();
        assert!(again == ours || again == theirs);
    });
}

/// What the threads of the models of methods share.
struct Named {
    region: Region,
    stacks: Stacks,
    methods: Methods,
}

impl Named {
    /// Room for `capacity` methods, the one of frames without a name among them.
    fn of(capacity: usize) -> Arc<Named> {
        let region = Region::of(capacity);
        let (stacks, methods) = (Stacks::new(&region, false).unwrap(), Methods::new(&region).unwrap());
        Arc::new(Named { region, stacks, methods })
    }

    /// The number of a method of a class with a name of one letter.
    fn intern(&self, class: u8) -> Option<u64> {
        let pc = self.methods.intern(&self.region, &[class], b"m", 0)?;
        Some(java_pc::parts(pc).expect("a fake pc").0)
    }

    /// The keeper begins to forget, or a second later forgets.
    fn tidy(&self, second: u64) {
        self.methods.tidy(&self.region, &self.stacks, second * 1_000_000_000);
    }

    /// The class under a number, as a reader of the region finds it: nothing if the record is not that method's now.
    fn class_of(&self, number: u64) -> Option<u8> {
        let at = self.region.section(SectionId::JavaMethods).record(java_pc::record(number)).unwrap();
        let Reading::Whole([names, ..], word) = state::read::<3>(&self.region, at) else { return None };
        let chunk = self.region.section(SectionId::Names).record(JavaMethodRecord::unpack(names).first_chunk)?;
        let text = self.region.word(chunk + 1);
        let is_same = self.region.live_word(at) == Some(word) && state::generation(word) == java_pc::life(number);
        is_same.then_some(text as u8)
    }
}

/// A method that a sample has asked for in the epoch that the keeper began keeps its record and its number.
#[test]
fn a_method_that_was_just_asked_for_is_not_forgotten() {
    explore(2, || {
        let named = Named::of(3);
        let before = named.intern(b'a').unwrap();
        assert!(named.intern(b'b').is_some());
        named.tidy(100);
        let other = Arc::clone(&named);
        let sample = thread::spawn(move || other.intern(b'a'));
        named.tidy(102);
        let again = named.intern(b'a').expect("its record, or the room of what was forgotten");
        assert_eq!(named.class_of(again), Some(b'a'));
        // Without a number: the record was just being forgotten, and its room not yet given back.
        if let Some(number) = sample.join().unwrap() {
            assert_eq!(named.class_of(number), Some(b'a'));
            assert!([number, again].contains(&before) || named.class_of(before).is_none());
        }
    });
}

/// A number never stands for two methods, also where a thread slept in the middle of a sample until its method was
/// forgotten and its record is another one's.
#[test]
fn a_number_is_one_methods() {
    explore(2, || {
        let named = Named::of(2);
        named.intern(b'a').unwrap();
        let other = Arc::clone(&named);
        let sample = thread::spawn(move || other.intern(b'a').map(|number| (number, other.class_of(number))));
        named.tidy(100);
        named.tidy(102);
        let ours = named.intern(b'b').map(|number| (number, named.class_of(number)));
        let theirs = sample.join().unwrap();
        for (asked, class) in [(theirs, b'a'), (ours, b'b')] {
            let Some((number, seen)) = asked else { continue };
            let is_it = |seen: Option<u8>| seen.is_none_or(|seen| seen == class);
            assert!(is_it(seen) && is_it(named.class_of(number)), "number {number} is another method's");
        }
        if let (Some((theirs, _)), Some((ours, _))) = (theirs, ours) {
            assert_ne!(theirs, ours);
        }
    });
}

/// A reader finds a method with its own names or not at all, while one thread takes it back and another writes the next
/// one's names where its names were.
#[test]
fn a_method_is_read_with_its_own_names() {
    explore(2, || {
        let named = Named::of(2);
        let number = named.intern(b'a').unwrap();
        named.tidy(100);
        let other = Arc::clone(&named);
        let reader = thread::spawn(move || other.class_of(number));
        let other = Arc::clone(&named);
        let sample = thread::spawn(move || other.intern(b'b'));
        named.tidy(102);
        assert!(reader.join().unwrap().is_none_or(|class| class == b'a'));
        let next = sample.join().unwrap();
        assert!(next.is_none_or(|next| next != number && named.class_of(next) == Some(b'b')));
    });
}
