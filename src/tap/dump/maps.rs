//! `/proc` as dumps need it: code mappings, thread names, resident memory of this process.

#[cfg(not(test))]
use crate::tap::errand::Errand;
use crate::tap::os::{folder, sys};
#[cfg(not(test))]
use crate::tap::unwind;
use crate::wire::{liveness, proc_status, title};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Part of the library's file name.
const PART_OF_NAME: &[u8] = b"heaptap";

/// Bytes of a command line that are read.
const MOST_COMMAND: u64 = 1 << 16;

/// Asks `/proc` about this process, by this thread: of a main thread that has ended it tells nothing. Kernels before
/// 3.17 know no `thread-self`.
fn own<T>(name: &str, ask: impl Fn(&str) -> io::Result<T>) -> io::Result<T> {
    ask(&format!("/proc/thread-self/{name}")).or_else(|_| ask(&format!("/proc/self/{name}")))
}

/// The mappings of this process.
pub(super) fn all() -> Vec<u8> {
    own("maps", |path| fs::read(path)).unwrap_or_default()
}

/// Tells the unwinder which objects there are.
#[cfg(not(test))]
pub(crate) fn tell_unwinder(_errand: &Errand) {
    unwind::refresh_objects(&all());
}

/// A number that is another one when files were mapped or unmapped.
pub(super) fn fingerprint(code_lines: &[u8]) -> u64 {
    let files = code_lines.split(|&byte| byte == b'\n').filter(|line| line.contains(&b'/'));
    // FNV-1a.
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    files.flatten().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Whether a process has the region of that file name mapped, or may have: it lives and cannot be looked at.
pub(crate) fn is_mapped(pid: u32, region: &str) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/maps")) {
        Ok(maps) if maps.is_empty() => is_mapped_by_a_thread(pid, region),
        Ok(maps) => liveness::maps_hold(&maps, region),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

/// The same for a process whose main thread has ended: it shows no maps, those of its other threads do.
fn is_mapped_by_a_thread(pid: u32, region: &str) -> bool {
    let threads = folder::entries(Path::new(&format!("/proc/{pid}/task")));
    let maps = threads.iter().filter_map(|thread| fs::read_to_string(thread.join("maps")).ok());
    maps.filter(|maps| !maps.is_empty()).take(1).any(|maps| liveness::maps_hold(&maps, region))
}

/// Whether a process is running that started before an instant of CLOCK_MONOTONIC: not one that got the pid later.
pub(crate) fn started_before(pid: u32, monotonic_ns: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    liveness::is_running_since_before(&stat, monotonic_ns)
}

/// The name that a thread has now; `None` once it has ended.
pub(crate) fn thread_name(tid: u32) -> Option<[u8; 16]> {
    let text = fs::read(format!("/proc/self/task/{tid}/comm")).ok()?;
    let mut name = [0; 16];
    for (room, byte) in name.iter_mut().zip(text.trim_ascii_end()) {
        *room = *byte;
    }
    Some(name)
}

/// The path of the program that runs.
pub(crate) fn executable_path() -> Option<PathBuf> {
    own("exe", |path| fs::read_link(path)).ok()
}

/// The words that the program was called with, as they stand in its memory now; of a long line the first.
pub(super) fn command() -> Vec<String> {
    let line = own("cmdline", |path| {
        let mut line = Vec::new();
        fs::File::open(path)?.take(MOST_COMMAND).read_to_end(&mut line)?;
        Ok(line)
    });
    title::words(&line.unwrap_or_default())
}

/// Whether the tap was preloaded into the process that started this one, as far as its environment tells.
pub(crate) fn is_parent_tapped() -> bool {
    let environment = fs::read(format!("/proc/{}/environ", sys::parent_id())).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|entry| {
        entry.starts_with(b"LD_PRELOAD=") && entry.windows(PART_OF_NAME.len()).any(|part| part == PART_OF_NAME)
    })
}

/// Resident memory, bytes.
pub(crate) fn resident_bytes() -> Option<u64> {
    let statm = own("statm", |path| fs::read_to_string(path)).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * crate::tap::os::map::page_size() as u64)
}

/// Resident memory by what the kernel counts cheaply (proc_pid_status(5)), bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resident {
    /// Anonymous memory.
    pub(crate) anonymous_bytes: Option<u64>,
    /// Files.
    pub(crate) file_bytes: Option<u64>,
    /// Shared memory.
    pub(crate) shared_bytes: Option<u64>,
}

impl Resident {
    fn of(status: &str) -> Resident {
        let [anonymous_bytes, file_bytes, shared_bytes] =
            ["RssAnon:", "RssFile:", "RssShmem:"].map(|key| proc_status::bytes(status, key));
        Resident { anonymous_bytes, file_bytes, shared_bytes }
    }

    /// All of it; `None`: not told (kernels before 4.5).
    pub(crate) fn all(&self) -> Option<u64> {
        Some(self.anonymous_bytes? + self.file_bytes? + self.shared_bytes?)
    }
}

/// Resident memory of this process by kind.
pub(crate) fn resident() -> Option<Resident> {
    Some(Resident::of(&own("status", |path| fs::read_to_string(path)).ok()?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn resident_memory_is_told_by_kind() {
        let resident = super::Resident::of("Name:\tx\nRssAnon:\t      12 kB\nRssFile:\t 4 kB\nRssShmem:\t 0 kB\n");
        assert_eq!((resident.anonymous_bytes, resident.all()), (Some(12 << 10), Some(16 << 10)));
        assert_eq!(super::Resident::of("VmRSS: 12 kB\n").all(), None);
        assert!(super::resident().unwrap().all().unwrap() > 100_000);
    }

    #[test]
    fn the_fingerprint_is_that_of_files() {
        let [one, same, other] = [
            &b"1-2 r-xp 0 0 0 /a\n3-4 r-xp 0 0 0\n"[..],
            b"1-2 r-xp 0 0 0 /a\n5-6 rwxp 0 0 0\n",
            b"2-3 r-xp 0 0 0 /a\n",
        ];
        assert_eq!(super::fingerprint(one), super::fingerprint(same));
        assert_ne!(super::fingerprint(one), super::fingerprint(other));
    }

    #[test]
    fn own_figures_can_be_read() {
        assert!(super::resident_bytes().unwrap() > 100_000);
        let tid = crate::tap::os::sys::thread_id();
        assert!(super::thread_name(tid).is_some() && super::thread_name(u32::MAX).is_none());
        assert!(!super::all().is_empty());
        let pid = crate::tap::os::sys::process_id();
        assert!(super::started_before(pid, crate::tap::os::clock::monotonic_ns()));
        assert!(!super::started_before(pid, 0) && !super::started_before(u32::MAX, u64::MAX));
    }
}
