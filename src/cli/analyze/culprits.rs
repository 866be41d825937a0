//! Hints for causes that never stop recurring. The table is `culprits.txt`: to teach heaptap a new
//! one, add a line there.

/// A known cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Culprit {
    /// What a frame's name must contain.
    pattern: &'static str,
    /// What it is.
    pub(crate) title: &'static str,
    /// What to do.
    pub(crate) advice: &'static str,
}

const TABLE: &str = include_str!("culprits.txt");

fn table() -> impl Iterator<Item = Culprit> {
    TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut parts = line.splitn(3, '|').map(str::trim);
        Some(Culprit { pattern: parts.next()?, title: parts.next()?, advice: parts.next()? })
    })
}

/// The first known cause that any of these frames' names shows.
pub(crate) fn recognise<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<Culprit> {
    table().find(|culprit| names.clone().any(|name| name.contains(culprit.pattern)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_whole() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(table().count(), lines);
        assert!(table().all(|culprit| ![culprit.pattern, culprit.title, culprit.advice].contains(&"")));
    }

    #[test]
    fn an_unclosed_stream_is_recognised() {
        let names = ["inflateInit2_", "Java_java_util_zip_Inflater_init", "java.util.zip.Inflater.init"];
        assert_eq!(recognise(names.into_iter()).unwrap().title, "Inflater");
        assert_eq!(recognise(["main"].into_iter()), None);
    }
}
