//! The rows that the verdict is made of: places that do not overlap, each as narrow as its growth allows.
//!
//! A place (`sites`) is a path from the allocation to somebody's own code. One leak may scatter over many of them: ten
//! places in a database for one statement that is not closed, five hundred callers of one function that keeps what it
//! makes. So growth is tested from the leaf up, and what remains unexplained from the root down:
//!
//! 1. Places with the same own function and the same callers, that differ only below it, are one where more than one of
//!    them grows: who called is who forgets.
//! 2. Places with the same own function and different callers are one where it takes more than [`SCATTERED`] of them to
//!    explain most of its growth, or where none of them is significant and the function is.
//! 3. What still grows, all together, without a place: the function that most of it goes through, the deepest of those.
//!    Again and again, until nothing significant is left.
//!
//! What is joined is judged as one row, by the same evidence as any other. So rows never overlap, and their sum is the
//! process's.

use super::exchange::younger;
use super::frames::{Kind, Kinds};
use super::groups::{Group, What};
use super::moments::Moments;
use super::own::Owners;
use super::rows::{Judge, Row};
use super::sites::{Site, sites};
use super::track::Track;
use super::verdict::Conclusion;
use crate::cli::profile::location::{FunctionId, Line};
use crate::cli::profile::series::Series;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::hash_map::Entry;

/// Places that explain most of a function's growth, at most, for them to be told apart.
const SCATTERED: usize = 3;
/// "Most": share of the growth.
const MOST: f64 = 0.8;
/// Places judged; what is smaller and changed less is counted only.
const JUDGED: usize = 2000;
/// Functions that are named for what no place explains.
const WIDE: usize = 4;

/// The places of a series, biggest in the last dump first, judged. Also how many there are that were not judged.
pub(super) fn places(series: &Series, judge: &Judge<'_>) -> (Vec<Row>, usize) {
    let all = sites(series, None, (&judge.kinds, &judge.owners));
    let tested = all.len();
    let (judged, others) = heaviest(join_below(all, series, &judge.moments));
    let row = |site: Site| {
        let track = site.track(series, &judge.moments);
        judge.row(Group::of_site(site, track), tested)
    };
    let mut rows: Vec<Row> = judged.into_iter().map(row).collect();
    rows = join_callers(rows, series, judge, tested);
    rows = join_wide(rows, series, judge, tested);
    rows.sort_by(|a, b| held(b).total_cmp(&held(a)));
    (rows, others)
}

/// A place, and what makes it worth a look: what it changed by, or what it holds.
struct Weighed {
    site: Site,
    weight: f64,
}

/// The [`JUDGED`] heaviest places, the heaviest first; and how many of the others hold anything.
fn heaviest(all: Vec<Weighed>) -> (Vec<Site>, usize) {
    let mut order: Vec<usize> = (0..all.len()).collect();
    let functions = |at: usize| all.get(at).map(|place| place.site.frames.iter().map(|line| line.function));
    let weight = |at: usize| all.get(at).map_or(0.0, |place| place.weight);
    let by_frames = |a: usize, b: usize| functions(a).into_iter().flatten().cmp(functions(b).into_iter().flatten());
    let in_order =
        |a: &usize, b: &usize| weight(*b).total_cmp(&weight(*a)).then_with(|| by_frames(*a, *b)).then_with(|| a.cmp(b));
    if order.len() > JUDGED {
        order.select_nth_unstable_by(JUDGED, in_order);
    }
    let small = order.split_off(order.len().min(JUDGED));
    order.sort_unstable_by(in_order);
    let others = small.iter().filter_map(|at| all.get(*at)).filter(|place| place.site.bytes >= 0.5).count();
    let mut all: Vec<Option<Weighed>> = all.into_iter().map(Some).collect();
    let judged = order.into_iter().filter_map(|at| Some(all.get_mut(at)?.take()?.site)).collect();
    (judged, others)
}

/// What a place held last; where it is suspected and the ending process freed it, before that.
fn held(row: &Row) -> f64 {
    let track = &row.group.track;
    let is_of_before = row.judgement.verdict.is_suspect() && row.trend.is_without_last(track.bytes.len());
    if is_of_before { row.trend.last_bytes } else { track.value.bytes }
}

fn weight(track: &Track) -> f64 {
    change(track).abs().max(track.value.bytes)
}

