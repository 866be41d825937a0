//! What heaptap writes behind the mappings of a dump: `# heaptap 1`, then `# key: value` lines.
//!
//! Stock jeprof ignores them (nothing there looks like a mapping). Unknown keys are kept, so that
//! an older CLI reads a newer tap's dump and can still show them.

use crate::wire::stack_end::StackEnd;

/// The name of one Java frame, from a `# java:` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JavaName {
    /// The fake pc, as it stands in the `@` lines.
    pub(crate) pc: u64,
    /// Class with dots, `java.util.zip.Inflater`; empty for a mark of the walk, such as `[gc barrier]`.
    pub(crate) class: String,
    /// Method, `<init>`.
    pub(crate) method: String,
    /// Source line, 0 if unknown.
    pub(crate) line: u32,
}

/// Everything that the tap told beside the numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Metadata {
    /// Version of the `# heaptap` line; `None`: not a dump of ours.
    pub(crate) version: Option<u32>,
    /// Process id.
    pub(crate) pid: Option<u32>,
    /// Name of this life of the process (pids are used again).
    pub(crate) token: Option<String>,
    /// Path of the executable.
    pub(crate) exe: Option<String>,
    /// What those who run it call it: `java org.acme.Shop` (`wire/title`).
    pub(crate) title: Option<String>,
    /// RFC 3339, UTC, time of the dump.
    pub(crate) time: Option<String>,
    /// Age of the process.
    pub(crate) uptime_ns: Option<u64>,
    /// Why the dump was written.
    pub(crate) reason: Option<String>,
    /// Sampled objects that were alive.
    pub(crate) live_samples: Option<u64>,
    /// Lost samples by reason.
    pub(crate) lost: Vec<(String, u64)>,
    /// Bytes that those stand for.
    pub(crate) unfollowed_bytes: Option<u64>,
    /// Mappings and threads that were not recorded.
    pub(crate) unrecorded_mappings: Option<u64>,
    /// How recorded stacks ended.
    pub(crate) stack_ends: Vec<(StackEnd, u64)>,
    /// Time the tap spent so far.
    pub(crate) profiler_ns: Option<u64>,
    /// Memory of the tap's own tables.
    pub(crate) tables_bytes: Option<u64>,
    /// Resident memory of the process.
    pub(crate) rss_bytes: Option<u64>,
    /// Classes of that: (word, bytes), of `rss_<word>` lines.
    pub(crate) rss_classes: Vec<(String, u64)>,
    /// File name of the allocator that was kept (`prof_allocator:keep`).
    pub(crate) allocator: Option<String>,
    /// Bytes that the program has from it.
    pub(crate) allocator_in_use_bytes: Option<u64>,
    /// Bytes that it keeps free.
    pub(crate) allocator_kept_bytes: Option<u64>,
    /// Its arenas.
    pub(crate) allocator_arenas: Option<u64>,
    /// What the control group uses.
    pub(crate) memory_used_bytes: Option<u64>,
    /// What it may use.
    pub(crate) memory_limit_bytes: Option<u64>,
    /// (build id as hex, path) of each module.
    pub(crate) build_ids: Vec<(String, String)>,
    /// Processor time of the keeper's looks at where the memory is, nanoseconds.
    pub(crate) look_ns: Option<u64>,
    /// How many there were.
    pub(crate) looks: Option<u64>,
    /// Names of the Java frames.
    pub(crate) java: Vec<JavaName>,
    /// Stacks that the dump had when its ages were written.
    pub(crate) aged_stacks: Option<usize>,
    /// Age of the oldest live object of all, nanoseconds: recording is not younger.
    pub(crate) oldest_ns: Option<u64>,
    /// Keys that this version does not know.
    pub(crate) unknown: Vec<(String, String)>,
}

impl Metadata {
    /// Takes one line; `false` if it is none of ours or its value makes no sense.
    pub(crate) fn take_line(&mut self, line: &str) -> bool {
        let Some(text) = line.strip_prefix('#') else { return false };
        let text = text.trim();
        if let Some(version) = text.strip_prefix("heaptap ") {
            self.version = version.trim().parse().ok();
            return self.version.is_some();
        }
        let Some((key, value)) = text.split_once(':') else { return false };
        let (key, value) = (key.trim(), value.trim());
        if key.is_empty() || key.contains(' ') {
            return false;
        }
        self.take(key, value)
    }

