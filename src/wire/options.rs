//! The options of the tap: jemalloc's `MALLOC_CONF` grammar, keys and defaults.
//!
//! Source of the rules: jemalloc 5.3.1, `src/conf.c` (`conf_next` for the grammar) and the
//! `opt.prof*` entries of its man page. Two leniencies where jemalloc loses the rest of the string: blanks around a
//! pair are skipped, and so is what is no pair, but not what follows. Runs before the first allocation of the process, so
//! nothing here allocates.

/// What can be wrong with an option string. Worded like jemalloc's messages where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Complaint<'a> {
    /// A value that the key does not take: in jemalloc's words, what it takes, and what holds instead.
    BadValue { words: &'static str, key: &'a [u8], value: &'a [u8], allowed: &'static str, used: Used },
    /// No pair of key and value; skipped.
    Malformed(&'a [u8]),
    /// A key of jemalloc's profiler that heaptap does not act on.
    Unsupported { key: &'a [u8] },
}

/// The value that a key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Used {
    /// Of a switch.
    Bool(bool),
    /// Of a share.
    Percent(u64),
    /// Of anything else.
    Number(i64),
}

impl From<Growth> for Used {
    fn from(growth: Growth) -> Used {
        match growth {
            Growth::None => Used::Number(0),
            Growth::Bytes(bytes) => Used::Number(bytes as i64),
            Growth::Percent(percent) => Used::Percent(percent),
        }
    }
}

impl Used {
    /// As one would write it; `digits` is room for a number.
    pub(crate) fn text(self, digits: &mut [u8; 20]) -> &[u8] {
        let (number, is_share) = match self {
            Used::Bool(true) => return b"true",
            Used::Bool(false) => return b"false",
            Used::Percent(number) => (number as i64, true),
            Used::Number(number) => (number, false),
        };
        let (mut rest, mut places) = (number.unsigned_abs(), digits.iter_mut().enumerate().rev());
        let mut at = 0;
        if is_share && let Some((_, last)) = places.next() {
            *last = b'%';
        }
        for (place, digit) in places.by_ref() {
            (*digit, rest, at) = (b'0' + (rest % 10) as u8, rest / 10, place);
            if rest == 0 {
                break;
            }
        }
        if number < 0
            && let Some((place, digit)) = places.next()
        {
            (*digit, at) = (b'-', place);
        }
        digits.get(at..).unwrap_or_default()
    }
}

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

