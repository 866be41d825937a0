//! Allocation sites: stacks that differ only far from the allocation are one row.
//!
//! A server reaches one leaking line by hundreds of paths, and a table of whole stacks scatters it.
//! A site therefore ends some callers after the user's own frame (`own`; or after a fixed depth where there is none),
//! and equal names join whatever their addresses.

use super::frames::{Kind, Kinds};
use super::moments::Moments;
use super::own::Owners;
use super::place::{Place, Word};
use super::track::Track;
use crate::cli::profile::Profile;
use crate::cli::profile::location::{FunctionId, Line};
use crate::cli::profile::sample::Sample;
use crate::cli::profile::series::Series;
use rustc_hash::FxHashMap;

/// Callers of the first own frame that still tell sites apart.
const CALLERS: usize = 3;
/// Frames of a site without any own frame.
const DEPTH_WITHOUT_OWN: usize = 8;

/// One row: a place that allocates, and what it held in each dump.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// Leaf first, without allocator glue. Lines are those of the biggest stack.
    pub(crate) frames: Vec<Line>,
    /// How many frames from the leaf the user's own frame stands.
    pub(crate) own: Option<usize>,
    /// Where the thread of its biggest stack entered.
    pub(crate) entry: Option<Line>,
    /// What it held over the series.
    pub(crate) track: Track,
    /// The biggest of its stacks: index of a sample.
    pub(crate) biggest: usize,
    /// Live bytes of that.
    biggest_bytes: f64,
}

/// The sites of a series, biggest in the last dump first; or rows of so many frames.
pub(crate) fn sites(series: &Series, depth: Option<usize>, moments: &Moments) -> Vec<Site> {
    let kinds = Kinds::of(&series.profile);
    let owners = Owners::of(&series.profile, &kinds);
    let mut rows: FxHashMap<Vec<FunctionId>, Site> = FxHashMap::default();
    let (mut frames, mut key) = (Vec::new(), Vec::new());
    for (index, sample) in series.profile.samples.iter().enumerate() {
        let (own, entry) = cut((&kinds, &owners), series, sample, depth, &mut frames);
        key.clear();
        key.extend(frames.iter().map(|line: &Line| line.function));
        match rows.get_mut(&key) {
            Some(site) => site.add(series, moments, index, (&frames, entry)),
            None => {
                let mut site = Site::new(frames.clone(), own, moments);
                site.add(series, moments, index, (&frames, entry));
                rows.insert(key.clone(), site);
            }
        }
    }
    // Rows are large: their places are sorted.
    let mut rows: Vec<Option<Site>> = rows.into_values().map(Some).collect();
    let bytes = |site: &Option<Site>| site.as_ref().map_or(0.0, |site| site.track.value.bytes);
    let mut order: Vec<(f64, usize)> = rows.iter().map(bytes).zip(0..).collect();
    // Output never depends on hashing: rows of equal size are in the order of their functions.
    let frames = |at: usize| rows.get(at).and_then(Option::as_ref).map_or(&[][..], |site| site.frames.as_slice());
    let functions = |at: usize| frames(at).iter().map(|line| line.function);
    order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then_with(|| functions(a.1).cmp(functions(b.1))));
    order.iter().filter_map(|(_, at)| rows.get_mut(*at)?.take()).collect()
}

/// The place that holds most in the last dump, and its bytes.
pub(crate) fn biggest(series: &Series) -> Option<(Place, f64)> {
    let rows = sites(series, None, &Moments::of(series));
    rows.first().map(|site| (site.place(&series.profile), site.track.value.bytes))
}

impl Site {
    fn new(frames: Vec<Line>, own: Option<usize>, moments: &Moments) -> Site {
        Site { frames, own, entry: None, track: Track::new(moments), biggest: 0, biggest_bytes: -1.0 }
    }

    fn add(&mut self, series: &Series, moments: &Moments, index: usize, (frames, entry): (&[Line], Option<Line>)) {
        self.track.add(series, moments, index);
        let bytes = series.profile.samples.get(index).map_or(0.0, |sample| sample.value.bytes);
        if bytes > self.biggest_bytes {
            (self.biggest, self.biggest_bytes, self.entry) = (index, bytes, entry);
            self.frames.clear();
            self.frames.extend_from_slice(frames);
        }
    }

    /// The same place with a track of its own.
    pub(crate) fn with(&self, track: Track) -> Site {
        Site { track, ..self.clone() }
    }

    /// Joins another place to it; the bigger one's frames are shown.
    pub(crate) fn join(&mut self, other: Site) {
        let track = std::mem::take(&mut self.track);
        if other.biggest_bytes > self.biggest_bytes {
            *self = Site { track, ..other.clone() };
        } else {
            self.track = track;
        }
        self.track.join(&other.track);
    }

    /// The first frame of somebody's own code.
    pub(crate) fn own_function(&self) -> Option<FunctionId> {
        Some(self.frames.get(self.own?)?.function)
    }

    /// Shows nothing beyond the first own frame.
    pub(crate) fn cut_callers(&mut self) {
        if let Some(own) = self.own {
            self.frames.truncate(own + 1);
        }
    }

    /// Shows one function only.
    pub(crate) fn show_only(&mut self, line: Line) {
        (self.frames, self.own) = (vec![line], Some(0));
    }

