//! The first failures of a life: a thread that could not be started, memory that was refused.
//!
//! The failing thread writes them itself, at once: a process often ends right after. The failure with its stack is a
//! visit's work; what the limits are takes files, on an errand. Never in the way of a call that succeeds.

use super::profiler::Profiler;
use super::request::Request;
use crate::tap::errand::Errand;
use crate::tap::os::file::File;
use crate::tap::os::{cgroup, clock, sys};
use crate::tap::store::{Region, Store};
use crate::tap::visit::Visit;
use crate::wire::live::counters::Counter;
use crate::wire::live::failures::{
    BUSY, CIRCUMSTANCES_AT, Circumstances, FAILURE_WORDS, FAILURES_AT, Failure, MOST_FAILURES, WHOLE, Wish,
};
use crate::wire::live::supply::Supply;
use crate::wire::proc_status;
use std::sync::atomic::Ordering;

impl Profiler {
    /// Notes that the program did not get what it asked for. `bytes`: of the block or of the thread's stack; `entry`:
    /// address of the exported function that it called.
    #[cold]
    #[inline(never)]
    pub(crate) fn note_failure(&'static self, wish: Wish, errno: i32, bytes: usize, entry: usize) {
        if self.may_not_sample() || sys::process_id() != self.pid() {
            return; // a sandbox, or a child of vfork
        }
        let Some(place) = self.write_failure(wish, errno, bytes, entry) else { return };
        if self.may_not_open() {
            return;
        }
        let Some(store) = self.store() else { return };
        // First what needs no memory: there may be none.
        let own = match Errand::run(|_| own::<4096>()) {
            Some(own) => own,
            // Where nothing can be mapped there is no stack for an errand.
            None if wish == Wish::Mapping => limits_of_system(own::<512>()),
            None => return,
        };
        put(store.region(), place, CIRCUMSTANCES_AT, &own.pack());
        // A mapping may be made by a handler that interrupted the allocator: what allocates is left out there.
        let found = if wish == Wish::Mapping {
            Errand::run(|_| limits_of_system(own))
        } else {
            Errand::run(|_| circumstances(own))
        };
        if let Some(found) = found {
            put(store.region(), place, CIRCUMSTANCES_AT, &found.pack());
        }
    }

    /// A live profile for the first that there is to tell. Not from a handler, where a mapping may be made.
    fn store_for(&self, wish: Wish) -> Option<&'static Store> {
        let may_open = wish != Wish::Mapping && self.is_active() && !self.may_not_sample() && !self.life.is_over();
        if may_open { self.open_store() } else { None }
    }

    /// Writes it with its stack, and what can be asked without files; where it stands. `None`: there is no room, or the
    /// profiler is at work on this thread.
    fn write_failure(&'static self, wish: Wish, errno: i32, bytes: usize, entry: usize) -> Option<usize> {
        let visit = Visit::begin()?;
        let store = self.store().or_else(|| self.store_for(wish))?;
        let region = store.region();
        region.count(counter_of(wish), 1);
        let mut places = (0..MOST_FAILURES).map(|n| FAILURES_AT + n * FAILURE_WORDS);
        let claim = |at: &usize| region.at(*at).compare_exchange(0, BUSY, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        let at = places.find(claim)?;
        let request = Request { bytes, alignment: 1, zeroed: false, entry, caller: None };
        let scratch = self.capture(&visit, store, &request);
        let hint = visit.thread().hint();
        let stack = scratch.as_ref().and_then(|scratch| store.keep_stack(&scratch.trace, supply_of(wish), hint));
        let failure = Failure {
            at_ns: clock::monotonic_ns(),
            wish,
            errno: errno as u16,
            thread: sys::thread_id(),
            bytes: bytes as u64,
            stack,
            circumstances: limits(),
        };
        put(region, at, 1, &failure.pack());
        region.at(at).store(WHOLE, Ordering::Release);
        Some(at)
    }
}

/// What the stack of a failed wish is a stack of.
fn supply_of(wish: Wish) -> Supply {
    match wish {
        Wish::Memory => Supply::Malloc,
        Wish::Thread => Supply::Thread,
        Wish::Mapping => Supply::Mapping,
    }
}

fn counter_of(wish: Wish) -> Counter {
    match wish {
        Wish::Memory => Counter::Refused,
        Wish::Thread => Counter::RefusedThreads,
        Wish::Mapping => Counter::RefusedMappings,
    }
}

fn put(region: &Region, place: usize, from: usize, words: &[u64]) {
    (place + from..).zip(words).for_each(|(at, word)| region.at(at).store(*word, Ordering::Relaxed));
}

/// Limits of the process, without files.
fn limits() -> Circumstances {
    let finite = |resource| sys::limit(resource).filter(|&limit| limit != libc::RLIM_INFINITY);
    Circumstances {
        // The kernel does not hold root to it.
        most_processes: finite(libc::RLIMIT_NPROC).filter(|_| sys::known_user_id() != Some(0)),
        most_virtual: finite(libc::RLIMIT_AS),
        ..Circumstances::default()
    }
}

/// What the kernel tells of the process, read into the stack.
fn own<const BYTES: usize>() -> Circumstances {
    let mut buffer = [0_u8; BYTES];
    let mut read = |path| {
        let file = File::open(path)?;
        file.read(&mut buffer)
    };
    let length = read(c"/proc/thread-self/status").unwrap_or(0);
    let status = std::str::from_utf8(buffer.get(..length).unwrap_or_default()).unwrap_or_default();
    let known = Circumstances {
        threads: proc_status::number(status, "Threads:"),
        resident_bytes: proc_status::bytes(status, "VmRSS:"),
        virtual_bytes: proc_status::bytes(status, "VmSize:"),
        ..limits()
    };
    Circumstances { mappings: mappings(&mut buffer), ..known }
}

/// Lines of the list of mappings.
fn mappings(buffer: &mut [u8]) -> Option<u64> {
    let file = File::open(c"/proc/thread-self/maps")?;
    let mut lines = 0;
    loop {
        match file.read(buffer)? {
            0 => return Some(lines).filter(|&lines| lines > 0),
            length => {
                let text = buffer.get(..length).unwrap_or_default();
                lines += text.iter().filter(|&&byte| byte == b'\n').count() as u64;
            }
        }
    }
}

/// What is in force in the whole system, read into the stack.
fn limits_of_system(own: Circumstances) -> Circumstances {
    let number = |path| {
        let mut buffer = [0_u8; 32];
        let length = File::open(path)?.read(&mut buffer)?;
        std::str::from_utf8(buffer.get(..length)?).ok()?.trim_ascii().parse::<u64>().ok()
    };
    Circumstances {
        most_mappings: number(c"/proc/sys/vm/max_map_count"),
        overcommit: number(c"/proc/sys/vm/overcommit_memory"),
        ..own
    }
}

/// All that can be found out, with what the process is.
fn circumstances(own: Circumstances) -> Circumstances {
    let own = limits_of_system(own);
    let (tasks, memory) = (cgroup::tasks(), cgroup::memory());
    Circumstances {
        tasks: tasks.map(|tasks| tasks.0),
        most_tasks: tasks.map(|tasks| tasks.1),
        memory_bytes: memory.map(|limit| limit.used_bytes),
        most_memory: memory.map(|limit| limit.limit_bytes),
        ..own
    }
}
