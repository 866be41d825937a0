//! Another process's memory, read while it runs: by process_vm_readv(2), else through `/proc/PID/mem`.
//!
//! Only pages that are there are read: a look from outside must not bring any in. The kernel asks for the same right as
//! for ptrace(2); where it is refused, the rule that refused it and the remedy are named.
//!
//! # Safety
//! One system call that fills a buffer of ours.
#![allow(unsafe_code)]

use super::process::Process;
use crate::cli::open;
use anyhow::{Result, bail};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;
/// Entries of the page table that are asked for at once: those of 16 MiB.
const ENTRIES: usize = 4096;
/// An entry of `/proc/PID/pagemap` (pagemap.rst): present, swapped out, a file's or shared.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const OF_FILE: u64 = 1 << 61;
/// Number of the capability SYS_PTRACE.
const CAP_SYS_PTRACE: u32 = 19;

/// The memory.
pub(crate) struct PeerMemory {
    pid: libc::pid_t,
    pages: File,
    /// Where the system call is not allowed.
    file: Option<File>,
}

/// Which pages of a mapping matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All that are there.
    Present,
    /// Those that the process has written to: a file's other pages hold no pointer of this run.
    Written,
}

/// What a look at the page table met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pages {
    /// Pages that are in the swap space.
    pub(crate) swapped: u64,
}

impl PeerMemory {
    /// Of a process that may be looked into; `probe` is an address that can be read in it. The error names the rule
    /// that forbids it.
    pub(crate) fn open(pid: u32, probe: u64) -> Result<PeerMemory> {
        let kernel = |what: &str| open::kernel_file(Path::new(&format!("/proc/{pid}/{what}")));
        let Ok(number) = libc::pid_t::try_from(pid) else { bail!("there is no process {pid}") };
        let pages = kernel("pagemap");
        let Ok(pages) = pages else { bail!("{}", refused(pid, "reading its page table")) };
        let mut memory = PeerMemory { pid: number, pages, file: None };
        if memory.read(probe, &mut [0]) == 1 {
            return Ok(memory);
        }
        let why = io::Error::last_os_error();
        memory.file = kernel("mem").ok();
        if memory.file.is_some() && memory.read(probe, &mut [0]) == 1 {
            return Ok(memory);
        }
        bail!("{}", refused(pid, &format!("process_vm_readv: {why}")))
    }

    /// Reads words from an address on; how many were read.
    pub(crate) fn read(&self, at: u64, into: &mut [u64]) -> usize {
        if let Some(file) = &self.file {
            return self.read_file(file, at, into);
        }
        let bytes = std::mem::size_of_val(into);
        let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: bytes };
        let remote = libc::iovec { iov_base: at as *mut libc::c_void, iov_len: bytes };
        // SAFETY: the kernel writes at most so many bytes to the buffer, which takes any; the other side is checked by
        // the kernel.
        let read = unsafe { libc::process_vm_readv(self.pid, &local, 1, &remote, 1, 0) };
        usize::try_from(read).unwrap_or(0) / 8
    }

    fn read_file(&self, file: &File, at: u64, into: &mut [u64]) -> usize {
        let mut bytes = vec![0; into.len() * 8];
        let read = file.read_at(&mut bytes, at).unwrap_or(0);
        let words = bytes.get(..read).unwrap_or_default().chunks_exact(8).filter_map(|word| word.first_chunk());
        into.iter_mut().zip(words).map(|(place, word)| *place = u64::from_ne_bytes(*word)).count()
    }

    /// The word at an address.
    pub(crate) fn word(&self, at: u64) -> Option<u64> {
        let mut word = [0];
        (self.read(at, &mut word) == 1).then_some(word[0])
    }

    /// Tells which pages of a range are there, as ranges in their order.
    pub(crate) fn present(&self, range: Range<u64>, wanted: Wanted, each: &mut dyn FnMut(Range<u64>)) -> Pages {
        let (mut met, mut run) = (Pages::default(), 0..0);
        let mut entries = vec![0u8; ENTRIES * 8];
        let mut page = range.start / PAGE;
        let end = range.end.div_ceil(PAGE);
        while page < end {
            let count = (end - page).min(ENTRIES as u64) as usize;
            let piece = entries.get_mut(..count * 8).unwrap_or_default();
            let read = self.pages.read_at(piece, page * 8).unwrap_or(0) / 8;
            if read == 0 {
                break;
            }
            for entry in piece.chunks_exact(8).take(read).filter_map(|entry| entry.first_chunk()) {
                let entry = u64::from_ne_bytes(*entry);
                met.swapped += u64::from(entry & SWAPPED != 0 && entry & PRESENT == 0);
                if entry & PRESENT != 0 && (wanted == Wanted::Present || entry & OF_FILE == 0) {
                    if run.end != page * PAGE {
                        give(&run, each);
                        run = page * PAGE..page * PAGE;
                    }
                    run.end += PAGE;
                }
                page += 1;
            }
        }
        give(&run, each);
        met
    }
}

fn give(run: &Range<u64>, each: &mut dyn FnMut(Range<u64>)) {
    if !run.is_empty() {
        each(run.clone());
    }
}

