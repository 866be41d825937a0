//! A dump with its Java frames by name, and the usual way to come by one.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::java::Jvm;
use super::{Dump, EVERY_ALLOCATION, HOWEVER_SHORT, Outcome};

/// `-Xcomp` on a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(1200);
/// The helper thread is none of most tests' business.
pub(crate) const ALONE: &str = "prof_keeper:false";

/// Leaf first: `class.method:line` for Java frames, `None` for native ones.
pub(crate) type Frames = Vec<Option<String>>;

/// A dump's stacks as text.
pub(crate) struct JavaDump {
    /// Each with its objects and bytes.
    pub(crate) stacks: Vec<(Frames, (u64, u64))>,
    /// Our `# key: value` lines.
    pub(crate) metadata: BTreeMap<String, String>,
}

impl JavaDump {
    pub(crate) fn read(dump: &Dump) -> JavaDump {
        let text = dump.text();
        let names: HashMap<u64, String> = text.lines().filter_map(java_frame).collect();
        let mut lines = text.lines();
        let mut stacks = Vec::new();
        while let Some(line) = lines.next() {
            let Some(pcs) = line.strip_prefix("@ ") else { continue };
            let frames = pcs.split(' ').map(|pc| names.get(&number(pc)).cloned()).collect();
            stacks.push((frames, counts(lines.next().unwrap_or_default())));
        }
        let pairs = text.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(": "));
        JavaDump { stacks, metadata: pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect() }
    }

    /// Bytes below a Java method.
    pub(crate) fn bytes_below(&self, method: &str) -> u64 {
        let prefix = format!("{method}:");
        let is_below = |frames: &[Option<String>]| frames.iter().flatten().any(|frame| frame.starts_with(&prefix));
        self.stacks.iter().filter(|(frames, _)| is_below(frames)).map(|(_, (_, bytes))| bytes).sum()
    }

    /// `tests/java/Leaks.java` is the program, and every allocation was sampled. `whose`: what failed.
    pub(crate) fn assert_leaks_are_named(&self, whose: &str) {
        // zlib's own sizes, and what the program asks for.
        let leaks = [
            ("Leaks.deflaters", 100 * 268_288),
            ("Leaks.inflaters", 100 * 7_168),
            ("Leaks.buffers", 100 * 100_000),
            ("Leaks.unsafeBlocks", 100 * 100_000),
            ("Leaks.jniBlocks", 100 * 100_000),
            ("Leaks.blocksInCallBacks", 100 * 100_000),
        ];
        for (method, bytes) in leaks {
            let found = self.bytes_below(method);
            assert!((bytes..bytes * 3 / 2).contains(&found), "{whose}: {found} bytes below {method}, not {bytes}");
        }
    }

    /// Stacks that ended like this, of all that were taken.
    pub(crate) fn ended(&self, how: &str) -> u64 {
        self.metadata.get(&format!("stack_end_{how}")).map_or(0, |count| count.parse().expect("a number"))
    }

    pub(crate) fn assert_complete(&self, least_share: f64) {
        let ends = self.metadata.iter().filter(|(key, _)| key.starts_with("stack_end_"));
        let all: u64 = ends.clone().map(|(_, count)| count.parse::<u64>().expect("a number")).sum();
        let share = self.ended("root") as f64 / all as f64;
        assert!(all > 0 && share >= least_share, "{:?}", ends.collect::<Vec<_>>());
    }

    pub(crate) fn assert_nothing_lost(&self) {
        let lost = self.metadata.iter().filter(|(key, count)| key.starts_with("lost_") && *count != "0");
        assert_eq!(lost.collect::<Vec<_>>(), [], "the comparison wants all samples");
    }
}

fn number(pc: &str) -> u64 {
    u64::from_str_radix(pc.trim_start_matches("0x"), 16).expect("an address")
}

/// Objects and bytes of a `t*: objects: bytes […]` line.
fn counts(line: &str) -> (u64, u64) {
    let mut numbers = line.trim().trim_start_matches("t*: ").split([':', '[']).map(|word| word.trim().parse());
    match (numbers.next(), numbers.next()) {
        (Some(Ok(objects)), Some(Ok(bytes))) => (objects, bytes),
        _ => panic!("not a line of counts: {line:?}"),
    }
}

/// A `# java: pc class method line` line.
fn java_frame(line: &str) -> Option<(u64, String)> {
    let mut words = line.strip_prefix("# java: ")?.split(' ');
    let pc = number(words.next()?);
    let (class, method, line) = (words.next()?, words.next()?, words.next()?);
    let rest: Vec<&str> = words.collect();
    // The text of a mark may have blanks.
    let text =
        if class == "-" { format!("{method} {line} {}", rest.join(" ")) } else { format!("{class}.{method}:{line}") };
    Some((pc, text))
}

/// Runs Java with every allocation sampled; fails unless it ends with this code and leaves a final dump.
pub(crate) fn run_java(jvm: &Jvm, arguments: &[&str], conf: &str, code: i32) -> (Outcome, JavaDump) {
    run_java_under(jvm, arguments, &format!("{EVERY_ALLOCATION},{HOWEVER_SHORT},{ALONE},{conf}"), code)
}

/// The same under this configuration.
pub(crate) fn run_java_under(jvm: &Jvm, arguments: &[&str], conf: &str, code: i32) -> (Outcome, JavaDump) {
    let outcome = jvm.run(arguments).deadline(PATIENCE).run_tapped(conf);
    assert_eq!(outcome.status.code(), Some(code), "{jvm:?} {arguments:?}: {}\n{}", outcome.status, outcome.stderr);
    let dump = JavaDump::read(outcome.final_dump().unwrap_or_else(|| panic!("{jvm:?} {arguments:?}: no final dump")));
    (outcome, dump)
}
