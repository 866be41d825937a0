//! Every option with its default, and what follows from what was set.

use super::complaint::Used;
use crate::wire::live::layout::DEFAULT_BYTES;

/// Everything that can be set, with jemalloc's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options<'a> {
    /// `prof`: the master switch.
    pub(crate) prof: bool,
    /// `prof_active`: whether sampling is on at the start.
    pub(crate) prof_active: bool,
    /// `prof_accum`: fill the cumulative columns of dumps.
    pub(crate) prof_accum: bool,
    /// `prof_final`: dump at exit.
    pub(crate) prof_final: bool,
    /// `prof_prefix`: first part of dump names, may hold a directory; empty: no automatic dumps.
    pub(crate) prof_prefix: &'a [u8],
    /// `lg_prof_sample`: binary logarithm of the mean bytes between two samples.
    pub(crate) lg_prof_sample: u32,
    /// `lg_prof_interval`: binary logarithm of the bytes allocated between two dumps.
    pub(crate) lg_prof_interval: Option<u32>,
    /// `prof_bt_max`: most frames of a stack.
    pub(crate) prof_bt_max: usize,
    /// `prof_leak`: leak summary at the final dump.
    pub(crate) prof_leak: bool,
    /// `prof_leak_error`: the process ends with 1 if anything is live at its end.
    pub(crate) prof_leak_error: bool,
    /// `prof_pid_namespace`: the pid namespace is part of dump names.
    pub(crate) prof_pid_namespace: bool,
    /// `prof_gdump`: dump at new maxima of live bytes.
    pub(crate) prof_gdump: bool,
    /// `prof_thread_active_init`: whether threads are sampled from their start.
    pub(crate) prof_thread_active_init: bool,
    /// `prof_sys_thread_name`: names of threads are the system's. Always so here; the key decides whether
    /// `thread.prof.name` may be written.
    pub(crate) prof_sys_thread_name: bool,
    /// `prof_exe`: profile only programs whose executable this matches (see `pattern`); empty: any.
    pub(crate) prof_exe: &'a [u8],
    /// `prof_arg`: profile only processes one of whose arguments this matches; empty: any.
    pub(crate) prof_arg: &'a [u8],
    /// `prof_exec`: whether programs that a profiled process starts are tapped.
    pub(crate) prof_exec: bool,
    /// `prof_fork`: whether fork children are profiled.
    pub(crate) prof_fork: bool,
    /// `prof_min_seconds`: a process that lived that long, and used half of it on a processor, is significant.
    pub(crate) prof_min_seconds: u64,
    /// `prof_min_bytes`: a process with that many live bytes is significant.
    pub(crate) prof_min_bytes: u64,
    /// `prof_max_overhead`: most percent of the process's CPU time that sampling may cost; 0: no limit.
    pub(crate) prof_max_overhead: u64,
    /// `prof_allocator`: who serves what is not sampled.
    pub(crate) prof_allocator: Allocator,
    /// `prof_java`: walk Java frames.
    pub(crate) prof_java: bool,
    /// `prof_deepbind`: let programs open libraries with RTLD_DEEPBIND, which then use libc's malloc.
    pub(crate) prof_deepbind: bool,
    /// `prof_keeper`: whether the helper thread may start.
    pub(crate) prof_keeper: bool,
    /// `prof_usdt`: whether tracers that listen to the probes `otel_memory` are told of sampled blocks.
    pub(crate) prof_usdt: bool,
    /// `prof_dump_seconds`: a dump each so many seconds; 0: none.
    pub(crate) prof_dump_seconds: u64,
    /// `prof_dump_growth`: a dump whenever the live bytes have grown by so much.
    pub(crate) prof_dump_growth: Growth,
    /// `prof_dump_watermark`: a dump when memory in use passes that percentage of the control group's limit,
    /// and each 5 % above; 0: none.
    pub(crate) prof_dump_watermark: u64,
    /// `prof_dump_rss`: a dump when resident memory passes so many bytes, and each 5 % above; 0: none.
    pub(crate) prof_dump_rss: u64,
    /// `prof_dump_signal`: a signal that makes a dump; 0: none.
    pub(crate) prof_dump_signal: i32,
    /// `prof_dump_trim`: whether `malloc_trim` makes a dump.
    pub(crate) prof_dump_trim: bool,
    /// `prof_mirror_seconds`: shortest time between two mirrors; 0: none.
    pub(crate) prof_mirror_seconds: u64,
    /// `prof_max_dumps`: most dumps that triggers leave of one process; 0: any number.
    pub(crate) prof_max_dumps: u64,
    /// `prof_max_dump_bytes`: most bytes of these; 0: any number.
    pub(crate) prof_max_dump_bytes: u64,
    /// `prof_min_free_bytes`: space that a dump leaves free on its file system, but at most a twentieth of it.
    pub(crate) prof_min_free_bytes: u64,
    /// `prof_region_bytes`: size of the live region.
    pub(crate) prof_region_bytes: usize,
}

impl Options<'_> {
    /// The defaults.
    pub(crate) const DEFAULT: Options<'static> = Options {
        prof: false,
        prof_active: true,
        prof_accum: false,
        prof_final: false,
        prof_prefix: b"jeprof",
        lg_prof_sample: 19,
        lg_prof_interval: None,
        prof_bt_max: MAX_BT,
        prof_leak: false,
        prof_leak_error: false,
        prof_pid_namespace: false,
        prof_gdump: false,
        prof_thread_active_init: true,
        prof_sys_thread_name: false,
        prof_exe: b"",
        prof_arg: b"",
        prof_exec: true,
        prof_fork: true,
        prof_min_seconds: 10,
        prof_min_bytes: 64 << 20,
        prof_max_overhead: 1,
        prof_allocator: Allocator::Own,
        prof_java: true,
        prof_deepbind: false,
        prof_keeper: true,
        prof_usdt: false,
        prof_dump_seconds: 0,
        prof_dump_growth: Growth::None,
        prof_dump_watermark: 0,
        prof_dump_rss: 0,
        prof_dump_signal: 0,
        prof_dump_trim: false,
        prof_mirror_seconds: 10,
        prof_max_dumps: 100,
        prof_max_dump_bytes: 1 << 30,
        prof_min_free_bytes: 64 << 20,
        prof_region_bytes: DEFAULT_BYTES,
    };
}

/// Most frames that `prof_bt_max` may ask for, and the default (jemalloc's is 128: Java stacks are deeper).
pub(crate) const MAX_BT: usize = 512;

/// The allocator that serves what is not sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Allocator {
    /// The tap's embedded jemalloc.
    #[default]
    Own,
    /// The one that the process would have without the tap.
    Keep,
}

/// A growth of the live bytes that is worth a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Growth {
    /// None is.
    #[default]
    None,
    /// By so many bytes.
    Bytes(u64),
    /// By so many percent.
    Percent(u64),
}

impl Growth {
    pub(super) fn used(self) -> Used {
        match self {
            Growth::None => Used::Number(0),
            Growth::Bytes(bytes) => Used::Number(bytes as i64),
            Growth::Percent(percent) => Used::Percent(percent as i64),
        }
    }
}

impl Options<'_> {
    /// What follows from what was set (`prof_boot1` of jemalloc): asking for a leak report asks for a profile, though
    /// for no dumps on the way.
    pub(crate) fn settle(&mut self) {
        self.prof_leak |= self.prof_leak_error;
        if self.prof_leak && !self.prof {
            self.prof = true;
            self.prof_gdump = false;
        }
    }
}
