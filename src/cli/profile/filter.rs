//! Keeps the stacks that somebody asked for. Works on named series; sums of dumps follow.

use super::location::{FunctionId, LocationId};
use super::sample::Sample;
use super::series::Series;
use super::{Profile, sample::Estimate};

/// Which stacks to keep: those through any `focus` name (if there is one), not through any `ignore`d.
/// A name matches if it contains the text, in whatever case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Keep only stacks with one of these.
    pub(crate) focus: Vec<String>,
    /// Drop stacks with one of these.
    pub(crate) ignore: Vec<String>,
    /// Show stacks without these frames.
    pub(crate) hide: Vec<String>,
}

impl Filter {
    /// Whether it keeps everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.focus.is_empty() && self.ignore.is_empty() && self.hide.is_empty()
    }

    /// Drops what is not wanted. Returns how many stacks stay.
    pub(crate) fn apply(&self, series: &mut Series) -> usize {
        let (focus, ignore) = (matches(&series.profile, &self.focus), matches(&series.profile, &self.ignore));
        let goes_through = |sample: &Sample, hits: &[bool]| {
            let mut functions = functions(&series.profile, sample);
            functions.any(|id| hits.get(id.index()).copied().unwrap_or(false))
        };
        let wanted =
            |sample: &Sample| (self.focus.is_empty() || goes_through(sample, &focus)) && !goes_through(sample, &ignore);
        let new = series.profile.new_bytes();
        let keep: Vec<bool> = series.profile.samples.iter().map(wanted).collect();
        let mut flags = keep.iter();
        series.profile.samples.retain(|_| flags.next().copied().unwrap_or(false));
        let mut flags = keep.iter();
        series.history.retain(|_| flags.next().copied().unwrap_or(false));
        let mut flags = keep.iter();
        series.earlier_ages.retain(|_| flags.next().copied().unwrap_or(false));
        // What recycled stacks went through is not known. As much of it was wanted as of those that came since.
        let kept = series.profile.new_bytes();
        let shares = kept.iter().zip(&new).map(|(kept, new)| if *new > 0.0 { kept / new } else { 0.0 });
        series.profile.history.other.iter_mut().zip(shares).for_each(|(past, share)| *past = *past * share);
        self.hide(&mut series.profile);
        sum_again(series);
        series.profile.samples.len()
    }
}

impl Filter {
    /// Takes frames out of the stacks; a stack of nothing else keeps its bytes.
    fn hide(&self, profile: &mut Profile) {
        if self.hide.is_empty() {
            return;
        }
        let hidden = matches(profile, &self.hide);
        let is_hidden = |id: FunctionId| hidden.get(id.index()).copied().unwrap_or(false);
        let is_named: Vec<bool> = profile.locations.iter().map(|location| !location.lines.is_empty()).collect();
        profile.locations.iter_mut().for_each(|location| location.lines.retain(|line| !is_hidden(line.function)));
        let locations = &profile.locations;
        let is_left = |id: &LocationId| {
            let is_empty = locations.get(id.index()).is_some_and(|location| location.lines.is_empty());
            !(is_empty && is_named.get(id.index()).copied().unwrap_or(false))
        };
        for sample in &mut profile.samples {
            if !sample.stack.iter().all(is_left) {
                sample.stack = sample.stack.iter().copied().filter(is_left).collect();
            }
        }
    }
}

/// Which functions contain any of the texts in name or library.
fn matches(profile: &Profile, texts: &[String]) -> Vec<bool> {
    let texts: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
    let hit = |name: &str| texts.iter().any(|text| name.to_lowercase().contains(text.as_str()));
    profile.functions.iter().map(|function| hit(&function.name) || hit(&function.library)).collect()
}

fn functions<'a>(profile: &'a Profile, sample: &'a Sample) -> impl Iterator<Item = FunctionId> + 'a {
    sample.stack.iter().flat_map(|id| profile.location(*id).lines.iter().map(|line| line.function))
}

fn sum_again(series: &mut Series) {
    for (index, dump) in series.dumps.iter_mut().enumerate() {
        let values = series.history.iter().flatten().filter(|(at, _)| *at == index);
        dump.stacks = values.clone().count();
        dump.total = values.map(|(_, value)| *value).sum::<Estimate>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::heap_v2;
    use crate::cli::profile::location::{Function, Line};
    use crate::cli::profile::series::SeriesBuilder;

    /// `small.heap`, every place named after its mapping.
    fn series() -> Series {
        let text = include_str!("../../../tests/dumps/small.heap");
        let mut builder = SeriesBuilder::default();
        builder.add("small.heap".into(), None, heap_v2::parse(text.as_bytes()).unwrap());
        let mut series = builder.finish();
        let profile = &mut series.profile;
        for (index, mapping) in profile.mappings.iter().enumerate() {
            profile.functions.push(Function { name: mapping.path.clone(), ..Function::default() });
            let line = Line { function: FunctionId(index as u32), line: 0 };
            let here =
                profile.locations.iter_mut().filter(|location| location.mapping.is_some_and(|id| id.index() == index));
            here.for_each(|location| location.lines = vec![line]);
        }
        series
    }

    #[test]
    fn focus_and_ignore_part_the_bytes() {
        let whole = series().dumps[0].total.bytes;
        let filtered = |focus: &[&str], ignore: &[&str]| {
            let mut series = series();
            let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            let filter = Filter { focus: own(focus), ignore: own(ignore), ..Filter::default() };
            let stacks = filter.apply(&mut series);
            assert!((series.profile.total().bytes - series.dumps[0].total.bytes).abs() < 1e-6);
            (stacks, series.dumps[0].total.bytes)
        };
        let (with, without) = (filtered(&["APP/Leak"], &[]), filtered(&[], &["app/leak"]));
        assert_eq!((with.0, without.0), (2, 2));
        assert!((with.1 + without.1 - whole).abs() < 1e-6);
        assert_eq!(filtered(&["stdc++", "leak"], &[]).0, 3);
        assert_eq!(filtered(&["nowhere"], &[]), (0, 0.0));
    }

    #[test]
    fn hidden_frames_leave_the_stacks_and_their_bytes_stay() {
        let (whole, mut series) = (series(), series());
        Filter { hide: vec!["JEMALLOC".into()], ..Filter::default() }.apply(&mut series);
        let frames = |series: &Series| -> Vec<usize> {
            series.profile.samples.iter().map(|sample| sample.stack.len()).collect()
        };
        assert!(frames(&series).iter().zip(frames(&whole)).take(3).all(|(after, before)| *after < before));
        assert!((series.profile.total().bytes - whole.profile.total().bytes).abs() < 1e-6);
        let names = functions(&series.profile, &series.profile.samples[0])
            .filter_map(|id| series.profile.function(id))
            .any(|function| function.name.contains("jemalloc"));
        assert!(!names);
    }
}
