//! The threads of a process: how they are called, and which part of their stacks is in use.
//!
//! The kernel tells the stack pointer of a thread that waits (`/proc/PID/task/TID/syscall`), with what it passed to the
//! system call. Of one that runs it tells nothing: then nothing is known of what on its stack is in use.

use crate::cli::open;
use std::fs;
use std::path::Path;

/// Bytes below the stack pointer that a function may use without moving it (System V ABI: the red zone).
pub(super) const RED_ZONE: u64 = 128;

/// A thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Task {
    /// The kernel's id.
    pub(super) tid: u32,
    /// Its name.
    pub(super) name: String,
    /// Where its stack ends; `None`: it runs, or may not be asked.
    pub(super) stack_pointer: Option<u64>,
    /// What it passed to the system call that it waits in.
    pub(super) arguments: Vec<u64>,
}

/// All threads of a process.
pub(super) fn all(pid: u32) -> Vec<Task> {
    let folder = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&folder).into_iter().flatten();
    let tids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    tids.map(|tid| {
        let read = |what: &str| open::kernel(Path::new(&format!("{folder}/{tid}/{what}"))).unwrap_or_default();
        let (stack_pointer, arguments) = call(&read("syscall"));
        Task { tid, name: read("comm").trim_end().to_owned(), stack_pointer, arguments }
    })
    .collect()
}

/// The stack pointer and the arguments: `202 0x7f… 0x80 0x0 0x0 0x0 0x0 SP PC`, `-1 SP PC`, or `running`.
fn call(text: &str) -> (Option<u64>, Vec<u64>) {
    let words: Vec<u64> = text.split_whitespace().skip(1).filter_map(number).collect();
    match words.as_slice() {
        [arguments @ .., pointer, _] => (Some(*pointer).filter(|pointer| *pointer != 0), arguments.to_vec()),
        _ => (None, Vec::new()),
    }
}

fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Pointers that the kernel keeps for the program: what it gave with a descriptor to be told of (epoll(7)), in words.
pub(super) fn kept_by_kernel(pid: u32) -> Vec<(u64, String)> {
    let folder = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&folder).into_iter().flatten();
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut all = Vec::new();
    for number in numbers {
        let text = open::kernel(Path::new(&format!("{folder}/{number}"))).unwrap_or_default();
        all.extend(data(&text).map(|data| (data, format!("epoll descriptor {number}"))));
    }
    all
}

/// `tfd:        5 events:       19 data: 7f0000001234  pos:0 ino:1 sdev:9`.
fn data(text: &str) -> impl Iterator<Item = u64> + '_ {
    let lines = text.lines().filter(|line| line.starts_with("tfd:"));
    let words = lines.filter_map(|line| line.split("data:").nth(1)?.split_whitespace().next());
    words.filter_map(|word| u64::from_str_radix(word, 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_waits_tells_its_stack_and_its_arguments() {
        let waits = "202 0x7f05 0x80 0x0 0x0 0x0 0x0 0x7ffd1000 0x7f6f\n";
        assert_eq!(call(waits), (Some(0x7ffd_1000), vec![0x7f05, 0x80, 0, 0, 0, 0]));
        assert_eq!(call("-1 0x7ffd1000 0x7f6f"), (Some(0x7ffd_1000), vec![]));
        assert_eq!((call("running\n"), call("")), ((None, vec![]), (None, vec![])));
    }

    #[test]
    fn what_epoll_keeps_is_read() {
        let text = "pos:\t0\nflags:\t02\ntfd:        5 events:       19 data: 7f0000001234  pos:0 ino:1 sdev:9\n";
        assert_eq!(data(text).collect::<Vec<_>>(), [0x7f00_0000_1234]);
    }

    #[test]
    fn our_own_threads_have_names() {
        let own = all(std::process::id());
        // Those of other tests end meanwhile.
        assert!(own.iter().any(|task| task.tid == std::process::id() && !task.name.is_empty()));
    }
}
