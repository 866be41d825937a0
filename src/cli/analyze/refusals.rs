//! What a program asked for and did not get, and which limit it met: threads that could not be started, memory that was
//! refused.
//!
//! The kernel gives one number for many causes (pthread_create(3), mmap(2)): EAGAIN, ENOMEM. What was in force and in
//! use at that moment tells them apart; where nothing does, that is said.

use super::frames::Kinds;
use super::own::Owners;
use crate::cli::profile::Profile;
use crate::cli::profile::history::Refusal;
use crate::cli::profile::location::Line;
use crate::wire::live::failures::{Circumstances, Wish};
use serde::Serialize;

/// A mapping or two for a stack and its guard.
const MAPPINGS_FOR_STACK: u64 = 3;
/// A thread's stack where nothing says its size (ulimit -s).
const STACK_BYTES: u64 = 8 << 20;
/// What the kernel kills a process for, by the name of version 2.
const GROUP_LIMIT: &str = "memory.max of the control group";
/// Part of the limit from which on it is the likely cause of a death. What a look sees is a second old, or minutes.
const NEAR_LIMIT: (u64, u64) = (3, 4);
/// No machine has as much.
const ABSURD_BYTES: u64 = 1 << 47;

/// One failure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Failed {
    /// Seconds since 1970.
    pub(crate) time: f64,
    /// `thread`, `memory` or `mapping`; `life`: it was killed.
    pub(crate) what: &'static str,
    /// The error that the program got.
    pub(crate) errno: u16,
    /// Bytes of the block; 0: not known.
    pub(crate) bytes: u64,
    /// The limit that was met; `None`: nothing tells.
    pub(crate) limit: Option<Limit>,
    /// Threads of the process.
    pub(crate) threads: Option<u64>,
    /// Its mappings.
    pub(crate) mappings: Option<u64>,
    /// Its resident memory.
    pub(crate) rss_bytes: Option<u64>,
    /// Its address space.
    pub(crate) virtual_bytes: Option<u64>,
    /// The user's own function that asked; without one the nearest that has a name.
    pub(crate) place: Option<String>,
    /// The call stack, leaf first.
    pub(crate) frames: Vec<String>,
}

/// A limit that was met.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Limit {
    /// Its name, as one would look it up.
    pub(crate) name: &'static str,
    /// What it allows.
    pub(crate) value: u64,
    /// Whether what is in use shows that it was met; else it is the likely one.
    pub(crate) is_sure: bool,
}

/// The failures of a life: its end, if memory was the likely cause, then the others, oldest first.
pub(crate) fn refusals(profile: &Profile) -> Vec<Failed> {
    let end = end_for_memory(profile);
    if profile.failures.is_empty() {
        return end.into_iter().collect();
    }
    let kinds = Kinds::of(profile);
    let owners = Owners::of(profile, &kinds);
    end.into_iter().chain(profile.failures.iter().map(|refusal| failed(profile, &owners, refusal))).collect()
}

/// The end of a process that was killed, and when it was last looked at had most of what its control group may have, in
/// memory that the kernel cannot take back. Nobody is told why the kernel kills: it is the likely cause and no more.
fn end_for_memory(profile: &Profile) -> Option<Failed> {
    let last = profile.history.timeline.last().filter(|_| profile.metadata.reason.as_deref() == Some("killed"))?;
    let limit = last.group_limit_bytes?;
    let fixed = last.anonymous_bytes?.saturating_add(last.shared_bytes.unwrap_or(0));
    let is_near = u128::from(fixed) * u128::from(NEAR_LIMIT.1) >= u128::from(limit) * u128::from(NEAR_LIMIT.0);
    is_near.then(|| Failed {
        time: last.wall_ns as f64 / 1e9,
        what: "life",
        errno: 0,
        bytes: 0,
        limit: Some(Limit { name: GROUP_LIMIT, value: limit, is_sure: false }),
        threads: last.threads,
        mappings: None,
        rss_bytes: last.resident_bytes,
        virtual_bytes: None,
        place: None,
        frames: Vec::new(),
    })
}

fn failed(profile: &Profile, owners: &Owners, refusal: &Refusal) -> Failed {
    let Refusal { wall_ns, failure, stack } = refusal;
    let lines: Vec<Line> = stack.iter().flat_map(|id| &profile.location(*id).lines).copied().collect();
    let name = |line: &Line| profile.function(line.function).map(|function| function.name.clone());
    let own = owners.own_frame(&lines).or(if lines.len() > 1 { Some(1) } else { None });
    let circumstances = &failure.circumstances;
    Failed {
        time: *wall_ns as f64 / 1e9,
        what: failure.wish.word(),
        errno: failure.errno,
        bytes: failure.bytes,
        limit: limit(failure.wish, failure.bytes, circumstances),
        threads: circumstances.threads,
        mappings: circumstances.mappings,
        rss_bytes: circumstances.resident_bytes,
        virtual_bytes: circumstances.virtual_bytes,
        place: own.and_then(|at| lines.get(at)).and_then(name),
        frames: lines.iter().filter_map(name).collect(),
    }
}

