//! seccomp filters: what a filter will do to the tap's system calls, found out before the kernel gets it.
//!
//! A program may give up system calls on pain of death. What the tap does in its name must then stop: a dump that opens
//! a file would end the program. A probe cannot tell: the kernel answers a forbidden call by ending the process, and a
//! fork child that tries in our place would run the host's atfork handlers and be seen by its `wait`. So the filter is
//! run here, as the kernel will run it: a filter is a program of classic BPF that reads a `seccomp_data` and returns an
//! action (seccomp(2), linux/bpf_common.h).
//!
//! Before the kernel has accepted the call its pointers are anything: the filter is then read by a checked copy
//! (`examine`). Where no copy can be had, it is read after the kernel has (`examine_accepted`).
//!
//! # Safety
//! What is read plainly is our own copy, or what the kernel has just read: a counted array, by the contract of
//! seccomp(2).
#![allow(unsafe_code)]

use super::checked::{self, Copied};
use super::libc_names::is_glibc;
use super::map;
use super::optional::{OptionalCall, OptionalCalls};
use libc::{c_long, sock_filter, sock_fprog};

/// Instructions that a filter has at most (BPF_MAXINSNS); jumps go forward only.
const MOST: usize = 4096;
/// `seccomp_data` in words: number, architecture, instruction pointer, six arguments of two words.
const DATA_WORDS: usize = 16;
/// The first word of the arguments.
const ARGUMENTS_AT: usize = 4;
/// Words of BPF's scratch memory.
const MEMORY: usize = 16;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// A system call of the tap's, with the arguments by which a filter may tell one use of it from another.
#[derive(Clone, Copy)]
struct Call(c_long, [u64; 6]);

/// One whose arguments say little.
const fn any(number: c_long) -> Call {
    Call(number, [0; 6])
}

const READ_WRITE: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;
/// Flags of fresh memory.
const FRESH: u64 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as u64;