/// How one key is read.
enum Setter {
    /// Where the switch is.
    Bool(for<'s> fn(&'s mut Options<'_>) -> &'s mut bool),
    /// Its bounds, and how it is read and written.
    Number(Bounds, fn(&Options<'_>) -> i64, fn(&mut Options<'_>, i64)),
    Text(for<'a> fn(&mut Options<'a>, &'a [u8])),
    Growth,
    Signal,
    /// Not acted on, which is said unless the value is this one.
    Unsupported(&'static [u8]),
}

/// What a number may be.
struct Bounds {
    low: i64,
    high: i64,
    /// What is beyond becomes the bound, as in jemalloc; elsewhere the value is refused.
    clips: bool,
    /// The bounds in words.
    allowed: &'static str,
}

impl Bounds {
    const fn new(low: i64, high: i64, allowed: &'static str) -> Bounds {
        Bounds { low, high, clips: true, allowed }
    }
}

const LG: Bounds = Bounds::new(0, 63, "a whole number from 0 to 63");
const INTERVAL: Bounds = Bounds { clips: false, ..Bounds::new(-1, 63, "a whole number from 0 to 63, or -1 for none") };
const FRAMES: Bounds = Bounds::new(1, MAX_BT as i64, "a whole number from 1 to 512");
const SECONDS: Bounds = Bounds::new(0, i64::MAX, "a number of seconds");
const BYTES: Bounds = Bounds::new(0, i64::MAX, "a number of bytes");
const OVERHEAD: Bounds = Bounds::new(0, 100, "a percentage from 1 to 100, or 0 for no limit");
const DUMPS: Bounds = Bounds::new(0, i64::MAX, "a number of dumps, or 0 for any");
const WATERMARK: Bounds = Bounds::new(0, 100, "a percentage from 1 to 100, or 0 for none");
const REGION: Bounds = Bounds::new(1 << 20, 16 << 30, "a number of bytes from 1 MiB to 16 GiB");

/// The one table of keys that are ours; all others are jemalloc's.
const KEYS: &[(&[u8], Setter)] = &[
    (b"prof", Setter::Bool(|o| &mut o.prof)),
    (b"prof_active", Setter::Bool(|o| &mut o.prof_active)),
    (b"prof_accum", Setter::Bool(|o| &mut o.prof_accum)),
    (b"prof_final", Setter::Bool(|o| &mut o.prof_final)),
    (b"prof_prefix", Setter::Text(|o, text| o.prof_prefix = text)),
    (b"prof_exe", Setter::Text(|o, text| o.prof_exe = text)),
    (b"prof_arg", Setter::Text(|o, text| o.prof_arg = text)),
    (b"prof_exec", Setter::Bool(|o| &mut o.prof_exec)),
    (b"prof_fork", Setter::Bool(|o| &mut o.prof_fork)),
    (b"lg_prof_sample", Setter::Number(LG, |o| o.lg_prof_sample.into(), |o, n| o.lg_prof_sample = n as u32)),
    (
        b"lg_prof_interval",
        Setter::Number(
            INTERVAL,
            |o| o.lg_prof_interval.map_or(-1, i64::from),
            |o, n| o.lg_prof_interval = u32::try_from(n).ok(),
        ),
    ),
    (b"prof_bt_max", Setter::Number(FRAMES, |o| o.prof_bt_max as i64, |o, n| o.prof_bt_max = n as usize)),
    (b"prof_gdump", Setter::Bool(|o| &mut o.prof_gdump)),
    (b"prof_leak", Setter::Bool(|o| &mut o.prof_leak)),
    (b"prof_leak_error", Setter::Bool(|o| &mut o.prof_leak_error)),
    (b"prof_pid_namespace", Setter::Bool(|o| &mut o.prof_pid_namespace)),
    (b"prof_sys_thread_name", Setter::Bool(|o| &mut o.prof_sys_thread_name)),
    (b"prof_thread_active_init", Setter::Bool(|o| &mut o.prof_thread_active_init)),
    (b"prof_log", Setter::Unsupported(b"false")),
    (b"prof_recent_alloc_max", Setter::Unsupported(b"0")),
    (b"prof_stats", Setter::Unsupported(b"false")),
    (b"prof_time_resolution", Setter::Unsupported(b"default")),
    (b"prof_unbias", Setter::Unsupported(b"true")),
    (b"prof_min_seconds", Setter::Number(SECONDS, |o| o.prof_min_seconds as i64, |o, n| o.prof_min_seconds = n as u64)),
    (b"prof_min_bytes", Setter::Number(BYTES, |o| o.prof_min_bytes as i64, |o, n| o.prof_min_bytes = n as u64)),
    (b"prof_java", Setter::Bool(|o| &mut o.prof_java)),
    (b"prof_deepbind", Setter::Bool(|o| &mut o.prof_deepbind)),
    (b"prof_keeper", Setter::Bool(|o| &mut o.prof_keeper)),
    (
        b"prof_max_overhead",
        Setter::Number(OVERHEAD, |o| o.prof_max_overhead as i64, |o, n| o.prof_max_overhead = n as u64),
    ),
    (
        b"prof_dump_seconds",
        Setter::Number(SECONDS, |o| o.prof_dump_seconds as i64, |o, n| o.prof_dump_seconds = n as u64),
    ),
    (b"prof_dump_growth", Setter::Growth),
    (b"prof_dump_rss", Setter::Number(BYTES, |o| o.prof_dump_rss as i64, |o, n| o.prof_dump_rss = n as u64)),
    (b"prof_dump_signal", Setter::Signal),
    (b"prof_dump_trim", Setter::Bool(|o| &mut o.prof_dump_trim)),
    (
        b"prof_mirror_seconds",
        Setter::Number(SECONDS, |o| o.prof_mirror_seconds as i64, |o, n| o.prof_mirror_seconds = n as u64),
    ),
    (b"prof_max_dumps", Setter::Number(DUMPS, |o| o.prof_max_dumps as i64, |o, n| o.prof_max_dumps = n as u64)),
    (
        b"prof_max_dump_bytes",
        Setter::Number(BYTES, |o| o.prof_max_dump_bytes as i64, |o, n| o.prof_max_dump_bytes = n as u64),
    ),
    (
        b"prof_min_free_bytes",
        Setter::Number(BYTES, |o| o.prof_min_free_bytes as i64, |o, n| o.prof_min_free_bytes = n as u64),
    ),
    (
        b"prof_dump_watermark",
        Setter::Number(WATERMARK, |o| o.prof_dump_watermark as i64, |o, n| o.prof_dump_watermark = n as u64),
    ),
    (
        b"prof_region_bytes",
        Setter::Number(REGION, |o| o.prof_region_bytes as i64, |o, n| o.prof_region_bytes = n as usize),
    ),
];

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

fn set<'a>(
    options: &mut Options<'a>,
    setter: &Setter,
    key: &'a [u8],
    value: &'a [u8],
    complain: &mut dyn FnMut(Complaint<'a>),
) {
    const INVALID: &str = "Invalid conf value";
    match setter {
        Setter::Bool(place) => {
            let place = place(options);
            match value {
                b"true" => *place = true,
                b"false" => *place = false,
                _ => {
                    let used = Used::Bool(*place);
                    complain(Complaint::BadValue { words: INVALID, key, value, allowed: "true or false", used });
                }
            }
        }
        Setter::Number(Bounds { low, high, clips, allowed }, get, put) => {
            let wanted = number(value);
            let nearest = wanted.map(|wanted| wanted.clamp(*low, *high));
            if let Some(nearest) = nearest.filter(|_| *clips || nearest == wanted) {
                put(options, nearest);
            }
            if wanted.is_none() || nearest != wanted {
                let words = if wanted.is_some() { "Out-of-range conf value" } else { INVALID };
                complain(Complaint::BadValue { words, key, value, allowed, used: Used::Number(get(options)) });
            }
        }
        Setter::Text(apply) => apply(options, value),
        Setter::Growth => match growth(value) {
            Some(growth) => options.prof_dump_growth = growth,
            None => {
                let allowed = "a number of bytes, or of percent: 20%";
                complain(Complaint::BadValue {
                    words: INVALID,
                    key,
                    value,
                    allowed,
                    used: options.prof_dump_growth.into(),
                });
            }
        },
        Setter::Signal => match number(value).filter(|&n| n == 0 || is_free_signal(n)) {
            Some(n) => options.prof_dump_signal = n as i32,
            None => {
                let used = Used::Number(options.prof_dump_signal.into());
                complain(Complaint::BadValue { words: INVALID, key, value, allowed: FREE_SIGNALS, used });
            }
        },
        Setter::Unsupported(harmless) => {
            if value != *harmless {
                complain(Complaint::Unsupported { key });
            }
        }
    }
}

fn growth(text: &[u8]) -> Option<Growth> {
    let (digits, of) = match text.strip_suffix(b"%") {
        Some(digits) => (digits, Growth::Percent as fn(u64) -> Growth),
        None => (text, Growth::Bytes as fn(u64) -> Growth),
    };
    let number = u64::try_from(number(digits)?).ok()?;
    Some(if number == 0 { Growth::None } else { of(number) })
}

/// Signals that neither HotSpot nor libc uses (`os::signal` of its sources, and 32 and 33).
const FREE_SIGNALS: &str = "10 (SIGUSR1), 16, 30, 34 to 64: those that no Java VM uses; or 0 for none";

fn is_free_signal(number: i64) -> bool {
    matches!(number, 10 | 16 | 30 | 34..=64)
}

/// A number as `strtoimax` reads it in base 0: decimal, `0x` hexadecimal or `0` octal.
fn number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let magnitude = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        i64::from_str_radix(hex, 16).ok()?
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8).ok()?
    } else {
        digits.parse().ok()?
    };
    Some(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
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
                        let mut digits = [0; 20];
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
    fn growth_is_bytes_or_percent() {
        let growth =
            |text: &str| read(Box::leak(format!("prof_dump_growth:{text}").into_boxed_str())).0.prof_dump_growth;
        let found = ["0", "0x10", "20%", "0%", "x", "-1", "%"].map(growth);
        let expected = [Growth::None, Growth::Bytes(16), Growth::Percent(20), Growth::None];
        assert_eq!(found[..4], expected);
        assert_eq!(found[4..], [Growth::None; 3]);
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
    fn processes_are_chosen_by_texts_as_they_stand() {
        let options = read("prof_exe:java|python3*,prof_arg:a.b/c:d,prof_exec:false").0;
        assert_eq!((options.prof_exe, options.prof_arg), (&b"java|python3*"[..], &b"a.b/c:d"[..]));
        assert!(!options.prof_exec && options.prof_fork);
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
    fn values_are_written_as_one_would_write_them() {
        let text = |number| String::from_utf8(Used::Number(number).text(&mut [0; 20]).to_vec()).unwrap();
        for number in [0, 7, -1, 1_234_567, i64::MAX, i64::MIN] {
            assert_eq!(text(number), number.to_string());
        }
        assert_eq!(Used::Percent(20).text(&mut [0; 20]), b"20%");
    }
}