/// Which rule forbids to read a process's memory, and what would help.
fn refused(pid: u32, what: &str) -> String {
    let process = Process { pid };
    if !process.exists() {
        return format!("there is no process {pid}");
    }
    let scope = open::kernel(Path::new("/proc/sys/kernel/yama/ptrace_scope")).ok();
    let scope = scope.and_then(|text| text.trim().parse::<u32>().ok()).unwrap_or(0);
    let own = Process { pid: std::process::id() };
    let mask =
        |of: Process, key: &str| of.status(key).and_then(|mask| u64::from_str_radix(&mask, 16).ok()).unwrap_or(0);
    let facts = Facts {
        reader: open::reader(),
        users: process.users(),
        scope,
        may_trace: mask(own, "CapEff") >> CAP_SYS_PTRACE & 1 == 1,
        has_more_rights: mask(process, "CapPrm") & !mask(own, "CapPrm") != 0,
    };
    format!("the memory of process {pid} may not be read ({what}): {}", facts.rule(pid))
}

/// What the kernel's rules ask about.
struct Facts {
    /// Who we are.
    reader: u32,
    /// Who the process is.
    users: Vec<u32>,
    /// Yama's ptrace_scope; 0 where there is no Yama.
    scope: u32,
    /// Whether we have CAP_SYS_PTRACE.
    may_trace: bool,
    /// Whether the process has capabilities that we have not.
    has_more_rights: bool,
}

impl Facts {
    fn rule(&self, pid: u32) -> String {
        let other = self.users.iter().find(|user| **user != self.reader);
        match () {
            () if self.scope >= 3 => {
                "kernel.yama.ptrace_scope is 3: nobody may, until the machine is started anew".to_owned()
            }
            () if self.may_trace => format!(
                "not even with CAP_SYS_PTRACE: a seccomp filter or security module (SELinux, AppArmor) of this \
                 container forbids it; run heaptap on the host, as root, with the pid that process {pid} has there"
            ),
            () if other.is_some() && self.reader != 0 => format!(
                "it belongs to another user ({}): that takes its user or CAP_SYS_PTRACE (sudo heaptap …)",
                other.copied().unwrap_or_default()
            ),
            () if self.scope == 2 => {
                "kernel.yama.ptrace_scope is 2: that takes CAP_SYS_PTRACE (sudo heaptap …; in a container: docker run \
                 --cap-add SYS_PTRACE, or in Kubernetes securityContext.capabilities.add: [SYS_PTRACE])"
                    .to_owned()
            }
            () if self.scope == 1 => {
                "kernel.yama.ptrace_scope is 1: only a process's own parents may, or who has CAP_SYS_PTRACE (sudo \
                 heaptap …; or `sysctl kernel.yama.ptrace_scope=0`; in a container: docker run --cap-add SYS_PTRACE)"
                    .to_owned()
            }
            () if self.has_more_rights => {
                "it has capabilities that this process has not, so that takes CAP_SYS_PTRACE (sudo heaptap …; in a \
                 container: docker run --cap-add SYS_PTRACE)"
                    .to_owned()
            }
            () => {
                "that takes CAP_SYS_PTRACE, which this process has not: the process changed its user, or made itself \
                   not dumpable (prctl PR_SET_DUMPABLE), or lives in another user namespace (sudo heaptap …; in a \
                   container: docker run --cap-add SYS_PTRACE)"
                    .to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_memory_is_read_where_it_is_there() {
        let words = [7u64, 8, 9];
        let at = words.as_ptr() as u64;
        let memory = PeerMemory::open(std::process::id(), at).unwrap();
        let mut read = [0; 3];
        assert_eq!((memory.read(at, &mut read), read, memory.word(at + 8)), (3, words, Some(8)));
        assert_eq!(memory.read(8, &mut read), 0);
        let by_file = PeerMemory { file: open::kernel_file(Path::new("/proc/self/mem")).ok(), ..memory };
        assert_eq!((by_file.read(at, &mut read), read, by_file.word(8)), (3, words, None));
        let mut ranges = Vec::new();
        let around = at / PAGE * PAGE;
        by_file.present(around..around + PAGE, Wanted::Written, &mut |range| ranges.push(range));
        assert_eq!((ranges.len(), ranges.first()), (1, Some(&(around..around + PAGE))));
        by_file.present(0..PAGE, Wanted::Present, &mut |range| panic!("{range:?}"));
    }

    #[test]
    fn a_refusal_names_its_rule() {
        let facts = |users: &[u32], scope, may_trace| {
            let has_more_rights = false;
            Facts { reader: 7, users: users.to_vec(), scope, may_trace, has_more_rights }
        };
        let rule = |facts: Facts| facts.rule(1);
        assert!(rule(facts(&[7], 1, false)).starts_with("kernel.yama.ptrace_scope is 1"));
        assert!(rule(facts(&[7], 2, false)).starts_with("kernel.yama.ptrace_scope is 2"));
        assert!(rule(facts(&[7], 3, true)).starts_with("kernel.yama.ptrace_scope is 3"));
        assert!(rule(facts(&[8, 8], 0, false)).contains("another user (8)"));
        assert!(rule(facts(&[7], 0, true)).contains("security module"));
        assert!(rule(facts(&[7], 0, false)).contains("PR_SET_DUMPABLE"));
        let more = Facts { has_more_rights: true, ..facts(&[7], 0, false) };
        assert!(rule(more).contains("capabilities that this process has not"));
        assert!(PeerMemory::open(u32::MAX, 0).is_err_and(|error| error.to_string().contains("no process")));
    }
}