/// What a track grew by until the last dump in which it held anything.
fn change(track: &Track) -> f64 {
    let last = match track.bytes.as_slice() {
        [.., before, last] => last.max(*before),
        all => all.last().copied().unwrap_or(0.0),
    };
    // Of one dump, all of it may have grown.
    let first = if track.bytes.len() > 1 { track.bytes.first().copied().unwrap_or(0.0) } else { 0.0 };
    last - first
}

/// What of a track may have grown: what it changed by, or what was born in the later half of the time and lives.
fn grown(track: &Track, window: Option<f64>) -> f64 {
    let late = window.map_or(0.0, |window| younger(&track.ages, window / 2.0));
    change(track).max(late)
}

/// Joins places that differ only below the first own frame.
fn join_below(all: Vec<Site>, series: &Series, moments: &Moments) -> Vec<Weighed> {
    let mut joined: Vec<Weighed> = Vec::with_capacity(all.len());
    let mut known: FxHashMap<Vec<FunctionId>, usize> = FxHashMap::default();
    let mut joint: FxHashSet<usize> = FxHashSet::default();
    let mut track = Track::new(moments);
    for site in all {
        site.put_track(series, moments, &mut track);
        let weight = weight(&track);
        let own = site.own.filter(|_| grown(&track, moments.window) > 0.0);
        if let Some(own) = own {
            let key: Vec<FunctionId> = site.frames.iter().skip(own).map(|line| line.function).collect();
            match known.entry(key) {
                Entry::Vacant(vacant) => _ = vacant.insert(joined.len()),
                Entry::Occupied(at) => {
                    joint.insert(*at.get());
                    let first = joined.get_mut(*at.get());
                    first.into_iter().for_each(|first| first.site.join(&site, series, moments));
                    continue;
                }
            }
        }
        joined.push(Weighed { site, weight });
    }
    for first in joint {
        let Some(first) = joined.get_mut(first) else { continue };
        first.site.put_track(series, moments, &mut track);
        first.weight = weight(&track);
    }
    joined
}

/// Joins places of one own function where its growth is scattered over callers.
fn join_callers(rows: Vec<Row>, series: &Series, judge: &Judge<'_>, tested: usize) -> Vec<Row> {
    let window = judge.moments.window;
    let mut by_function: FxHashMap<FunctionId, Vec<usize>> = FxHashMap::default();
    for (index, row) in rows.iter().enumerate() {
        let What::Site(site) = &row.group.what else { continue };
        let function = site.own_function().filter(|function| !is_mark(series, *function));
        if let Some(function) = function.filter(|_| may_grow(row, window)) {
            by_function.entry(function).or_default().push(index);
        }
    }
    let mut groups: Vec<Vec<usize>> = by_function.into_values().filter(|members| members.len() > 1).collect();
    groups.sort();
    let mut rows: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
    for members in groups {
        let of = |index: &usize| rows.get(*index).and_then(Option::as_ref);
        let mut each: Vec<f64> = members.iter().filter_map(of).map(|row| grown(&row.group.track, window)).collect();
        each.sort_by(|a, b| b.total_cmp(a));
        let all: f64 = each.iter().sum();
        let few: f64 = each.iter().take(SCATTERED).sum();
        let found = members.iter().filter_map(of).filter(|row| row.judgement.verdict.is_suspect()).count();
        let is_scattered = few < MOST * all;
        if !is_scattered && found > 0 {
            continue;
        }
        let members_of = members.iter().filter_map(of);
        let Some(joined) = join(members_of, Site::cut_callers, series, &judge.moments) else { continue };
        let joined = judge.row(joined, tested);
        let is_told = joined.judgement.verdict.is_suspect() || found == 0 && joined.judgement.verdict.is_open();
        if is_told {
            let Some((first, others)) = members.split_first() else { continue };
            others.iter().for_each(|index| rows[*index] = None);
            rows[*first] = Some(joined);
        }
    }
    rows.into_iter().flatten().collect()
}

/// One group of several rows; `shorten` makes its frames those that all of them share.
fn join<'a>(
    rows: impl Iterator<Item = &'a Row>,
    shorten: impl Fn(&mut Site),
    series: &Series,
    moments: &Moments,
) -> Option<Group> {
    let mut sites = rows.filter_map(|row| match &row.group.what {
        What::Site(site) => Some(site.with(row.group.track.clone())),
        What::Name(_) => None,
    });
    let mut first = sites.next()?;
    sites.for_each(|site| first.join(&site, series, moments));
    shorten(&mut first);
    let track = first.track(series, moments);
    Some(Group::of_site(first, track))
}

