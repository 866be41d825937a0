//! Liveness: whether the process of a life still lives, by one rule for tap and CLI. The caller passes the signs in.
//!
//! A process lives while it has its region mapped: `/proc/PID/maps` tells, where the pid means something to us.
//! Seen from another pid namespace, the lock that its keeper holds on the claim ([`lock`]) tells, if the region says
//! that there is such a lock. What cannot be told is left alone.

pub(crate) mod lock;

/// Where the tap reserves the range of sampled blocks: lowest address, room for a random part, largest size, all bytes.
/// Nothing else lies there, so it marks a process whose allocations are sampled, from the first call on, in fork
/// children too, and whatever becomes of environment and region ([`is_marked`]).
pub(crate) const RANGE_PLACES: [(usize, usize, usize); 2] =
    [(32 << 40, 6 << 40, 1 << 40), (128 << 30, 32 << 30, 64 << 30)];

/// Whether these lines of `/proc/PID/maps` are of a process whose allocations are sampled: address space is reserved at
/// a place of the tap's, and the library is loaded.
pub(crate) fn is_marked(maps: &str) -> bool {
    let is_ours =
        |start: usize| RANGE_PLACES.iter().any(|(low, room, most)| (*low..low + room + most).contains(&start));
    let is_range = |line: &str| {
        let start = line.split('-').next().and_then(|start| usize::from_str_radix(start, 16).ok());
        line.contains(" ---p ") && !line.contains('/') && start.is_some_and(is_ours)
    };
    maps.lines().any(is_range) && maps.contains("/libheaptap")
}

/// Signs of a life, as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signs {
    /// Whether a process has its region mapped; `None`: not every process that might can be looked at.
    pub(crate) is_mapped: Option<bool>,
    /// Whether the region says that its process holds a lock as long as it lives.
    pub(crate) is_guarded: bool,
    /// Whether a process holds that lock.
    pub(crate) is_locked: bool,
}

/// The conclusion from the signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// The process lives.
    Alive,
    /// It is dead for certain.
    Dead,
    /// It cannot be told from here.
    Unknown,
}

impl Liveness {
    /// The rule.
    pub(crate) fn of(signs: Signs) -> Liveness {
        match (signs.is_mapped, signs.is_locked, signs.is_guarded) {
            (Some(true), ..) | (None, true, _) => Liveness::Alive,
            (Some(false), ..) | (None, false, true) => Liveness::Dead,
            (None, false, false) => Liveness::Unknown,
        }
    }
}

/// Whether these lines of `/proc/PID/maps` hold the region of that file name.
pub(crate) fn maps_hold(maps: &str, region: &str) -> bool {
    maps.lines().any(|line| line.strip_suffix(region).is_some_and(|rest| rest.ends_with('/')))
}

/// The path of the region in these lines of `/proc/PID/maps`, as the process sees it.
pub(crate) fn region_in(maps: &str) -> Option<&str> {
    let line = maps.lines().find(|line| line.ends_with(".region") && line.contains("/heaptap-"))?;
    line.get(line.find('/')?..)
}

/// Whether this is the `stat` of a process that started before an instant of CLOCK_MONOTONIC: not of one that got the
/// pid later. A zombie is dead, although its parent has not asked for its status yet, and so is what gave up its
/// memory on the way to become one.
pub(crate) fn is_running_since_before(stat: &str, monotonic_ns: u64) -> bool {
    // Fields 3, 22 and 23: state, start in ticks of 10 ms since boot, bytes of address space. The name before them may
    // hold blanks.
    let mut fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace();
    let is_dead = matches!(fields.next(), None | Some("Z" | "X" | "x"));
    let ticks: Option<u64> = fields.nth(18).and_then(|ticks| ticks.parse().ok());
    let has_memory = fields.next().is_some_and(|bytes| bytes != "0");
    !is_dead && has_memory && ticks.is_some_and(|ticks| ticks.saturating_mul(10_000_000) <= monotonic_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel what Miri does not know")]
    fn a_mapping_decides_where_it_can_be_seen_and_a_lock_elsewhere() {
        let of = |is_mapped, is_guarded, is_locked| Liveness::of(Signs { is_mapped, is_guarded, is_locked });
        for (guarded, locked) in [(false, false), (false, true), (true, false), (true, true)] {
            assert_eq!(of(Some(true), guarded, locked), Liveness::Alive);
            assert_eq!(of(Some(false), guarded, locked), Liveness::Dead);
        }
        assert_eq!(of(None, true, true), Liveness::Alive);
        assert_eq!(of(None, false, true), Liveness::Alive);
        assert_eq!(of(None, true, false), Liveness::Dead);
        assert_eq!(of(None, false, false), Liveness::Unknown);
    }

    #[test]
    fn maps_are_asked_for_a_region_by_its_whole_name() {
        let maps = "1-2 r--s 0 00:1 1 /lib/libc.so\n3-4 rw-s 0 00:1 2 /dev/shm/heaptap-0.1/47.00ff.region\n";
        assert!(maps_hold(maps, "47.00ff.region") && !maps_hold(maps, "7.00ff.region") && !maps_hold(maps, ""));
        assert_eq!(region_in(maps), Some("/dev/shm/heaptap-0.1/47.00ff.region"));
        let removed = "3-4 rw-s 0 00:1 2 /dev/shm/heaptap-0/47.00ff.region (deleted)\n5-6 rw-s 0 0:0 3 /x/1.region";
        assert!(!maps_hold(removed, "47.00ff.region") && region_in(removed).is_none());
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel what Miri does not know")]
    fn a_sampled_process_is_known_by_what_it_reserved() {
        let library = "7f41758ff000-7f4175904000 r-xp 00000000 fe:00 11 /usr/lib/libheaptap.so\n";
        let range = "2000a7c00000-2100a7c00000 ---p 00000000 00:00 0 \n";
        assert!(is_marked(&format!("{range}{library}")) && !is_marked(range) && !is_marked(library));
        let other = "c000000000-c004000000 ---p 00000000 00:00 0 \n";
        assert!(!is_marked(&format!("{other}{library}")));
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel what Miri does not know")]
    fn a_pid_that_was_given_again_is_another_process() {
        let stat = |state: &str, ticks: u64| format!("7 (a b) c) {state} {}{ticks} 4096 0", "1 ".repeat(18));
        assert!(is_running_since_before(&stat("S", 5), 50_000_000));
        assert!(!is_running_since_before(&stat("S", 6), 50_000_000));
        assert!(!is_running_since_before(&stat("Z", 1), 50_000_000) && !is_running_since_before("", u64::MAX));
        let without_memory = stat("R", 5).replace(" 4096 ", " 0 ");
        assert!(!is_running_since_before(&without_memory, 50_000_000), "it is about to be a zombie");
    }
}
