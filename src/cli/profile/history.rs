//! What a snapshot tells of the time before it: a timeline of the process, events beside it, and what each stack held.
//!
//! The keeper writes it while the process runs (`wire/live/history`), so one dump is a series. The per-stack
//! checkpoints stand in [`Sample::past`](super::sample::Sample::past), one [`Past`] for each of
//! [`History::stack_times_ns`]; the last of them is the snapshot's own moment. At each of these times the rows of all
//! samples and [`History::other`] sum up to the process. Births and deaths between two times are differences: what was
//! allocated in between, and that less what more is live.

/// The history of one process life, up to one snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct History {
    /// At most 256 checkpoints of the process, oldest first.
    pub(crate) timeline: Vec<Checkpoint>,
    /// What happened, oldest first.
    pub(crate) events: Vec<Event>,
    /// Wall-clock times of the per-stack checkpoints, nanoseconds since 1970, oldest first: at most 32, and as the last
    /// the moment of the snapshot. Empty: the dump has no history by stack.
    pub(crate) stack_times_ns: Vec<u64>,
    /// At each of those times, what no sample's row has: stacks that were recycled since, or had no room.
    pub(crate) other: Vec<Past>,
    /// Wall clock since when the tap samples, or since the last reset; 0: unknown.
    pub(crate) observed_since_ns: u64,
}

/// The process at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Checkpoint {
    /// Wall clock, nanoseconds since 1970.
    pub(crate) wall_ns: u64,
    /// Live bytes, estimated.
    pub(crate) live_bytes: f64,
    /// Live objects, estimated.
    pub(crate) live_objects: f64,
    /// Bytes requested since the start, estimated.
    pub(crate) allocated_bytes: f64,
    /// Mean distance of samples that was in force, bytes.
    pub(crate) period_bytes: u64,
    /// Resident memory, bytes.
    pub(crate) resident_bytes: Option<u64>,
    /// Of it, anonymous memory, bytes.
    pub(crate) anonymous_bytes: Option<u64>,
    /// Of it, mapped files, bytes.
    pub(crate) file_bytes: Option<u64>,
    /// Of it, shared memory, bytes.
    pub(crate) shared_bytes: Option<u64>,
    /// Pages of malloc: those that blocks lie in, and free ones that the allocator keeps, bytes.
    pub(crate) malloc_bytes: Option<u64>,
    /// Classes of the resident memory (`wire/resident`), bytes; all zeros: nobody looked.
    pub(crate) classes: [u64; CLASSES],
    /// What the control group uses, bytes.
    pub(crate) group_used_bytes: Option<u64>,
    /// What it may use, bytes.
    pub(crate) group_limit_bytes: Option<u64>,
    /// Threads of the process.
    pub(crate) threads: Option<u64>,
    /// Open descriptors.
    pub(crate) descriptors: Option<u64>,
    /// Bytes in use of the Java heap.
    pub(crate) java_used_bytes: Option<u64>,
    /// Bytes committed to the Java heap.
    pub(crate) java_committed_bytes: Option<u64>,
}

/// Something that the program asked for and did not get.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    /// Wall clock, nanoseconds since 1970.
    pub(crate) wall_ns: u64,
    /// What it was, and what was in force.
    pub(crate) failure: Failure,
    /// From where, leaf first.
    pub(crate) stack: Box<[LocationId]>,
}

/// Something that happened to the process or its profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Wall clock, nanoseconds since 1970; late by the keeper's round, a second.
    pub(crate) wall_ns: u64,
    /// What it was.
    pub(crate) kind: EventKind,
    /// Of a rate, the new period in bytes; of what is counted, how many there were so far.
    pub(crate) value: u64,
}

use super::location::LocationId;
use crate::wire::live::failures::Failure;
use crate::wire::live::history::CLASSES;
pub(crate) use crate::wire::live::history::EventKind;

/// What a stack held at one moment, and what it had allocated until then; estimates that add up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Past {
    /// Live bytes.
    pub(crate) live_bytes: f64,
    /// Live objects.
    pub(crate) live_objects: f64,
    /// Bytes allocated so far.
    pub(crate) allocated_bytes: f64,
    /// Objects allocated so far.
    pub(crate) allocated_objects: f64,
}

impl Past {
    /// Whether the stack had not been seen yet.
    pub(crate) fn is_new(&self) -> bool {
        self.allocated_bytes <= 0.0 && self.allocated_objects <= 0.0 && self.live_bytes <= 0.0
    }

    /// Takes a part away, and never more than there is: what it took.
    pub(crate) fn take(&mut self, part: Past) -> Past {
        let take = |from: &mut f64, part: f64| {
            let taken = part.min(*from).max(0.0);
            *from -= taken;
            taken
        };
        Past {
            live_bytes: take(&mut self.live_bytes, part.live_bytes),
            live_objects: take(&mut self.live_objects, part.live_objects),
            allocated_bytes: take(&mut self.allocated_bytes, part.allocated_bytes),
            allocated_objects: take(&mut self.allocated_objects, part.allocated_objects),
        }
    }
}

impl std::ops::AddAssign for Past {
    fn add_assign(&mut self, other: Past) {
        self.live_bytes += other.live_bytes;
        self.live_objects += other.live_objects;
        self.allocated_bytes += other.allocated_bytes;
        self.allocated_objects += other.allocated_objects;
    }
}

impl std::ops::Mul<f64> for Past {
    type Output = Past;

    fn mul(self, share: f64) -> Past {
        Past {
            live_bytes: self.live_bytes * share,
            live_objects: self.live_objects * share,
            allocated_bytes: self.allocated_bytes * share,
            allocated_objects: self.allocated_objects * share,
        }
    }
}

impl History {
    /// Adds the history of another profile of the same times. `false`: its times are others, and nothing was added.
    pub(crate) fn add(&mut self, other: &History) -> bool {
        let is_same = self.stack_times_ns == other.stack_times_ns;
        if is_same {
            self.other.iter_mut().zip(&other.other).for_each(|(sum, past)| *sum += *past);
        }
        is_same
    }

    /// Forgets what is known of stacks at earlier times; the timeline and the events stay.
    pub(crate) fn forget_rows(&mut self) {
        self.stack_times_ns.clear();
        self.other.clear();
    }
}

/// Adds up rows of the same times; of rows of other times nothing remains.
pub(crate) fn add_rows(sum: &mut Box<[Past]>, row: &[Past]) {
    if sum.len() == row.len() {
        sum.iter_mut().zip(row).for_each(|(sum, past)| *sum += *past);
    } else {
        *sum = Box::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_time_add_up_and_others_do_not() {
        let past =
            |bytes| Past { live_bytes: bytes, live_objects: 1.0, allocated_bytes: 2.0 * bytes, allocated_objects: 2.0 };
        let mut sum: Box<[Past]> = [past(1.0), past(2.0)].into();
        add_rows(&mut sum, &[past(3.0), past(4.0)]);
        assert_eq!((sum[1].live_bytes, sum[1].allocated_bytes, sum[0].live_objects), (6.0, 12.0, 2.0));
        add_rows(&mut sum, &[past(3.0)]);
        assert!(sum.is_empty());
    }
}
