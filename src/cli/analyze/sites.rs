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
use rustc_hash::{FxHashMap, FxHasher};
use std::hash::{Hash, Hasher};

/// Callers of the first own frame that still tell sites apart.
const CALLERS: usize = 3;
/// Frames of a site without any own frame.
const DEPTH_WITHOUT_OWN: usize = 8;

/// One row: a place that allocates. A profile has a hundred thousand, so that only of those that are looked at it is
/// worked out what they held over the series ([`Site::track`]).
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// Leaf first, without allocator glue. Lines are those of the biggest stack.
    pub(crate) frames: Box<[Line]>,
    /// How many frames from the leaf the user's own frame stands.
    pub(crate) own: Option<usize>,
    /// Where the thread of its biggest stack entered.
    pub(crate) entry: Option<Line>,
    /// Live bytes in the last dump.
    pub(crate) bytes: f64,
    /// The biggest of its stacks: index of a sample.
    pub(crate) biggest: usize,
    /// Live bytes of that.
    biggest_bytes: f64,
    /// Its stacks, indices of samples: the first, and the others.
    first: u32,
    others: Vec<u32>,
    /// What several places held that became this one.
    joined: Option<Box<Track>>,
}

/// The sites of a series, biggest in the last dump first; or rows of so many frames.
pub(crate) fn sites(series: &Series, depth: Option<usize>, (kinds, owners): (&Kinds, &Owners)) -> Vec<Site> {
    let (mut rows, mut frames): (Rows, _) = (Rows::default(), Vec::new());
    for (index, sample) in (0u32..).zip(&series.profile.samples) {
        let (own, entry) = cut((kinds, owners), series, sample, depth, &mut frames);
        let site = rows.of(&frames, || Site::new(&frames, own, index));
        site.add(index, sample.value.bytes, (&frames, entry));
    }
    // Rows are large: their places are sorted.
    let mut rows: Vec<Option<Site>> = rows.sites.into_iter().map(Some).collect();
    let leaf = |site: &Site| site.frames.first().map(|line| line.function);
    let key = |site: &Option<Site>| site.as_ref().map_or((0.0, None), |site| (site.bytes, leaf(site)));
    let mut order: Vec<((f64, Option<FunctionId>), usize)> = rows.iter().map(key).zip(0..).collect();
    // Output never depends on hashing: rows of equal size are in the order of their functions.
    let frames = |at: usize| rows.get(at).and_then(Option::as_ref).map_or(&[][..], |site| &site.frames);
    let functions = |at: usize| frames(at).iter().map(|line| line.function);
    order.sort_unstable_by(|((bytes, leaf), at), ((other_bytes, other_leaf), other)| {
        let by_size = other_bytes.total_cmp(bytes).then_with(|| leaf.cmp(other_leaf));
        by_size.then_with(|| functions(*at).cmp(functions(*other)))
    });
    order.iter().filter_map(|(_, at)| rows.get_mut(*at)?.take()).collect()
}

/// Sites by their functions.
#[derive(Default)]
struct Rows {
    sites: Vec<Site>,
    /// Of a hash of the functions, or the next number that was free: place in `sites`.
    places: FxHashMap<u64, usize>,
}

impl Rows {
    /// The site of these frames, a new one if there was none.
    fn of(&mut self, frames: &[Line], new: impl FnOnce() -> Site) -> &mut Site {
        let functions = || frames.iter().map(|line| line.function);
        let mut hasher = FxHasher::default();
        functions().for_each(|function| function.hash(&mut hasher));
        let mut hash = hasher.finish();
        let place = loop {
            let Some(&place) = self.places.get(&hash) else { break self.sites.len() };
            let known = self.sites.get(place).map_or(&[][..], |site| &site.frames);
            if known.iter().map(|line| line.function).eq(functions()) {
                break place;
            }
            hash = hash.wrapping_add(1);
        };
        if place == self.sites.len() {
            self.places.insert(hash, place);
            self.sites.push(new());
        }
        &mut self.sites[place]
    }
}

/// The place that holds most in the last dump, and its bytes.
pub(crate) fn biggest(series: &Series) -> Option<(Place, f64)> {
    let kinds = Kinds::of(&series.profile);
    let rows = sites(series, None, (&kinds, &Owners::of(&series.profile, &kinds)));
    rows.first().map(|site| (site.place(&series.profile), site.bytes))
}

impl Site {
    fn new(frames: &[Line], own: Option<usize>, first: u32) -> Site {
        let (frames, others) = (frames.into(), Vec::new());
        let (bytes, biggest_bytes) = (0.0, -1.0);
        Site { frames, own, entry: None, bytes, biggest: 0, biggest_bytes, first, others, joined: None }
    }

    fn add(&mut self, index: u32, bytes: f64, (frames, entry): (&[Line], Option<Line>)) {
        if index != self.first {
            self.others.push(index);
        }
        self.bytes += bytes;
        if bytes > self.biggest_bytes {
            (self.biggest, self.biggest_bytes, self.entry) = (index as usize, bytes, entry);
            self.frames.copy_from_slice(frames);
        }
    }

    /// What it held over the series.
    pub(crate) fn track(&self, series: &Series, moments: &Moments) -> Track {
        let mut track = Track::new(moments);
        self.put_track(series, moments, &mut track);
        track
    }

    /// The same into a track that is used again and again.
    pub(crate) fn put_track(&self, series: &Series, moments: &Moments, track: &mut Track) {
        match &self.joined {
            Some(joined) => track.clone_from(joined),
            None => {
                track.reset();
                let members = std::iter::once(&self.first).chain(&self.others);
                members.for_each(|index| track.add(series, moments, *index as usize));
            }
        }
    }

    /// The same place, which held something else.
    pub(crate) fn with(&self, track: Track) -> Site {
        let bytes = track.value.bytes;
        Site { bytes, joined: Some(Box::new(track)), ..self.clone() }
    }

    /// Joins another place to it; the bigger one's frames are shown.
    pub(crate) fn join(&mut self, other: &Site, series: &Series, moments: &Moments) {
        let mut track = self.joined.take().unwrap_or_else(|| Box::new(self.track(series, moments)));
        track.join(&other.track(series, moments));
        if other.biggest_bytes > self.biggest_bytes {
            *self = other.clone();
        }
        (self.bytes, self.joined) = (track.value.bytes, Some(track));
    }

    /// The first frame of somebody's own code.
    pub(crate) fn own_function(&self) -> Option<FunctionId> {
        Some(self.frames.get(self.own?)?.function)
    }

    /// Shows nothing beyond the first own frame.
    pub(crate) fn cut_callers(&mut self) {
        if let Some(frames) = self.own.and_then(|own| self.frames.get(..=own)) {
            self.frames = frames.into();
        }
    }

    /// Shows one function only.
    pub(crate) fn show_only(&mut self, line: Line) {
        (self.frames, self.own) = (Box::new([line]), Some(0));
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
        let kinds = Kinds::of(&series.profile);
        let sites = sites(series, None, (&kinds, &Owners::of(&series.profile, &kinds)));
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
