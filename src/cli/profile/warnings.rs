//! What a reader noticed in a damaged or odd file. Bounded: a hostile file cannot fill memory with it.

/// Warnings that are kept in full; the rest is counted.
const KEPT: usize = 16;

/// Sentences about one input, in the order they were met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Warnings {
    kept: Vec<String>,
    dropped: usize,
}

impl Warnings {
    /// Adds a sentence, or counts it when there are many already.
    pub(crate) fn push(&mut self, text: impl Into<String>) {
        if self.kept.len() < KEPT {
            self.kept.push(text.into());
        } else {
            self.dropped += 1;
        }
    }

    /// The sentences, and a last one for those that were only counted.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let rest = (self.dropped > 0).then(|| format!("and {} more of this kind", self.dropped));
        self.kept.iter().cloned().chain(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::Warnings;

    #[test]
    fn many_warnings_are_counted_not_kept() {
        let mut warnings = Warnings::default();
        (0..1000).for_each(|n| warnings.push(format!("line {n}")));
        assert_eq!(warnings.lines().count(), super::KEPT + 1);
        assert_eq!(warnings.lines().last().as_deref(), Some("and 984 more of this kind"));
    }
}