/// System calls of a visit (`tap/visit.rs`).
const SAMPLING: &[Call] = &[
    Call(libc::SYS_mmap, [0, 4096, READ_WRITE, FRESH, u64::MAX, 0]),
    Call(libc::SYS_mmap, [0, 4096, libc::PROT_NONE as u64, FRESH, u64::MAX, 0]),
    any(libc::SYS_munmap),
    Call(libc::SYS_madvise, [0, 4096, libc::MADV_DONTNEED as u64, 0, 0, 0]),
    Call(libc::SYS_madvise, [0, 4096, libc::MADV_POPULATE_WRITE as u64, 0, 0, 0]),
    Call(libc::SYS_mprotect, [0, 4096, READ_WRITE, 0, 0, 0]),
    any(libc::SYS_gettid),
    any(libc::SYS_getpid),
    Call(libc::SYS_prctl, [libc::PR_GET_NAME as u64, 0, 0, 0, 0, 0]),
    any(libc::SYS_rt_sigprocmask),
];
/// System calls that can be done without (`optional`), on visits and elsewhere.
const OPTIONAL: &[(OptionalCall, Call)] = &[
    (OptionalCall::Copy, Call(libc::SYS_process_vm_readv, [0, 0, 1, 0, 1, 0])),
    (OptionalCall::ProcessorTime, Call(libc::SYS_clock_gettime, [libc::CLOCK_THREAD_CPUTIME_ID as u64, 0, 0, 0, 0, 0])),
    (
        OptionalCall::ProcessorTime,
        Call(libc::SYS_clock_gettime, [libc::CLOCK_PROCESS_CPUTIME_ID as u64, 0, 0, 0, 0, 0]),
    ),
    (OptionalCall::Limit, any(libc::SYS_prlimit64)),
    (OptionalCall::Thread, any(libc::SYS_tgkill)),
    (OptionalCall::Pending, any(libc::SYS_rt_sigpending)),
    (OptionalCall::Pending, any(libc::SYS_rt_sigtimedwait)),
    (OptionalCall::User, any(libc::SYS_geteuid)),
    (OptionalCall::Process, any(libc::SYS_getpid)),
];
/// System calls of a line on stderr.
const SPEECH: &[Call] = &[
    any(libc::SYS_write),
    any(libc::SYS_fstat),
    any(libc::SYS_newfstatat),
    any(libc::SYS_ppoll),
    any(libc::SYS_rt_sigprocmask),
    any(libc::SYS_rt_sigpending),
    any(libc::SYS_rt_sigtimedwait),
];
/// Further system calls of errands: opening the region, writing a dump, the keeper. A filter that refuses some of
/// these, with an error, does no harm.
const FILES: &[Call] = &[
    any(libc::SYS_openat),
    any(libc::SYS_close),
    any(libc::SYS_read),
    any(libc::SYS_write),
    any(libc::SYS_fstat),
    any(libc::SYS_newfstatat),
    any(libc::SYS_statx),
    any(libc::SYS_statfs),
    any(libc::SYS_fstatfs),
    any(libc::SYS_lseek),
    any(libc::SYS_readlinkat),
    any(libc::SYS_faccessat),
    any(libc::SYS_getcwd),
    any(libc::SYS_linkat),
    any(libc::SYS_unlinkat),
    any(libc::SYS_renameat),
    any(libc::SYS_mkdirat),
    any(libc::SYS_ftruncate),
    any(libc::SYS_fchmod),
    any(libc::SYS_getdents64),
    any(libc::SYS_geteuid),
    any(libc::SYS_getresuid),
    any(libc::SYS_getppid),
    any(libc::SYS_pread64),
    any(libc::SYS_pwrite64),
    any(libc::SYS_flock),
    Call(libc::SYS_fcntl, [0, libc::F_DUPFD_CLOEXEC as u64, 0, 0, 0, 0]),
    Call(libc::SYS_ioctl, [libc::STDERR_FILENO as u64, libc::TCGETS, 0, 0, 0, 0]),
    any(libc::SYS_prlimit64),
    any(libc::SYS_rt_sigpending),
    any(libc::SYS_rt_sigtimedwait),
    any(libc::SYS_futex),
    any(libc::SYS_nanosleep),
    any(libc::SYS_tgkill),
    any(libc::SYS_ppoll),
    // The keeper's; libc starts a thread by the one or the other, and tells its threads of changes of users by signals.
    any(libc::SYS_rt_sigaction),
    any(libc::SYS_rt_sigreturn),
    Call(libc::SYS_clone, [THREAD, 0, 0, 0, 0, 0]),
    any(libc::SYS_clone3),
    any(libc::SYS_exit),
    any(libc::SYS_rseq),
    any(libc::SYS_close_range),
    any(libc::SYS_pidfd_open),
    any(libc::SYS_pidfd_getfd),
    any(libc::SYS_set_robust_list),
    any(libc::SYS_sched_getscheduler),
    any(libc::SYS_sched_setscheduler),
    any(libc::SYS_sched_setaffinity),
    any(libc::SYS_getpriority),
    any(libc::SYS_setpriority),
    Call(libc::SYS_prctl, [libc::PR_SET_NAME as u64, 0, 0, 0, 0, 0]),
];
/// Flags of clone(2) for a thread (clone.c and allocatestack.c of glibc).
const THREAD: u64 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID) as u64;
/// Older forms of some, which libc uses on x86-64.
#[cfg(target_arch = "x86_64")]
const OLD_FORMS: &[Call] = &[
    any(libc::SYS_readlink),
    any(libc::SYS_link),
    any(libc::SYS_unlink),
    any(libc::SYS_rename),
    any(libc::SYS_getrlimit),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_FORMS: &[Call] = &[];
/// What keepers of musl's fork children need (`exit_word`).
const OF_MUSL: &[Call] = &[any(libc::SYS_set_tid_address)];

/// The work that is deadly from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadly {
    /// Taking samples.
    pub(crate) sampling: bool,
    /// Opening files, and so the region, dumps, and the keeper.
    pub(crate) files: bool,
    /// What can be done without.
    pub(crate) optional: OptionalCalls,
    /// Writing a line to stderr.
    pub(crate) speech: bool,
}

impl Deadly {
    /// Nothing is.
    pub(crate) const NOTHING: Deadly =
        Deadly { sampling: false, files: false, optional: OptionalCalls::NONE, speech: false };
    /// Everything is: what the strict mode leaves is read, write and the end.
    pub(crate) const EVERYTHING: Deadly =
        Deadly { sampling: true, files: true, optional: OptionalCalls::ALL, speech: true };
}

