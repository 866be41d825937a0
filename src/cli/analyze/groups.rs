//! The same bytes in other rows: by function, class, package or library, each with what lies below it.
//!
//! Cumulative, as in a call tree: a stack counts once for every group that any of its frames is in,
//! so rows overlap and are not to be summed. Allocator glue makes no rows. Growth that scatters over many sites is seen
//! here.

use super::frames::{Kind, Kinds};
use super::moments::Moments;
use super::own::Owners;
use super::place::Place;
use super::sites::{Site, sites};
use super::track::Track;
use crate::cli::profile::Profile;
use crate::cli::profile::location::{Function, FunctionId, Origin};
use crate::cli::profile::series::Series;
use rustc_hash::FxHashMap;
use serde::Serialize;

/// What makes stacks one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    /// The place that allocates, up to the first own frames (rows do not overlap)
    #[default]
    Site,
    /// A function anywhere in the stack
    Function,
    /// A Java class or C++ scope anywhere in the stack
    Class,
    /// A Java package anywhere in the stack
    Package,
    /// A library or program anywhere in the stack
    Library,
    /// The thread that allocated
    Thread,
    /// A whole call stack, or its first frames with --depth (rows do not overlap)
    Stack,
}

/// What makes stacks one row, in full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    /// The kind of row.
    pub(crate) by: By,
    /// Of [`By::Stack`]: frames from the allocation on that tell rows apart; all where there is no number.
    pub(crate) depth: Option<usize>,
}

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// What it is.
    pub(crate) what: What,
    /// What it held over the series.
    pub(crate) track: Track,
}

/// What a row stands for; its words are made only for rows that are shown.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A place.
    Site(Box<Site>),
    /// All that goes through frames of this name.
    Name(String),
}

impl Group {
    fn new(name: &str, moments: &Moments) -> Group {
        Group { what: What::Name(name.to_owned()), track: Track::new(moments) }
    }

    /// A place.
    pub(crate) fn of_site(site: Site, track: Track) -> Group {
        Group { what: What::Site(Box::new(site)), track }
    }

    /// What of it is shown.
    pub(crate) fn place(&self, profile: &Profile) -> Place {
        match &self.what {
            What::Site(site) => site.place(profile),
            What::Name(name) => Place::of_name(name),
        }
    }

    /// Its name in words.
    pub(crate) fn label(&self, profile: &Profile) -> String {
        self.place(profile).label()
    }

    /// Names of the frames that say what it is, leaf first.
    pub(crate) fn frames(&self, profile: &Profile) -> Vec<String> {
        match &self.what {
            What::Site(site) => site.names(profile),
            What::Name(name) => vec![name.clone()],
        }
    }
}

/// All rows, in no order.
pub(crate) fn groups(
    series: &Series,
    Rows { by, depth }: Rows,
    moments: &Moments,
    (kinds, owners): (&Kinds, &Owners),
) -> Vec<Group> {
    if matches!(by, By::Site | By::Stack) {
        let depth = (by == By::Stack).then_some(depth.unwrap_or(usize::MAX));
        let group = |site: Site| {
            let track = site.track(series, moments);
            Group::of_site(site, track)
        };
        return sites(series, depth, (kinds, owners)).into_iter().map(group).collect();
    }
    let shown = |id: usize| kinds.kind(FunctionId(u32::try_from(id).unwrap_or(u32::MAX))) != Kind::Glue;
    let functions_of = series.profile.functions.iter().enumerate();
    let keys: Vec<Option<String>> =
        functions_of.map(|(id, function)| key(function, by).filter(|_| shown(id))).collect();
    let mut rows: FxHashMap<&str, Group> = FxHashMap::default();
    for (index, sample) in series.profile.samples.iter().enumerate() {
        let mut names: Vec<&str> =
            functions(&series.profile, &sample.stack).filter_map(|id| keys.get(id.index())?.as_deref()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            rows.entry(name).or_insert_with(|| Group::new(name, moments)).track.add(series, moments, index);
        }
    }
    rows.into_values().collect()
}

fn functions<'a>(
    profile: &'a Profile,
    stack: &'a [crate::cli::profile::location::LocationId],
) -> impl Iterator<Item = FunctionId> + 'a {
    stack.iter().flat_map(|id| profile.location(*id).lines.iter().map(|line| line.function))
}

/// The row that a function belongs to.
pub(crate) fn key(function: &Function, by: By) -> Option<String> {
    let scope = |name: &str, separator: &str| name.rsplit_once(separator).map(|(scope, _)| scope.to_owned());
    match (by, function.origin) {
        (By::Thread, origin) => Some(function.name.clone()).filter(|_| origin == Origin::Thread),
        (_, Origin::Thread) => None,
        // An address without a name tells nothing in a table: the library does.
        (By::Function, Origin::Unknown) if !function.library.is_empty() => {
            Some(format!("{} (no names)", function.library))
        }
        (By::Function | By::Site | By::Stack, _) => Some(function.name.clone()),
        (By::Library, _) => Some(function.library.clone()).filter(|library| !library.is_empty()),
        (By::Class, Origin::Java) => scope(&function.name, "."),
        (By::Class, _) => scope(&function.name, "::"),
        (By::Package, Origin::Java) => scope(&function.name, ".").and_then(|class| scope(&class, ".")),
        (By::Package, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_know_their_class_package_and_library() {
        let java = Function { name: "com.shop.Catalog.unpack".into(), origin: Origin::Java, ..Function::default() };
        let native = Function { name: "os::Linux::map".into(), library: "libjvm.so".into(), ..Function::default() };
        assert_eq!(key(&java, By::Class).as_deref(), Some("com.shop.Catalog"));
        assert_eq!(key(&java, By::Package).as_deref(), Some("com.shop"));
        assert_eq!(key(&java, By::Library), None);
        assert_eq!(key(&native, By::Class).as_deref(), Some("os::Linux"));
        assert_eq!(key(&native, By::Library).as_deref(), Some("libjvm.so"));
        assert_eq!(key(&native, By::Package), None);
        let thread = Function { name: "thread main".into(), origin: Origin::Thread, ..Function::default() };
        assert_eq!((key(&thread, By::Thread).as_deref(), key(&native, By::Thread)), (Some("thread main"), None));
        assert_eq!((key(&thread, By::Function), key(&thread, By::Class)), (None, None));
    }
}