/// The limit that was met, or is likely to be the one.
fn limit(wish: Wish, bytes: u64, now: &Circumstances) -> Option<Limit> {
    let met = |name, most: Option<u64>, used: Option<u64>, more: u64| {
        let (value, used) = (most?, used?);
        (used.saturating_add(more) > value).then_some(Limit { name, value, is_sure: true })
    };
    let (is_thread, more) = match wish {
        Wish::Thread => (true, if bytes == 0 { STACK_BYTES } else { bytes }),
        Wish::Memory | Wish::Mapping => (false, bytes),
    };
    let tasks = || met("pids.max", now.most_tasks, now.tasks, 1).filter(|_| is_thread);
    let processes = || met("RLIMIT_NPROC (ulimit -u)", now.most_processes, now.threads, 1).filter(|_| is_thread);
    let space = || met("RLIMIT_AS (ulimit -v)", now.most_virtual, now.virtual_bytes, more);
    let mappings = || met("vm.max_map_count", now.most_mappings, now.mappings, MAPPINGS_FOR_STACK);
    let absurd = || {
        let value = ABSURD_BYTES;
        (!is_thread && bytes > value).then_some(Limit {
            name: "the address space of any process",
            value,
            is_sure: true,
        })
    };
    let memory = || met(GROUP_LIMIT, now.most_memory, now.memory_bytes, more);
    let strict = || {
        let value = now.overcommit.filter(|&mode| mode == 2)?;
        Some(Limit { name: "vm.overcommit_memory", value, is_sure: false })
    };
    // It counts all that the user runs, not this process alone.
    let likely = || {
        let value = now.most_processes.filter(|_| is_thread)?;
        Some(Limit { name: "RLIMIT_NPROC (ulimit -u)", value, is_sure: false })
    };
    let sure = absurd().or_else(tasks).or_else(processes).or_else(space).or_else(mappings).or_else(memory);
    sure.or_else(strict).or_else(likely)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::history::Checkpoint;

    #[test]
    fn a_process_that_was_killed_near_its_limit_is_told_so() {
        let checkpoint = Checkpoint {
            wall_ns: 2_000_000_000,
            resident_bytes: Some(950),
            anonymous_bytes: Some(700),
            shared_bytes: Some(60),
            group_limit_bytes: Some(1000),
            threads: Some(7),
            ..Checkpoint::default()
        };
        let profile = |reason: &str, last: Checkpoint| {
            let mut profile = Profile::default();
            profile.metadata.reason = Some(reason.to_owned());
            profile.history.timeline.push(last);
            profile
        };
        let told = refusals(&profile("killed", checkpoint.clone()));
        let limit = Limit { name: GROUP_LIMIT, value: 1000, is_sure: false };
        assert_eq!((told.len(), told[0].what, told[0].limit, told[0].time), (1, "life", Some(limit), 2.0));
        // Files can be dropped; and a process that ended by itself was not killed.
        let of_files = Checkpoint { anonymous_bytes: Some(600), ..checkpoint.clone() };
        let free = Checkpoint { group_limit_bytes: None, ..checkpoint.clone() };
        for profile in [profile("killed", of_files), profile("killed", free), profile("final", checkpoint)] {
            assert!(refusals(&profile).is_empty());
        }
    }

    #[test]
    fn the_limit_that_was_met_is_found() {
        let name = |wish, bytes, now: Circumstances| limit(wish, bytes, &now).map(|limit| (limit.name, limit.is_sure));
        let now = Circumstances {
            threads: Some(100),
            virtual_bytes: Some(1 << 30),
            mappings: Some(500),
            ..Circumstances::default()
        };
        assert_eq!(name(Wish::Thread, 0, now), None);
        let pids = Circumstances { tasks: Some(128), most_tasks: Some(128), ..now };
        assert_eq!(name(Wish::Thread, 0, pids), Some(("pids.max", true)));
        assert_eq!(name(Wish::Memory, 1, pids), None);
        let space = Circumstances { most_virtual: Some((1 << 30) + (4 << 20)), ..now };
        assert_eq!(name(Wish::Thread, 0, space), Some(("RLIMIT_AS (ulimit -v)", true)));
        assert_eq!(name(Wish::Memory, 1 << 20, space), None);
        assert_eq!(name(Wish::Memory, 1 << 24, space), Some(("RLIMIT_AS (ulimit -v)", true)));
        let user = Circumstances { most_processes: Some(4096), ..now };
        assert_eq!(name(Wish::Thread, 0, user), Some(("RLIMIT_NPROC (ulimit -u)", false)));
        assert_eq!(
            name(Wish::Thread, 0, Circumstances { threads: Some(4096), ..user }).map(|limit| limit.1),
            Some(true)
        );
        let maps = Circumstances { mappings: Some(65_529), most_mappings: Some(65_530), ..now };
        assert_eq!(name(Wish::Memory, 1, maps), Some(("vm.max_map_count", true)));
        assert_eq!(name(Wish::Memory, u64::MAX >> 1, now), Some(("the address space of any process", true)));
    }
}