    /// Takes the value of a key; `false`: it makes no sense.
    pub(crate) fn take(&mut self, key: &str, value: &str) -> bool {
        match key {
            "token" => self.token = Some(value.to_owned()),
            "exe" => self.exe = Some(value.to_owned()),
            "title" => self.title = Some(value.to_owned()),
            "time" => self.time = Some(value.to_owned()),
            "reason" => self.reason = Some(value.to_owned()),
            "pid" => return set(&mut self.pid, value),
            "uptime_ns" => return set(&mut self.uptime_ns, value),
            "live_samples" => return set(&mut self.live_samples, value),
            "profiler_ns" => return set(&mut self.profiler_ns, value),
            "tables_bytes" => return set(&mut self.tables_bytes, value),
            "memory_look_ns" => return set(&mut self.look_ns, value),
            "memory_looks" => return set(&mut self.looks, value),
            "unrecorded_mappings" => return set(&mut self.unrecorded_mappings, value),
            "unfollowed_bytes" => return set(&mut self.unfollowed_bytes, value),
            "allocator" => self.allocator = Some(value.to_owned()),
            "allocator_in_use_bytes" => return set(&mut self.allocator_in_use_bytes, value),
            "allocator_kept_bytes" => return set(&mut self.allocator_kept_bytes, value),
            "allocator_arenas" => return set(&mut self.allocator_arenas, value),
            "rss_bytes" => return set(&mut self.rss_bytes, value),
            "memory_used_bytes" => return set(&mut self.memory_used_bytes, value),
            "memory_limit_bytes" => return set(&mut self.memory_limit_bytes, value),
            "ages" => return set(&mut self.aged_stacks, value),
            "build_id" => match value.split_once(' ') {
                Some((id, path)) => self.build_ids.push((id.to_ascii_lowercase(), path.trim().to_owned())),
                None => return false,
            },
            "java" => match java_name(value) {
                Some(name) => self.java.push(name),
                None => return false,
            },
            _ => return self.take_counter(key, value),
        }
        true
    }

    fn take_counter(&mut self, key: &str, value: &str) -> bool {
        let number = value.parse::<u64>().ok();
        let end = key.strip_prefix("stack_end_").and_then(stack_end);
        if let (Some(number), Some(class)) = (number, key.strip_prefix("rss_")) {
            self.rss_classes.push((class.to_owned(), number));
            return true;
        }
        match (number, key.strip_prefix("lost_"), end) {
            (Some(number), Some(reason), _) => self.lost.push((reason.to_owned(), number)),
            (Some(number), None, Some(end)) => self.stack_ends.push((end, number)),
            _ => self.unknown.push((key.to_owned(), value.to_owned())),
        }
        true
    }

    /// Samples that were lost, all reasons together.
    pub(crate) fn lost_total(&self) -> u64 {
        self.lost.iter().map(|(_, number)| number).fold(0, |sum, &number| sum.saturating_add(number))
    }
}

fn set<T: std::str::FromStr>(slot: &mut Option<T>, value: &str) -> bool {
    *slot = value.parse().ok();
    slot.is_some()
}

fn stack_end(word: &str) -> Option<StackEnd> {
    StackEnd::ALL.into_iter().find(|end| end.word() == word)
}

fn java_name(value: &str) -> Option<JavaName> {
    let (pc, name) = value.split_once(' ')?;
    let pc = u64::from_str_radix(pc.strip_prefix("0x")?, 16).ok()?;
    let (class, method) = name.split_once(' ')?;
    // The text of a mark may have blanks, as in `[gc barrier]`.
    let (method, line) = match method.rsplit_once(' ') {
        Some((method, line)) if line.parse::<u32>().is_ok() => (method, line.parse().unwrap_or(0)),
        _ => (method, 0),
    };
    let class = if class == "-" { String::new() } else { class.replace('/', ".") };
    Some(JavaName { pc, class, method: method.to_owned(), line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_understood() {
        let mut meta = Metadata::default();
        let lines = "# heaptap 1\n# pid: 4711\n# token: 9f3a12bc\n# exe: /usr/bin/java\n# time: 2026-11-25T22:01:02.345Z\n\
            # uptime_ns: 60000000000\n# reason: final\n# live_samples: 12\n# lost_table_full: 3\n# lost_nested: 4\n\
            # stack_end_no-rule: 5\n# profiler_ns: 7\n# tables_bytes: 8\n# rss_bytes: 9\n# build_id: ABcd12 /usr/lib/a b.so\n\
            # java: 0x7f01 java/util/zip/Inflater <init> 120\n# java: 0x7f03 - [gc barrier] 0\n# colour: blue\n\
            # rss_java_heap: 77\n# memory_limit_bytes: 99\n# ages: 4";
        assert!(lines.lines().all(|line| meta.take_line(line)));
        assert_eq!((meta.version, meta.pid, meta.token.as_deref()), (Some(1), Some(4711), Some("9f3a12bc")));
        assert_eq!((meta.lost_total(), meta.stack_ends.as_slice()), (7, &[(StackEnd::NoRule, 5)][..]));
        assert_eq!(meta.build_ids, [("abcd12".to_owned(), "/usr/lib/a b.so".to_owned())]);
        let name = JavaName { pc: 0x7f01, class: "java.util.zip.Inflater".into(), method: "<init>".into(), line: 120 };
        let mark = JavaName { pc: 0x7f03, class: String::new(), method: "[gc barrier]".into(), line: 0 };
        assert_eq!(meta.java, [name, mark]);
        assert_eq!(
            (meta.rss_classes.as_slice(), meta.memory_limit_bytes),
            (&[("java_heap".to_owned(), 77)][..], Some(99))
        );
        assert_eq!(meta.aged_stacks, Some(4));
        assert_eq!(meta.unknown, [("colour".to_owned(), "blue".to_owned())]);
    }

    #[test]
    fn nonsense_is_refused() {
        let mut meta = Metadata::default();
        for line in ["pid: 1", "# pid: x", "# java: 7f01 a b 1", "# java: 0x7f01", "#", "# two words: x", "# heaptap x"]
        {
            assert!(!meta.take_line(line), "{line}");
        }
        assert_eq!(meta, Metadata::default());
    }
}