/// The filter that the kernel is asked to install, as far as that can be told before it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// It makes this deadly.
    Kills(Deadly),
    /// The kernel will refuse it: nothing readable, or no instructions, or too many.
    Refused,
    /// It cannot be read without trusting the pointer.
    Unknown,
}

/// Looks at a filter that the kernel has not accepted yet. Changes `errno`.
pub(crate) fn examine(program: *const sock_fprog) -> Filter {
    let mut head = [0; size_of::<sock_fprog>()];
    match checked::copy_argument(program.expose_provenance(), &mut head) {
        Copied::Whole => {}
        Copied::Fault => return Filter::Refused,
        Copied::Refused => return Filter::Unknown,
    }
    // SAFETY: as many bytes as the structure has; a number and a pointer take any.
    let program = unsafe { head.as_ptr().cast::<sock_fprog>().read_unaligned() };
    let bytes = usize::from(program.len) * size_of::<sock_filter>();
    if bytes == 0 || usize::from(program.len) > MOST {
        return Filter::Refused;
    }
    let Some(place) = map::anonymous(bytes) else { return Filter::Unknown };
    // SAFETY: fresh zeroed memory of that size, which nobody else knows.
    let copy = unsafe { std::slice::from_raw_parts_mut(place.as_ptr(), bytes) };
    let copied = checked::copy_argument(program.filter.expose_provenance(), copy);
    // SAFETY: page-aligned, as many instructions as there are bytes for, and any bits are one.
    let code = unsafe { std::slice::from_raw_parts(place.as_ptr().cast::<sock_filter>(), usize::from(program.len)) };
    let filter = match copied {
        Copied::Whole => Filter::Kills(judge(code)),
        Copied::Fault => Filter::Refused,
        Copied::Refused => Filter::Unknown,
    };
    // SAFETY: mapped above, and not used any more.
    unsafe { map::unmap(place.as_ptr(), bytes) };
    filter
}

/// The work that a filter makes deadly which the kernel has accepted. Makes no system call.
///
/// # Safety
/// seccomp(2) has just succeeded with this program.
pub(crate) unsafe fn examine_accepted(program: *const sock_fprog) -> Deadly {
    // SAFETY: passed on to the caller.
    let Some(program) = (unsafe { program.as_ref() }) else { return Deadly::NOTHING };
    if program.filter.is_null() {
        return Deadly::NOTHING;
    }
    // SAFETY: the kernel has read that many instructions there.
    judge(unsafe { std::slice::from_raw_parts(program.filter, usize::from(program.len)) })
}

/// The work that this filter makes deadly.
fn judge(code: &[sock_filter]) -> Deadly {
    let any = |calls: &[Call]| calls.iter().any(|&call| kills(code, call));
    let sampling = any(SAMPLING);
    let files = sampling || any(FILES) || any(OLD_FORMS) || (!is_glibc() && any(OF_MUSL));
    // Where nothing is sampled any more nothing of this is missed.
    let optional = OPTIONAL.iter().filter(|(_, call)| sampling || kills(code, *call)).map(|(name, _)| *name);
    Deadly { sampling, files, optional: optional.fold(OptionalCalls::NONE, OptionalCalls::with), speech: any(SPEECH) }
}

/// Whether the filter kills, or sends a signal, for this system call. One that cannot be followed is taken to kill.
fn kills(code: &[sock_filter], call: Call) -> bool {
    match run(code, call) {
        Some(action) => !matches!(action & 0xffff_0000, SECCOMP_ALLOW | SECCOMP_LOG | SECCOMP_ERRNO | SECCOMP_NOTIFY),
        None => true,
    }
}

const SECCOMP_ALLOW: u32 = 0x7fff_0000;
const SECCOMP_LOG: u32 = 0x7ffc_0000;
const SECCOMP_NOTIFY: u32 = 0x7fc0_0000;
const SECCOMP_ERRNO: u32 = 0x0005_0000;

