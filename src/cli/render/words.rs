//! The words of verdicts, and what each means.

use crate::cli::analyze::trend::Verdict;
use crate::cli::analyze::verdict::Conclusion;

/// Every word that a row may have, with its meaning: one line each, as `heaptap help verdicts` and the reports say it.
pub(crate) const MEANINGS: &[(Conclusion, &str)] = &[
    (Conclusion::Leak, "grows to the end, and what was allocated early is still there"),
    (Conclusion::Grows, "grows; too few snapshots to tell a leak from a cache that fills"),
    (Conclusion::Fills, "grows ever slower: a cache that fills, or a warm-up"),
    (Conclusion::Open, "rose, and too little was seen of it to judge: at once, in few objects, or too seldom"),
    (Conclusion::Held, "allocated, then no more, and never freed: a table, a cache, or a leak that stopped"),
    (Conclusion::Cache, "allocated as the process started, and kept"),
    (Conclusion::Plateau, "rose, then stopped; its objects are renewed"),
    (Conclusion::Busier, "more of it in flight, but none older than such objects become"),
    (Conclusion::Churn, "comes and goes"),
    (Conclusion::Pool, "a known pool: grows in steps to a bound"),
    (Conclusion::Jit, "memory of the JIT compiler, which comes and goes"),
    (Conclusion::Shrinks, "became less"),
    (Conclusion::Steady, "does not change beyond chance"),
];

/// Columns of a legend that hold the word.
pub(crate) const LEGEND: usize = 10;

/// A process by its name: `java org.acme.Shop (pid 7)`.
pub(crate) fn called(name: &str, pid: Option<u32>) -> String {
    pid.map_or_else(|| name.to_owned(), |pid| format!("{name} (pid {pid})"))
}

/// A row's verdict in a word or two.
pub(crate) fn conclusion(verdict: Conclusion) -> &'static str {
    match verdict {
        Conclusion::Leak => "leaks",
        Conclusion::Grows => "grows",
        Conclusion::Fills => "fills",
        Conclusion::Open => "open",
        Conclusion::Held => "held",
        Conclusion::Jit => "JIT noise",
        Conclusion::Pool => "pool",
        Conclusion::Plateau => "plateau",
        Conclusion::Busier => "busier",
        Conclusion::Cache => "kept",
        Conclusion::Churn => "churn",
        Conclusion::Shrinks => "shrinks",
        Conclusion::Steady => "steady",
        Conclusion::Unknown => "",
    }
}

/// A series' verdict as one word.
pub(crate) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Grows => "grows",
        Verdict::Plateau => "plateau",
        Verdict::Shrinks => "shrinks",
        Verdict::Steady => "steady",
        Verdict::Unknown => "",
    }
}

/// The meanings of the words among these, each once: `leaks: …`.
pub(crate) fn legend(verdicts: impl Iterator<Item = Conclusion>) -> Vec<String> {
    let used: std::collections::BTreeSet<Conclusion> = verdicts.collect();
    let of = |(verdict, meaning): &(Conclusion, &str)| format!("{:<9} {meaning}", conclusion(*verdict));
    MEANINGS.iter().filter(|(verdict, _)| used.contains(verdict)).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_used_are_explained_once_in_order_of_weight() {
        let used = [Conclusion::Steady, Conclusion::Leak, Conclusion::Steady, Conclusion::Unknown];
        let lines = legend(used.into_iter());
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("leaks") && lines[1].starts_with("steady"), "{lines:?}");
        let words: std::collections::BTreeSet<_> = MEANINGS.iter().map(|(verdict, _)| conclusion(*verdict)).collect();
        assert_eq!(words.len(), MEANINGS.len());
    }
}
