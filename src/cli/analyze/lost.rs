//! What the tap could not follow: samples without a block or a record of their own. How much they stand for, why, and
//! what would help.
//!
//! Such a block was allocated and may long be freed: nobody knows. So its bytes are no live bytes, and as long as they
//! could be what is looked for, no verdict may rest on their absence.

use crate::cli::profile::metadata::Metadata;

/// What was lost up to one dump.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Lost {
    /// Lost samples.
    pub(crate) samples: u64,
    /// Their share of all samples, 0 to 1; `None` where the dump does not tell how many there were.
    pub(crate) share: Option<f64>,
    /// Bytes that they stand for.
    pub(crate) bytes: f64,
    /// The cause of most of them.
    pub(crate) cause: Option<Cause>,
}

/// Why samples are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    /// Its word in the metadata: `lost_<word>`.
    word: &'static str,
    /// In words.
    pub(crate) why: &'static str,
    /// What would make it go.
    pub(crate) advice: &'static str,
}

const CAUSES: [Cause; 6] = [
    Cause {
        word: "range",
        why: "the address range of sampled blocks is used up, and something else lies behind it",
        advice: "start the process anew, without a limit on address space (RLIMIT_AS) if it has one; or sample less \
                 (lg_prof_sample)",
    },
    Cause {
        word: "memory",
        why: "the kernel gave no memory for sampled blocks",
        advice: "raise the limit that it met: RLIMIT_AS, RLIMIT_MEMLOCK, vm.max_map_count",
    },
    Cause {
        word: "samples",
        why: "the table of samples is full",
        advice: "make it larger (prof_region_bytes), or sample less (lg_prof_sample)",
    },
    Cause {
        word: "stacks",
        why: "the table of stacks is full",
        advice: "make it larger (prof_region_bytes), or cut stacks shorter (prof_bt_max)",
    },
    Cause {
        word: "nested",
        why: "too many threads were sampled at once, or handlers jumped out of malloc",
        advice: "sample less (lg_prof_sample)",
    },
    Cause {
        word: "arena",
        why: "there was no arena for sampled blocks",
        advice: "allow more arenas, or sample less (lg_prof_sample)",
    },
];

impl Lost {
    /// What a dump with this sampling period tells. Where it tells numbers only, a sample stands for a period at least.
    pub(crate) fn of(metadata: &Metadata, period_bytes: u64) -> Lost {
        let samples = metadata.lost_total();
        let bytes = match metadata.unfollowed_bytes {
            Some(bytes) => bytes as f64,
            None => samples as f64 * period_bytes as f64,
        };
        let taken = metadata.unknown.iter().find(|(key, _)| key == "samples").and_then(|(_, value)| value.parse().ok());
        let share = taken.map(|taken: u64| samples as f64 / (samples as f64 + taken as f64).max(1.0));
        Lost { samples, share, bytes, cause: Cause::of_most(&metadata.lost) }
    }
}

impl Cause {
    /// The cause of most of these losses: (word, samples).
    pub(crate) fn of_most(lost: &[(String, u64)]) -> Option<Cause> {
        let (word, _) = lost.iter().filter(|(_, number)| *number > 0).max_by_key(|(_, number)| *number)?;
        CAUSES.into_iter().find(|cause| cause.word == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_or_estimated() {
        let mut metadata = Metadata::default();
        let lines = ["# lost_range: 30", "# lost_nested: 2", "# samples: 96"];
        assert!(lines.iter().all(|line| metadata.take_line(line)));
        let lost = Lost::of(&metadata, 1 << 17);
        assert_eq!((lost.samples, lost.share, lost.bytes), (32, Some(0.25), f64::from(32 << 17)));
        assert!(lost.cause.unwrap().why.contains("address range"));
        assert!(metadata.take_line("# unfollowed_bytes: 77"));
        assert_eq!(Lost::of(&metadata, 1 << 17).bytes, 77.0);
        assert_eq!(Lost::of(&Metadata::default(), 1).cause, None);
    }

    #[test]
    fn each_counter_of_losses_has_its_words() {
        use crate::wire::live::counters::NAMED;
        let lost = NAMED.iter().filter_map(|(_, name)| name.strip_prefix("lost_"));
        let unknown: Vec<&str> = lost.filter(|word| CAUSES.iter().all(|cause| cause.word != *word)).collect();
        assert_eq!(unknown, [""; 0]);
    }
}