/// The state of the BPF machine.
struct Machine {
    accumulator: u32,
    index: u32,
    memory: [u32; MEMORY],
    data: [u32; DATA_WORDS],
}

fn run(code: &[sock_filter], Call(number, arguments): Call) -> Option<u32> {
    let mut data = [0; DATA_WORDS];
    data[0] = number as u32;
    data[1] = ARCHITECTURE;
    let words = arguments.into_iter().flat_map(|argument| [argument as u32, (argument >> 32) as u32]);
    data.iter_mut().skip(ARGUMENTS_AT).zip(words).for_each(|(to, word)| *to = word);
    let mut machine = Machine { accumulator: 0, index: 0, memory: [0; MEMORY], data };
    let mut at = 0;
    for _ in 0..MOST {
        let instruction = code.get(at)?;
        at += 1;
        match u32::from(instruction.code) & 7 {
            5 => at += machine.jump(instruction)?,
            6 => {
                return Some(if u32::from(instruction.code) & 0x18 == 0x10 {
                    machine.accumulator
                } else {
                    instruction.k
                });
            }
            _ => machine.step(instruction)?,
        }
    }
    None
}

impl Machine {
    /// BPF_LD, BPF_LDX, BPF_ST, BPF_STX, BPF_ALU and BPF_MISC.
    fn step(&mut self, instruction: &sock_filter) -> Option<()> {
        let (code, k) = (u32::from(instruction.code), instruction.k);
        match code & 7 {
            0 => self.accumulator = self.load(code, k)?,
            1 => self.index = self.load(code, k)?,
            2 => *self.memory.get_mut(k as usize)? = self.accumulator,
            3 => *self.memory.get_mut(k as usize)? = self.index,
            4 => self.accumulator = self.compute(code, k)?,
            7 if code & 0xf8 == 0x80 => self.accumulator = self.index,
            7 => self.index = self.accumulator,
            _ => return None,
        }
        Some(())
    }

    fn load(&self, code: u32, k: u32) -> Option<u32> {
        match code & 0xe0 {
            0x00 => Some(k),
            0x20 => self.data.get(k as usize / 4).copied().filter(|_| k.is_multiple_of(4)),
            0x60 => self.memory.get(k as usize).copied(),
            0x80 => Some(size_of::<[u32; DATA_WORDS]>() as u32),
            _ => None,
        }
    }

    fn operand(&self, code: u32, k: u32) -> u32 {
        if code & 8 == 0 { k } else { self.index }
    }

    fn compute(&self, code: u32, k: u32) -> Option<u32> {
        let (a, b) = (self.accumulator, self.operand(code, k));
        Some(match code & 0xf0 {
            0x00 => a.wrapping_add(b),
            0x10 => a.wrapping_sub(b),
            0x20 => a.wrapping_mul(b),
            0x30 => a.checked_div(b)?,
            0x40 => a | b,
            0x50 => a & b,
            // A constant of 32 and more is refused by the kernel; from the index register it takes five bits.
            0x60 => a.wrapping_shl(b),
            0x70 => a.wrapping_shr(b),
            0x80 => a.wrapping_neg(),
            0x90 => a.checked_rem(b)?,
            0xa0 => a ^ b,
            _ => return None,
        })
    }

