//! The options of the tap: jemalloc's `MALLOC_CONF` grammar, keys and defaults.
//!
//! Source of the rules: jemalloc 5.3.1, `src/conf.c` (`conf_next` for the grammar) and the
//! `opt.prof*` entries of its man page. Two leniencies where jemalloc loses the rest of the string: blanks around a
//! pair are skipped, and so is what is no pair, but not what follows. Runs before the first allocation of the process,
//! so nothing here allocates.

pub(crate) mod complaint;
mod keys;
pub(crate) mod values;

pub(crate) use complaint::Complaint;
use keys::{KEYS, set};
pub(crate) use values::Options;

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
            None => {
                if let Some((meant, _)) = KEYS.iter().find(|(name, _)| complaint::is_meant(key, name)) {
                    complain(Complaint::Mistyped { key, meant });
                }
                forward(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::complaint::TEXT_BYTES;
    use super::values::Growth;
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
                    Complaint::Mistyped { key, meant } => format!("{} for {}", text(key), text(meant)),
                });
            },
        );
        (options, forward, complaints)
    }

    #[test]
    fn a_slip_of_the_pen_is_told_and_other_keys_are_jemallocs() {
        let (_, forward, complaints) =
            read("prof_fnal:true,prof_finall:true,porf:true,prof_finak:1,final:true,narenas:2,dirty_decay_ms:1");
        let meant = [
            "prof_fnal for prof_final",
            "prof_finall for prof_final",
            "porf for prof",
            "prof_finak for prof_final",
            "final for prof_final",
        ];
        assert_eq!(complaints, meant);
        assert!(forward.contains("narenas:2,") && forward.contains("prof_fnal:true,"), "{forward}");
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
