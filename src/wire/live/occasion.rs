//! Why there is a dump of a snapshot, and of what instant: for dumps that the process did not write itself.

use super::snapshot::Snapshot;
use crate::wire::time;

impl Snapshot {
    /// Says in the metadata why there is this dump, and of what instant (CLOCK_MONOTONIC) it is.
    pub(crate) fn tell(&mut self, reason: &str, at_ns: u64) {
        let uptime_ns = at_ns.saturating_sub(self.start_monotonic_ns);
        self.pulse_ns = at_ns;
        self.set("reason", reason);
        self.set("uptime_ns", &uptime_ns.to_string());
        self.set("time", &time::rfc3339(self.start_wall_ns.saturating_add(uptime_ns)));
    }

    /// The same for a process that is dead: how it ended, as far as it can be told, and from what that is known.
    pub(crate) fn tell_death(&mut self) {
        let reason = match (self.is_other_user, self.is_ending) {
            (true, _) => "credentials",
            (false, true) => "ended",
            (false, false) => "killed",
        };
        self.tell(reason, self.pulse_ns);
        self.set("source", if self.is_mirror { "mirror" } else { "region" });
        if !self.is_mirror {
            self.tell_last_look();
        }
    }

    /// What the keeper saw last of the process's memory: the text of a region is as old as its mappings of code.
    fn tell_last_look(&mut self) {
        let Some(last) = self.timeline.last() else { return };
        let seen = [
            ("rss_bytes", last.resident_bytes),
            ("memory_used_bytes", last.group_used_bytes),
            ("memory_limit_bytes", last.group_limit_bytes),
        ];
        for (key, bytes) in seen {
            bytes.into_iter().for_each(|bytes| self.set(key, &bytes.to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::live::history::Moment;

    #[test]
    fn who_is_dead_had_the_memory_that_was_seen_last() {
        let look = |resident_bytes, group_used_bytes| Moment { resident_bytes, group_used_bytes, ..Moment::default() };
        let mut snapshot = Snapshot::default();
        snapshot.timeline = vec![look(Some(1), Some(2)), look(Some(30), None)];
        snapshot.set("rss_bytes", "1");
        snapshot.set("memory_used_bytes", "9");
        snapshot.tell_death();
        assert_eq!((snapshot.metadata("rss_bytes"), snapshot.metadata("memory_used_bytes")), (Some("30"), Some("9")));
        // A mirror has what was so when it was written.
        let mut mirror = Snapshot::default();
        (mirror.is_mirror, mirror.timeline) = (true, vec![look(Some(30), None)]);
        mirror.set("rss_bytes", "40");
        mirror.tell_death();
        assert_eq!((mirror.metadata("rss_bytes"), mirror.metadata("source")), (Some("40"), Some("mirror")));
    }
}
