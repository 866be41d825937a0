//! Hints for causes that never stop recurring. The table is `culprits.txt`: to teach heaptap a new
//! one, add a line there.

use crate::cli::profile::Profile;
use crate::cli::profile::location::FunctionId;

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

/// The known causes that the functions of one profile show: each name is searched once, as a name
/// stands in thousands of sites.
pub(crate) struct Culprits {
    table: Vec<Culprit>,
    /// Per function: index in `table`.
    of_function: Vec<Option<usize>>,
}

impl Culprits {
    /// Searches all names.
    pub(crate) fn of(profile: &Profile) -> Culprits {
        let table: Vec<Culprit> = table().collect();
        let find = |name: &str| table.iter().position(|culprit| name.contains(culprit.pattern));
        let of_function = profile.functions.iter().map(|function| find(&function.name)).collect();
        Culprits { table, of_function }
    }

    /// The cause that stands first in the table among those that any of these functions shows.
    pub(crate) fn recognise(&self, functions: impl Iterator<Item = FunctionId>) -> Option<Culprit> {
        let found = functions.filter_map(|id| self.of_function.get(id.index()).copied().flatten()).min()?;
        self.table.get(found).copied()
    }

    /// The first cause that a name shows.
    pub(crate) fn of_name(&self, name: &str) -> Option<Culprit> {
        self.table.iter().find(|culprit| name.contains(culprit.pattern)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::location::Function;

    #[test]
    fn every_line_of_the_table_is_whole() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(table().count(), lines);
        assert!(table().all(|culprit| ![culprit.pattern, culprit.title, culprit.advice].contains(&"")));
    }

    #[test]
    fn an_unclosed_stream_is_recognised() {
        let names = ["main", "inflateInit2_", "Java_java_util_zip_Inflater_init", "java.util.zip.Inflater.init"];
        let functions = names.map(|name| Function { name: name.into(), ..Function::default() }).to_vec();
        let culprits = Culprits::of(&Profile { functions, ..Profile::default() });
        assert_eq!(culprits.recognise((0..4).map(FunctionId)).unwrap().title, "Inflater");
        assert_eq!(culprits.recognise([FunctionId(0)].into_iter()), None);
    }
}