    /// How far a jump goes.
    fn jump(&self, instruction: &sock_filter) -> Option<usize> {
        let (code, a) = (u32::from(instruction.code), self.accumulator);
        let b = self.operand(code, instruction.k);
        let holds = match code & 0xf0 {
            0x00 => return Some(instruction.k as usize),
            0x10 => a == b,
            0x20 => a > b,
            0x30 => a >= b,
            0x40 => a & b != 0,
            _ => return None,
        };
        Some(usize::from(if holds { instruction.jt } else { instruction.jf }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn statement(code: u16, k: u32) -> sock_filter {
        sock_filter { code, jt: 0, jf: 0, k }
    }

    const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
        sock_filter { code, jt, jf, k }
    }

    const LOAD_NUMBER: sock_filter = statement(0x20, 0);
    const KILL: sock_filter = statement(0x06, 0x8000_0000);
    const ALLOW: sock_filter = statement(0x06, SECCOMP_ALLOW);

    /// What is deadly for sampling and for files, which a copy must tell like the program itself.
    fn deadly(code: &[sock_filter]) -> [bool; 2] {
        let deadly = judge(code);
        let program = sock_fprog { len: code.len() as u16, filter: code.as_ptr().cast_mut() };
        match examine(&raw const program) {
            Filter::Kills(copied) => assert_eq!(copied, deadly),
            Filter::Refused => assert!(code.is_empty()),
            Filter::Unknown => {}
        }
        [deadly.sampling, deadly.files]
    }

    #[test]
    fn what_is_done_without_is_told_apart() {
        for &(name, Call(number, _)) in OPTIONAL {
            let found = judge(&[LOAD_NUMBER, jump(0x15, number as u32, 0, 1), KILL, ALLOW]);
            let only = OptionalCalls::NONE.with(name);
            assert!(found.optional == only && !found.sampling || name == OptionalCall::Process && found.sampling);
        }
    }

    #[test]
    fn arguments_are_those_of_the_taps_own_calls() {
        // Kills for prctl(2) with any other option than this.
        let filter = |option: i32| {
            let load_option = statement(0x20, 4 * ARGUMENTS_AT as u32);
            let [is_prctl, is_option] = [jump(0x15, libc::SYS_prctl as u32, 0, 3), jump(0x15, option as u32, 1, 0)];
            [LOAD_NUMBER, is_prctl, load_option, is_option, KILL, ALLOW]
        };
        assert_eq!(deadly(&filter(libc::PR_GET_NAME)), [false, true], "the keeper gives itself a name");
        assert_eq!(deadly(&filter(libc::PR_SET_NAME)), [true, true]);
    }

    #[test]
    fn wild_pointers_are_left_to_the_kernel() {
        let program = |filter: usize, len| sock_fprog { len, filter: std::ptr::with_exposed_provenance_mut(filter) };
        let wild = [program(16, 4), program(0, 4), program(0, 0)];
        let programs =
            wild.iter().map(std::ptr::from_ref).chain([std::ptr::with_exposed_provenance(16), std::ptr::null()]);
        for program in programs {
            assert!(matches!(examine(program), Filter::Refused | Filter::Unknown));
        }
    }

    #[test]
    fn elasticsearchs_filter_refuses_programs_and_is_not_deadly() {
        // Refuses fork, vfork, execve and execveat with EACCES, allows all others; kills another architecture.
        let code = [
            statement(0x20, 4),
            jump(0x15, ARCHITECTURE, 0, 7),
            LOAD_NUMBER,
            jump(0x35, 0x3fff_ffff, 5, 0),
            jump(0x15, 57, 4, 0),
            jump(0x15, 58, 3, 0),
            jump(0x15, 59, 2, 0),
            jump(0x15, 322, 1, 0),
            ALLOW,
            statement(0x06, SECCOMP_ERRNO | 13),
        ];
        assert_eq!(deadly(&code), [false, false]);
    }

    #[test]
    fn a_list_of_what_is_allowed_is_deadly_for_the_rest() {
        let mut code = vec![LOAD_NUMBER];
        for &Call(number, _) in SAMPLING {
            code.extend([jump(0x15, number as u32, 0, 1), ALLOW]);
        }
        code.push(KILL);
        assert_eq!(deadly(&code), [false, true]);
        assert_eq!(deadly(&[LOAD_NUMBER, jump(0x15, 1, 1, 0), KILL, ALLOW]), [true, true]);
        assert_eq!(deadly(&[ALLOW]), [false, false]);
    }

    #[test]
    fn programs_that_cannot_be_followed_are_deadly() {
        for code in [&[][..], &[statement(0x20, 3)], &[jump(0x05, 9, 0, 0)], &[statement(0x34, 0)]] {
            assert_eq!(deadly(code), [true, true]);
        }
        // a = 2; m[0] = a; x = m[0]; a = a * x + 4; a == 8 ? allow : kill
        let code = [
            statement(0x00, 2),
            statement(0x02, 0),
            statement(0x61, 0),
            statement(0x2c, 0),
            statement(0x04, 4),
            jump(0x15, 8, 1, 0),
            KILL,
            ALLOW,
        ];
        assert_eq!(deadly(&code), [false, false]);
    }
}