/// Joins what grows without being significant by itself, where it is together.
fn join_wide(mut rows: Vec<Row>, series: &Series, judge: &Judge<'_>, tested: usize) -> Vec<Row> {
    let window = judge.moments.window;
    for _ in 0..WIDE {
        let open: Vec<usize> =
            rows.iter().enumerate().filter(|(_, row)| is_unexplained(row, window)).map(|(index, _)| index).collect();
        let Some((function, members)) = narrowest(&rows, &open, series, (&judge.kinds, &judge.owners), window) else {
            break;
        };
        let chosen = members.iter().filter_map(|index| rows.get(*index));
        let show = |site: &mut Site| site.show_only(Line { function, line: 0 });
        let Some(joined) = join(chosen, show, series, &judge.moments) else { break };
        let joined = judge.row(joined, tested);
        if members.len() < 2 || !joined.judgement.verdict.is_suspect() {
            break;
        }
        let gone: FxHashSet<usize> = members.into_iter().collect();
        let mut index = 0;
        rows.retain(|_| {
            index += 1;
            !gone.contains(&(index - 1))
        });
        rows.push(joined);
    }
    rows
}

/// Whether a row may be part of a growth that no place explains.
fn is_unexplained(row: &Row, window: Option<f64>) -> bool {
    let is_quiet = matches!(row.judgement.verdict, Conclusion::Steady | Conclusion::Unknown | Conclusion::Open);
    is_quiet && grown(&row.group.track, window) > 0.0
}

/// Whether a row may be part of a growth at all.
fn may_grow(row: &Row, window: Option<f64>) -> bool {
    let is_other = matches!(row.judgement.verdict, Conclusion::Churn | Conclusion::Busier | Conclusion::Shrinks);
    !is_other && grown(&row.group.track, window) > 0.0
}

/// Whether it is a mark of the walk, such as `[gc barrier]` or `[Java code]`: no function of anybody.
fn is_mark(series: &Series, function: FunctionId) -> bool {
    series.profile.function(function).is_some_and(|function| function.name.starts_with('['))
}

/// The deepest function that most of the growth of these rows goes through, and the rows that are its.
fn narrowest(
    rows: &[Row],
    open: &[usize],
    series: &Series,
    (kinds, owners): (&Kinds, &Owners),
    window: Option<f64>,
) -> Option<(FunctionId, Vec<usize>)> {
    let all: f64 = open.iter().filter_map(|index| rows.get(*index)).map(|row| grown(&row.group.track, window)).sum();
    if open.len() < 2 || all <= 0.0 {
        return None;
    }
    // Per function: growth, live bytes, rows.
    let mut sums: FxHashMap<FunctionId, (f64, f64, Vec<usize>)> = FxHashMap::default();
    let mut seen = FxHashSet::default();
    for index in open {
        let Some(row) = rows.get(*index) else { continue };
        let What::Site(site) = &row.group.what else { continue };
        let Some(sample) = series.profile.samples.get(site.biggest) else { continue };
        seen.clear();
        for line in sample.stack.iter().flat_map(|id| &series.profile.location(*id).lines) {
            if is_mark(series, line.function) || kinds.kind(line.function) != Kind::Own || !seen.insert(line.function) {
                continue;
            }
            let sum = sums.entry(line.function).or_default();
            sum.0 += grown(&row.group.track, window);
            sum.1 += row.group.track.value.bytes;
            sum.2.push(*index);
        }
    }
    let depth = |function: FunctionId, members: &[usize]| -> usize {
        let of = |index: &usize| {
            let What::Site(site) = &rows.get(*index)?.group.what else { return None };
            let stack = &series.profile.samples.get(site.biggest)?.stack;
            let mut lines = stack.iter().flat_map(|id| &series.profile.location(*id).lines);
            lines.position(|line| line.function == function)
        };
        members.iter().filter_map(of).max().unwrap_or(usize::MAX)
    };
    let most = sums.values().map(|sum| sum.0).fold(0.0, f64::max);
    let wide = sums.into_iter().filter(|(_, (growth, _, members))| *growth >= MOST * most && members.len() > 1);
    let best = wide.min_by(|(a, (_, live_a, rows_a)), (b, (_, live_b, rows_b))| {
        let by_size = live_a.total_cmp(live_b);
        // Of functions that hold the same, the user's own one is the answer.
        let by_owner = by_size.then_with(|| owners.owner(*a).cmp(&owners.owner(*b)));
        by_owner.then_with(|| depth(*a, rows_a).cmp(&depth(*b, rows_b))).then_with(|| a.cmp(b))
    })?;
    Some((best.0, best.1.2))
}
