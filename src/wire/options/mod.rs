//! The options of the tap: jemalloc's `MALLOC_CONF` grammar, keys and defaults.
//!
//! Source of the rules: jemalloc 5.3.1, `src/conf.c` (`conf_next` for the grammar) and the
//! `opt.prof*` entries of its man page. Two leniencies where jemalloc loses the rest of the string: blanks around a
//! pair are skipped, and so is what is no pair, but not what follows. Runs before the first allocation of the process, so
//! nothing here allocates.

pub(crate) mod complaint;
mod keys;

pub(crate) use complaint::{Complaint, Used};
use keys::{KEYS, set};

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
    /// `prof_java`: walk Java frames.
    pub(crate) prof_java: bool,
    /// `prof_deepbind`: let programs open libraries with RTLD_DEEPBIND, which then use libc's malloc.
    pub(crate) prof_deepbind: bool,
    /// `prof_keeper`: whether the helper thread may start.
    pub(crate) prof_keeper: bool,
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
    /// What holds when nothing is set.
    pub(crate) const DEFAULT: Options<'static> = Options {
        prof: false,
        prof_active: true,
        prof_accum: false,
        prof_final: false,
        prof_prefix: b"jeprof",
        lg_prof_sample: 19,
        lg_prof_interval: None,
        prof_bt_max: crate::wire::options::MAX_BT,
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
        prof_max_overhead: 2,
        prof_java: true,
        prof_deepbind: false,
        prof_keeper: true,
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
        prof_region_bytes: super::live::layout::DEFAULT_BYTES,
    };
}

/// Most frames that `prof_bt_max` may ask for, and the default (jemalloc's is 128: Java stacks are deeper).
pub(crate) const MAX_BT: usize = 512;

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

