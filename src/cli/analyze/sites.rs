//! Allocation sites: stacks that differ only far from the allocation are one row.
//!
//! A server reaches one leaking line by hundreds of paths, and a table of whole stacks scatters it.
//! A site therefore ends some callers after the first frame of somebody's own code (or after a
//! fixed depth where there is none), and equal names join whatever their addresses.

use super::frames::{Kind, Kinds};
use crate::cli::profile::Profile;
use crate::cli::profile::location::{FunctionId, Line};
use crate::cli::profile::sample::{Estimate, Sample};
use crate::cli::profile::series::Series;
use crate::wire::ages::Ages;
use rustc_hash::FxHashMap;

/// Callers of the first own frame that still tell sites apart.
const CALLERS: usize = 3;
/// Frames of a site without any own frame.
const DEPTH_WITHOUT_OWN: usize = 8;
/// Frames of the longest site.
const DEPTH_MAX: usize = 40;

/// One row: a place that allocates, and what it held in each dump.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// Leaf first, without allocator glue. Lines are those of the biggest stack.
    pub(crate) frames: Vec<Line>,
    /// How many frames from the leaf the first own frame stands.
    pub(crate) own: Option<usize>,
    /// What it holds in the last dump.
    pub(crate) value: Estimate,
    /// Live bytes in each dump of the series.
    pub(crate) bytes: Vec<f64>,
    /// How many different stacks it stands for.
    pub(crate) stacks: usize,
    /// How old its objects are, where the last dump tells it.
    pub(crate) ages: Ages,
    /// The biggest of its stacks: index of a sample.
    pub(crate) biggest: usize,
    /// Live bytes of that.
    biggest_bytes: f64,
}

/// The sites of a series, biggest in the last dump first; or rows of so many frames.
pub(crate) fn sites(series: &Series, depth: Option<usize>) -> Vec<Site> {
    let kinds = Kinds::of(&series.profile);
    let mut rows: FxHashMap<Vec<FunctionId>, Site> = FxHashMap::default();
    let (mut frames, mut key) = (Vec::new(), Vec::new());
    for (index, sample) in series.profile.samples.iter().enumerate() {
        let own = cut(&kinds, series, sample, depth, &mut frames);
        key.clear();
        key.extend(frames.iter().map(|line: &Line| line.function));
        let history = series.history.get(index).map_or(&[][..], Vec::as_slice);
        match rows.get_mut(&key) {
            Some(site) => site.add(index, sample, history, &frames),
            None => {
                let mut site = Site::new(frames.clone(), own, series.dumps.len());
                site.add(index, sample, history, &frames);
                rows.insert(key.clone(), site);
            }
        }
    }
    let mut rows: Vec<Site> = rows.into_values().collect();
    rows.sort_by(|a, b| b.value.bytes.total_cmp(&a.value.bytes).then_with(|| a.key().cmp(b.key())));
    rows
}

impl Site {
    fn new(frames: Vec<Line>, own: Option<usize>, dumps: usize) -> Site {
        let value = Estimate::default();
        Site {
            frames,
            own,
            value,
            bytes: vec![0.0; dumps],
            stacks: 0,
            ages: Ages::default(),
            biggest: 0,
            biggest_bytes: -1.0,
        }
    }

    fn add(&mut self, index: usize, sample: &Sample, history: &[(usize, Estimate)], frames: &[Line]) {
        self.value += sample.value;
        self.stacks += 1;
        for (dump, value) in history {
            if let Some(sum) = self.bytes.get_mut(*dump) {
                *sum += value.bytes;
            }
        }
        sample.ages.iter().for_each(|ages| self.ages.add(ages));
        if sample.value.bytes > self.biggest_bytes {
            (self.biggest, self.biggest_bytes) = (index, sample.value.bytes);
            self.frames.clear();
            self.frames.extend_from_slice(frames);
        }
    }

    /// Names of its frames, leaf first.
    pub(crate) fn names(&self, profile: &Profile) -> Vec<String> {
        let functions = self.frames.iter().filter_map(|line| profile.function(line.function));
        functions.map(|function| function.name.clone()).collect()
    }

    /// It in a few words: the function that allocated, and where somebody's own code stands.
    pub(crate) fn label(&self, profile: &Profile) -> String {
        let name = |index: usize| Some(profile.function(self.frames.get(index)?.function)?.name.as_str());
        let leaf = name(0).unwrap_or("an empty stack");
        match self.own.filter(|own| *own > 0).and_then(name) {
            Some(own) => format!("{leaf} <- {own}"),
            None => match name(1).filter(|_| self.own == Some(0)) {
                Some(caller) => format!("{leaf} <- {caller}"),
                None => leaf.to_owned(),
            },
        }
    }

    /// Orders rows of equal size, so that output never depends on hashing.
    fn key(&self) -> impl Iterator<Item = FunctionId> + '_ {
        self.frames.iter().map(|line| line.function)
    }
}

/// Reads the frames of a stack's site, or so many. Returns where the first own frame stands.
fn cut(kinds: &Kinds, series: &Series, sample: &Sample, depth: Option<usize>, frames: &mut Vec<Line>) -> Option<usize> {
    let mut own = None;
    let is_enough = |position: usize, kind: Kind| {
        own = own.or((kind == Kind::Own).then_some(position));
        match depth {
            Some(depth) => position + 1 >= depth,
            None => own.map_or(position + 1 >= DEPTH_MAX, |own| position >= own + CALLERS),
        }
    };
    kinds.visible_until(&series.profile, sample, is_enough, frames);
    if depth.is_some() {
        return own;
    }
    let Some(own) = own else {
        frames.truncate(DEPTH_WITHOUT_OWN);
        return None;
    };
    // What called the outermost own frame is plumbing: thread starters, the JVM's call stubs.
    while frames.len() > own + 1 && frames.last().is_some_and(|line| kinds.kind(line.function) == Kind::System) {
        frames.pop();
    }
    Some(own)
}