    /// Names of its frames, leaf first.
    pub(crate) fn names(&self, profile: &Profile) -> Vec<String> {
        let functions = self.frames.iter().filter_map(|line| profile.function(line.function));
        functions.map(|function| function.name.clone()).collect()
    }

    /// What of it is shown.
    pub(crate) fn place(&self, profile: &Profile) -> Place {
        let word = |line: &Line| profile.function(line.function).map(Word::of);
        let frames: Vec<Word<'_>> = self.frames.iter().filter_map(word).collect();
        Place::of(&frames, self.own, self.entry.as_ref().and_then(word))
    }
}

/// Reads the frames of a stack's site, or so many. Returns where the own frame stands, and where the thread entered.
fn cut(
    (kinds, owners): (&Kinds, &Owners),
    series: &Series,
    sample: &Sample,
    depth: Option<usize>,
    frames: &mut Vec<Line>,
) -> (Option<usize>, Option<Line>) {
    kinds.visible_until(&series.profile, sample, |_, _| false, frames);
    let (own, entry) = (owners.own_frame(frames), owners.entry(frames));
    if let Some(depth) = depth {
        frames.truncate(depth);
        return (own.filter(|own| *own < depth), entry);
    }
    let Some(own) = own else {
        frames.truncate(DEPTH_WITHOUT_OWN);
        return (None, entry);
    };
    frames.truncate(own + 1 + CALLERS);
    // What called the outermost own frame is plumbing: thread starters, the JVM's call stubs.
    while frames.len() > own + 1 && frames.last().is_some_and(|line| kinds.kind(line.function) == Kind::System) {
        frames.pop();
    }
    (Some(own), entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::location::{Function, Location, LocationId, Origin};
    use crate::cli::profile::mapping::Mapping;
    use crate::cli::profile::sample::Estimate;
    use std::fmt::Write;
    use std::path::Path;

    /// The columns that are left to a place in the narrowest table.
    const NARROW: usize = 34;

    /// Reads a case: lines of `KIND NAME [LIBRARY]`, each `stack` smaller than the one before.
    fn series(text: &str) -> Series {
        let mut profile = Profile::default();
        for line in text.lines().map(str::trim) {
            let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (name, path) = rest.rsplit_once(" @ ").unwrap_or((rest, ""));
            let origin = match kind {
                "program" => {
                    profile.metadata.exe = Some(rest.to_owned());
                    continue;
                }
                "title" => {
                    profile.metadata.title = Some(rest.to_owned());
                    continue;
                }
                "own" => {
                    profile.own.push(rest.to_owned());
                    continue;
                }
                "stack" => {
                    let bytes = 1000.0 - profile.samples.len() as f64;
                    let value = Estimate { bytes, objects: 1.0, ..Estimate::default() };
                    profile.samples.push(Sample { value, ..Sample::default() });
                    continue;
                }
                "native" => Origin::Native,
                "nameless" => Origin::Unknown,
                "java" => Origin::Java,
                _ => continue,
            };
            if !path.is_empty() {
                profile.mappings.push(Mapping { path: path.to_owned(), ..Mapping::default() });
            }
            let (name, library) = (name.to_owned(), Mapping::file_name_of(path).to_owned());
            let function = Function { name, library, origin, ..Function::default() };
            let functions = &mut profile.functions;
            let known = functions.iter().position(|other| *other == function);
            let id = known.unwrap_or_else(|| {
                functions.push(function);
                functions.len() - 1
            });
            let line = Line { function: FunctionId(u32::try_from(id).unwrap()), line: 0 };
            profile.locations.push(Location { lines: vec![line], ..Location::default() });
            let location = LocationId(u32::try_from(profile.locations.len() - 1).unwrap());
            let sample = profile.samples.last_mut().expect("a stack begins with `stack`");
            sample.stack = sample.stack.iter().copied().chain([location]).collect();
        }
        Series { profile, ..Series::default() }
    }

    /// What is shown of the first stack: in a line, in a narrow column, and as a stack.
    fn shown(series: &Series) -> String {
        let sites = sites(series, None, &Moments::of(series));
        let (site, profile) = (sites.first().expect("a stack"), &series.profile);
        let (place, names) = (site.place(profile), site.names(profile));
        let mut text = format!("shown\n  {}\nnarrow\n  {}\nlines\n", place.label(), place.label_within(NARROW));
        for line in place.lines(5) {
            writeln!(text, "  {}", line.words(|index| names.get(index).map_or("", String::as_str))).unwrap();
        }
        text
    }

    /// Each file of `tests/places/` is a case: why, the stacks, and what is shown. `HEAPTAP_BLESS=1` writes the latter.
    #[test]
    #[cfg_attr(miri, ignore = "minutes under Miri")]
    fn every_stack_shows_whose_it_is() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/places");
        let mut cases: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        cases.sort();
        assert!(cases.len() >= 20);
        for path in cases {
            let text = std::fs::read_to_string(&path).unwrap();
            let (input, expected) = text.split_once("shown\n").unwrap_or((&text, ""));
            let (found, expected) = (shown(&series(input)), format!("shown\n{expected}"));
            if std::env::var_os("HEAPTAP_BLESS").is_some() {
                std::fs::write(&path, format!("{input}{found}")).unwrap();
            } else {
                assert_eq!(found, expected, "{}", path.display());
            }
        }
    }
}