/// Reads a conf string: our keys into `options`, pairs of jemalloc's own to `forward` as they
/// stand, what is wrong to `complain`.
pub(crate) fn parse<'a>(
    conf: &'a [u8],
    options: &mut Options<'a>,
    forward: &mut dyn FnMut(&'a [u8], &'a [u8]),
    complain: &mut dyn FnMut(Complaint<'a>),
) {
    for pair in conf.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        if pair.is_empty() {
            continue;
        }
        let Some(colon) = pair.iter().position(|&byte| byte == b':') else {
            complain(Complaint::Malformed(pair));
            continue;
        };
        let (key, value) = (pair.get(..colon).unwrap_or_default(), pair.get(colon + 1..).unwrap_or_default());
        if !key.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_') || key.is_empty() {
            complain(Complaint::Malformed(pair));
            continue;
        }
        match KEYS.iter().find(|(name, _)| *name == key) {
            Some((_, setter)) => set(options, setter, key, value, complain),
            None => forward(key, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::complaint::TEXT_BYTES;
    use super::*;

    fn read(conf: &str) -> (Options<'_>, String, Vec<String>) {
        let mut options = Options::DEFAULT;
        let (mut forward, mut complaints) = (String::new(), Vec::new());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        parse(
            conf.as_bytes(),
            &mut options,
            &mut |key, value| forward += &format!("{}:{},", text(key), text(value)),
            &mut |complaint| {
                complaints.push(match complaint {
                    Complaint::BadValue { words, key, value, allowed: _, used } => {
                        let mut digits = [0; TEXT_BYTES];
                        let used = text(used.text(&mut digits));
                        format!("{words}: {}:{}, {used} is used", text(key), text(value))
                    }
                    Complaint::Malformed(rest) => format!("malformed {}", text(rest)),
                    Complaint::Unsupported { key } => format!("unsupported {}", text(key)),
                });
            },
        );
        (options, forward, complaints)
    }

    #[test]
    fn the_users_string_is_understood() {
        let (options, forward, complaints) = read("prof:true,lg_prof_interval:30,lg_prof_sample:17,prof_final:true");
        let expected = Options {
            prof: true,
            lg_prof_interval: Some(30),
            lg_prof_sample: 17,
            prof_final: true,
            ..Options::DEFAULT
        };
        assert_eq!((options, forward.as_str(), complaints.len()), (expected, "", 0));
    }

    #[test]
    fn blanks_after_commas_do_not_lose_the_rest() {
        let (options, _, complaints) = read("prof:true, prof_final:true, lg_prof_sample:0x11");
        assert!(options.prof && options.prof_final && complaints.is_empty());
        assert_eq!(options.lg_prof_sample, 17);
    }

    #[test]
    fn other_keys_go_to_jemalloc_and_prefixes_may_hold_colons() {
        let (options, forward, complaints) = read("narenas:4,prof_prefix:/a:b/c,background_thread:true");
        assert_eq!(options.prof_prefix, b"/a:b/c");
        assert_eq!((forward.as_str(), complaints.len()), ("narenas:4,background_thread:true,", 0));
    }

    #[test]
    fn mistakes_are_named_and_nothing_is_lost_for_them() {
        let conf =
            "prof:yes,nonsense,lg_prof_sample:x,lg_prof_interval:99,a b:c,prof=true,prof_log:true,prof_final:true";
        let (options, _, complaints) = read(conf);
        assert_eq!(options, Options { prof_final: true, ..Options::DEFAULT });
        let expected = [
            "Invalid conf value: prof:yes, false is used",
            "malformed nonsense",
            "Invalid conf value: lg_prof_sample:x, 19 is used",
            "Out-of-range conf value: lg_prof_interval:99, -1 is used",
            "malformed a b:c",
            "malformed prof=true",
            "unsupported prof_log",
        ];
        assert_eq!(complaints, expected);
        let harmless = "prof_log:false,prof_stats:false,prof_recent_alloc_max:0,prof_time_resolution:default,";
        assert_eq!(read(&format!("{harmless}prof_unbias:true")).2, [""; 0]);
    }

    #[test]
    fn what_is_used_instead_is_what_was_set_before() {
        let complaints = read("lg_prof_sample:17,lg_prof_sample:1k,prof_java:false,prof_java:no").2;
        let expected =
            ["Invalid conf value: lg_prof_sample:1k, 17 is used", "Invalid conf value: prof_java:no, false is used"];
        assert_eq!(complaints, expected);
    }

    #[test]
    fn numbers_beyond_the_bounds_are_clipped_where_jemalloc_clips() {
        let (options, _, complaints) = read("lg_prof_sample:99,prof_bt_max:0,prof_max_overhead:-5");
        assert_eq!((options.lg_prof_sample, options.prof_bt_max, options.prof_max_overhead), (63, 1, 0));
        assert_eq!(complaints.len(), 3);
        assert_eq!(complaints[0], "Out-of-range conf value: lg_prof_sample:99, 63 is used");
        assert_eq!(read("lg_prof_interval:-1").0.lg_prof_interval, None);
    }

    #[test]
    fn a_leak_report_needs_a_profile_in_whatever_order_it_is_asked_for() {
        for conf in ["prof_leak:true,prof:false", "prof:false,prof_leak_error:true,prof_gdump:true"] {
            let (mut options, ..) = read(conf);
            options.settle();
            assert!(options.prof && options.prof_leak && !options.prof_gdump, "{conf}");
        }
    }

    #[test]
    fn signals_that_a_java_vm_uses_are_refused() {
        for number in 0..=70 {
            let (options, _, complaints) = read(Box::leak(format!("prof_dump_signal:{number}").into_boxed_str()));
            let is_free = matches!(number, 0 | 10 | 16 | 30 | 34..=64);
            assert_eq!((options.prof_dump_signal == number, complaints.is_empty()), (is_free, is_free), "{number}");
        }
    }

    #[test]
    fn growth_is_bytes_or_percent() {
        let growth =
            |text: &str| read(Box::leak(format!("prof_dump_growth:{text}").into_boxed_str())).0.prof_dump_growth;
        let found = ["0", "0x10", "20%", "0%", "x", "-1", "%"].map(growth);
        let expected = [Growth::None, Growth::Bytes(16), Growth::Percent(20), Growth::None];
        assert_eq!(found[..4], expected);
        assert_eq!(found[4..], [Growth::None; 3]);
        let (.., complaints) = read("prof_dump_growth:20%,prof_dump_growth:much");
        assert_eq!(complaints, ["Invalid conf value: prof_dump_growth:much, 20% is used"]);
    }

    #[test]
    fn processes_are_chosen_by_texts_as_they_stand() {
        let options = read("prof_exe:java|python3*,prof_arg:a.b/c:d,prof_exec:false").0;
        assert_eq!((options.prof_exe, options.prof_arg), (&b"java|python3*"[..], &b"a.b/c:d"[..]));
        assert!(!options.prof_exec && options.prof_fork);
    }
}
