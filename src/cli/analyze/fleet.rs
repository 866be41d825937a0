//! One question over many lives: which places leak, in how many of them, and since which version?
//!
//! Every life is judged by itself, as `heaptap leaks` does, and its places are joined with those of other lives by
//! their frames: by the user's own frame where there is one, else by the frames from the allocation outwards, without
//! the numbers that each life draws anew (`steady_name`). Addresses, labels and words of reports join nothing.
//!
//! **How sure.** A steady process is accused once in 1,000 readings (`chance::FALSE_ALARMS`), so of many lives some are
//! accused by chance: of n judged lives k or more with the probability that a Poisson variable of mean n/1,000 is at
//! least k. That is a row's `chance`, and a bound, as one place is a part of what may be accused. Example: 1 of 200 has
//! 0.18 and means little; 2 of 40 has 0.0008; 1 of 1 has 0.001, as `leaks` has.
//!
//! **Since.** Values of the label that lives are told apart by are in the order in which their first lives began. A
//! value *has* a place if its lives accuse it beyond chance ([`BELIEVED`]). A place is there since the first value that
//! has it, if lives of an earlier one were judged; until the last one, if lives of a later one were. Where nothing
//! was judged nothing is said.

use super::chance::FALSE_ALARMS;
use super::groups::Rows;
use super::growth::{Growth, GrowthRow};
use super::place::Place;
use super::rows::Hint;
use super::steady_name::steady;
use super::verdict::Conclusion;
use crate::cli::profile::labels::Labels;
use crate::cli::profile::series::{Dump, Series};
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Chance up to which a value is said to have a place.
pub(crate) const BELIEVED: f64 = 0.01;
/// Places of a life that are counted, the biggest first, beside all that are accused.
const PLACES: usize = 500;
/// Places that are counted in all.
const MOST_ROWS: usize = 200_000;
/// Rows kept.
const ROWS: usize = 1000;
/// Lives named of a row.
const EXAMPLES: usize = 3;
/// Values told of a label.
const VALUES: usize = 50;

/// What a fleet does.
#[derive(Debug, Serialize)]
pub(crate) struct Fleet {
    /// Version of this form.
    pub(crate) schema: u32,
    /// Lives that were read.
    pub(crate) lives: usize,
    /// Their dumps.
    pub(crate) dumps: usize,
    /// Lives that could be judged, or that are accused.
    pub(crate) judged: usize,
    /// Lives in which something leaks or grows.
    pub(crate) accused: usize,
    /// When the first life began, and when the last dump was written; seconds since 1970.
    pub(crate) began: Option<f64>,
    /// The latter.
    pub(crate) last: Option<f64>,
    /// The label that lives are told apart by.
    pub(crate) by: Option<String>,
    /// Its values, in the order in which their first lives began.
    pub(crate) values: Vec<Value>,
    /// All labels.
    pub(crate) labels: Vec<Label>,
    /// Names of the programs, and how many lives each has.
    pub(crate) programs: Vec<(String, usize)>,
    /// Places that some life accuses: most lives first, then the fastest.
    pub(crate) rows: Vec<FleetRow>,
}

/// A label of the fleet.
#[derive(Debug, Serialize)]
pub(crate) struct Label {
    /// Its key.
    pub(crate) key: String,
    /// Different values of it.
    pub(crate) values: usize,
}

/// Lives of one value.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Value {
    /// The value; `None`: of lives without that label.
    pub(crate) value: Option<String>,
    /// Its lives.
    pub(crate) lives: usize,
    /// Those that could be judged, or are accused.
    pub(crate) judged: usize,
    /// Those in which something leaks or grows.
    pub(crate) accused: usize,
    /// When the first of them began.
    pub(crate) began: Option<f64>,
    /// Mean of what they held in their last dumps.
    pub(crate) live_bytes: f64,
}

/// A place over all lives.
#[derive(Debug, Serialize)]
pub(crate) struct FleetRow {
    /// It in a few words.
    pub(crate) label: String,
    /// The same, part by part: as the life has it in which it grows fastest.
    pub(crate) place: Place,
    /// Its frames there, from the allocation outwards.
    pub(crate) frames: Vec<String>,
    /// Lives in which it holds something.
    pub(crate) lives: usize,
    /// Lives in which it leaks or grows.
    pub(crate) accused: usize,
    /// Those of them in which it is sure to leak.
    pub(crate) leaks: usize,
    /// Probability that so many lives accuse any place by chance.
    pub(crate) chance: f64,
    /// Bytes a second, all accused lives together.
    pub(crate) rate: f64,
    /// Bound of its error that holds in 95 of 100 cases.
    pub(crate) rate_error: f64,
    /// What it holds in the accused lives.
    pub(crate) live_bytes: f64,
    /// What it grew by in them.
    pub(crate) growth_bytes: f64,
    /// The first value of the label that has it, if those before it are known not to.
    pub(crate) since: Option<String>,
    /// The last value that has it, if those after it are known not to.
    pub(crate) until: Option<String>,
    /// By value of the label, in their order.
    pub(crate) values: Vec<RowValue>,
    /// Lives to look at: the fastest.
    pub(crate) examples: Vec<Example>,
    /// What such a place usually is.
    pub(crate) hint: Option<Hint>,
}

/// A place in the lives of one value.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RowValue {
    /// The value.
    pub(crate) value: Option<String>,
    /// Lives that were judged.
    pub(crate) judged: usize,
    /// Lives in which the place holds something.
    pub(crate) lives: usize,
    /// Lives in which it leaks or grows.
    pub(crate) accused: usize,
    /// Bytes a second in one of these, on average.
    pub(crate) rate: f64,
}

/// A life in which a place grows.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Example {
    /// Its token, or the path of its first dump.
    pub(crate) life: String,
    /// Its last dump.
    pub(crate) path: String,
    /// What it is called by.
    pub(crate) labels: Vec<(String, String)>,
    /// Bytes a second.
    pub(crate) rate: f64,
}

/// A judged life, without what is only its own.
pub(crate) struct Life {
    id: String,
    path: String,
    program: String,
    labels: Labels,
    dumps: usize,
    began: Option<f64>,
    last: Option<f64>,
    live_bytes: f64,
    is_judged: bool,
    places: Vec<LifePlace>,
}

/// What joins places of lives.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Own(String),
    Frames(Vec<String>),
}

struct LifePlace {
    key: Key,
    /// The row, if it leaks or grows.
    accused: Option<GrowthRow>,
}

impl LifePlace {
    fn of(row: GrowthRow) -> LifePlace {
        let key = match &row.place.own {
            Some(own) => Key::Own(steady(own).into_owned()),
            None => Key::Frames(row.frames.iter().map(|name| steady(name).into_owned()).collect()),
        };
        LifePlace { key, accused: Some(row).filter(|row| row.judgement.verdict.is_suspect()) }
    }
}

impl Life {
    /// Of a named series, judged as `leaks` judges it.
    pub(crate) fn of(mut series: Series, labels: &Labels) -> Life {
        let dumps = series.dumps.len();
        // Starting up is no leak.
        series.drop_first(dumps / 10);
        let growth = Growth::of(&series, Rows::default());
        let first = series.dumps.first();
        let uptime = first.and_then(|dump| dump.metadata.uptime_ns).map_or(0.0, |ns| ns as f64 / 1e9);
        let is_finding = growth.outlook.is_finding();
        let (accused, mut others): (Vec<GrowthRow>, Vec<GrowthRow>) =
            growth.rows.into_iter().partition(|row| row.judgement.verdict.is_suspect());
        others.retain(|row| row.objects > 0.0);
        others.sort_by(|a, b| b.trend.last_bytes.total_cmp(&a.trend.last_bytes));
        others.truncate(PLACES);
        Life {
            id: series.life(),
            path: series.last().map_or_else(String::new, |dump| dump.path.display().to_string()),
            program: series.profile.title().unwrap_or("unknown program").to_owned(),
            labels: labels.clone(),
            dumps,
            began: first.and_then(Dump::time).map(|time| time - uptime),
            last: series.last().and_then(Dump::time),
            live_bytes: series.last().map_or(0.0, |dump| dump.total.bytes),
            is_judged: growth.outlook.is_judged || is_finding || !accused.is_empty(),
            places: accused.into_iter().chain(others).map(LifePlace::of).collect(),
        }
    }
}

/// Sums over the lives of one value.
#[derive(Clone, Default)]
struct Sum {
    lives: usize,
    accused: usize,
    leaks: usize,
    rate: f64,
    rate_variance: f64,
    live_bytes: f64,
    growth_bytes: f64,
}

/// A place while lives are added.
#[derive(Default)]
struct RowSums {
    /// By number of the value.
    sums: Vec<Sum>,
    /// The row of the life in which it grows fastest, and how fast.
    shown: Option<(f64, GrowthRow)>,
    examples: Vec<Example>,
}

/// Adds lives up.
#[derive(Default)]
pub(crate) struct FleetBuilder {
    by: Option<String>,
    lives: usize,
    dumps: usize,
    began: Option<f64>,
    last: Option<f64>,
    programs: BTreeMap<String, usize>,
    labels: BTreeMap<String, BTreeSet<String>>,
    values: Vec<Value>,
    places: FxHashMap<Key, RowSums>,
}

impl FleetBuilder {
    /// One whose lives are told apart by a label.
    pub(crate) fn by(label: Option<String>) -> FleetBuilder {
        FleetBuilder { by: label, ..FleetBuilder::default() }
    }

    /// Adds a life.
    pub(crate) fn add(&mut self, life: Life) {
        let is_accused = life.places.iter().any(|place| place.accused.is_some());
        let value = self.value(&life, is_accused);
        self.lives += 1;
        self.dumps += life.dumps;
        self.began = least(self.began, life.began);
        self.last = self.last.into_iter().chain(life.last).reduce(f64::max);
        *self.programs.entry(life.program.clone()).or_default() += 1;
        for (key, value) in &life.labels {
            self.labels.entry(key.clone()).or_default().insert(value.clone());
        }
        let Life { id, path, labels, places, .. } = life;
        let labels = labels.into_iter().collect();
        let example = Example { life: id, path, labels, rate: 0.0 };
        // Places of one key in one life are one: their rates and bytes add up.
        let mut joined: FxHashMap<Key, Vec<GrowthRow>> = FxHashMap::default();
        for place in places {
            joined.entry(place.key).or_default().extend(place.accused);
        }
        for (key, rows) in joined {
            if self.places.len() < MOST_ROWS || self.places.contains_key(&key) {
                self.places.entry(key).or_default().add(value, rows, &example);
            }
        }
    }

    /// Counts a life with its value; returns that one's number.
    fn value(&mut self, life: &Life, is_accused: bool) -> usize {
        let value = self.by.as_ref().and_then(|by| life.labels.get(by)).cloned();
        let at = self.values.iter().position(|known| known.value == value).unwrap_or_else(|| {
            self.values.push(Value { value, lives: 0, judged: 0, accused: 0, began: None, live_bytes: 0.0 });
            self.values.len() - 1
        });
        if let Some(known) = self.values.get_mut(at) {
            known.lives += 1;
            known.judged += usize::from(life.is_judged);
            known.accused += usize::from(is_accused);
            known.began = least(known.began, life.began);
            // The mean, life by life.
            known.live_bytes += (life.live_bytes - known.live_bytes) / known.lives as f64;
        }
        at
    }

    /// The answer.
    pub(crate) fn finish(self) -> Fleet {
        let order = order(&self.values);
        let values: Vec<Value> = order.iter().filter_map(|at| self.values.get(*at)).cloned().collect();
        let judged: usize = values.iter().map(|value| value.judged).sum();
        let is_accused = |sums: &&RowSums| sums.sums.iter().any(|sum| sum.accused > 0);
        let places = self.places.into_values().filter(|sums| is_accused(&sums));
        let mut rows: Vec<FleetRow> =
            places.filter_map(|sums| sums.finish(&order, &values, judged, self.by.is_some())).collect();
        rows.sort_by(|a, b| {
            let by_lives = b.accused.cmp(&a.accused).then_with(|| b.rate.total_cmp(&a.rate));
            by_lives.then_with(|| a.label.cmp(&b.label)).then_with(|| a.frames.cmp(&b.frames))
        });
        rows.truncate(ROWS);
        let mut programs: Vec<(String, usize)> = self.programs.into_iter().collect();
        programs.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Fleet {
            schema: 1,
            lives: self.lives,
            dumps: self.dumps,
            judged,
            accused: values.iter().map(|value| value.accused).sum(),
            began: self.began,
            last: self.last,
            values: if self.by.is_some() { values.into_iter().take(VALUES).collect() } else { Vec::new() },
            by: self.by,
            labels: self.labels.into_iter().map(|(key, values)| Label { key, values: values.len() }).collect(),
            programs,
            rows,
        }
    }
}

impl RowSums {
    /// Adds what a life has at this place.
    fn add(&mut self, value: usize, accused: Vec<GrowthRow>, example: &Example) {
        if value >= self.sums.len() {
            self.sums.resize(value + 1, Sum::default());
        }
        let Some(sum) = self.sums.get_mut(value) else { return };
        sum.lives += 1;
        if accused.is_empty() {
            return;
        }
        sum.accused += 1;
        sum.leaks += usize::from(accused.iter().any(|row| row.judgement.verdict == Conclusion::Leak));
        let mut rate = 0.0;
        for row in &accused {
            let of_row = row.judgement.rate.unwrap_or(0.0);
            let error = row.judgement.rate_error.unwrap_or(0.0);
            rate += of_row;
            sum.rate += of_row;
            sum.rate_variance += error * error;
            sum.live_bytes += row.trend.last_bytes;
            sum.growth_bytes += row.judgement.bytes;
        }
        self.examples.push(Example { rate, ..example.clone() });
        self.examples.sort_by(|a, b| b.rate.total_cmp(&a.rate).then_with(|| a.path.cmp(&b.path)));
        self.examples.truncate(EXAMPLES);
        let of = |row: &GrowthRow| row.judgement.rate.unwrap_or(0.0);
        let fastest = accused.into_iter().max_by(|a, b| of(a).total_cmp(&of(b)));
        // Equal rates (none is known): the first by its frames, whatever the order of reading.
        let is_better = |row: &GrowthRow| {
            self.shown.as_ref().is_none_or(|(best, shown)| (of(row), &shown.frames) > (*best, &row.frames))
        };
        if let Some(row) = fastest.filter(is_better) {
            self.shown = Some((of(&row), row));
        }
    }

    /// The row; `order`: numbers of the values in their order.
    fn finish(self, order: &[usize], values: &[Value], judged: usize, is_split: bool) -> Option<FleetRow> {
        let (_, GrowthRow { label, place, frames, hint, .. }) = self.shown?;
        let of = |at: &usize| self.sums.get(*at).cloned().unwrap_or_default();
        let sums: Vec<Sum> = order.iter().map(of).collect();
        let value = |(value, sum): (&Value, &Sum)| RowValue {
            value: value.value.clone(),
            judged: value.judged,
            lives: sum.lives,
            accused: sum.accused,
            rate: if sum.accused > 0 { sum.rate / sum.accused as f64 } else { 0.0 },
        };
        let values: Vec<RowValue> = values.iter().zip(&sums).map(value).collect();
        let (since, until) = if is_split { bounds(&values) } else { (None, None) };
        let all = |of: fn(&Sum) -> usize| sums.iter().map(of).sum::<usize>();
        let sum = |of: fn(&Sum) -> f64| sums.iter().map(of).sum::<f64>();
        let accused = all(|sum| sum.accused);
        Some(FleetRow {
            label,
            place,
            frames,
            lives: all(|sum| sum.lives),
            accused,
            leaks: all(|sum| sum.leaks),
            chance: chance(accused, judged),
            rate: sum(|sum| sum.rate),
            rate_error: sum(|sum| sum.rate_variance).sqrt(),
            live_bytes: sum(|sum| sum.live_bytes),
            growth_bytes: sum(|sum| sum.growth_bytes),
            since,
            until,
            values: if is_split { told(values) } else { Vec::new() },
            examples: self.examples,
            hint,
        })
    }
}

/// Of many values those that accuse, and the others as far as there is room.
fn told(mut values: Vec<RowValue>) -> Vec<RowValue> {
    let accusing = values.iter().filter(|value| value.accused > 0).count();
    let mut room = VALUES.saturating_sub(accusing);
    values.retain(|value| {
        let is_kept = value.accused > 0 || room > 0;
        room -= usize::from(value.accused == 0 && room > 0);
        is_kept
    });
    values.truncate(VALUES);
    values
}

/// The first and the last value that have a place, where lives beyond them were judged and have it not.
fn bounds(values: &[RowValue]) -> (Option<String>, Option<String>) {
    // Lives without the label may be of any version.
    let known: Vec<&RowValue> = values.iter().filter(|value| value.value.is_some()).collect();
    let has_it = |value: &RowValue| value.accused > 0 && chance(value.accused, value.judged) <= BELIEVED;
    let is_judged = |values: &[&RowValue]| values.iter().any(|value| value.judged > 0);
    let beyond = |at: usize, others: &[&RowValue]| known.get(at).filter(|_| is_judged(others)).copied();
    let first = known.iter().position(|value| has_it(value));
    let last = known.iter().rposition(|value| has_it(value));
    let since = first.and_then(|at| beyond(at, known.get(..at)?));
    let until = last.and_then(|at| beyond(at, known.get(at + 1..)?));
    (since.and_then(|value| value.value.clone()), until.and_then(|value| value.value.clone()))
}

/// Numbers of values in the order in which their first lives began; of the same time in that of versions.
fn order(values: &[Value]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    let of = |at: usize| values.get(at);
    let began = |at: usize| of(at).and_then(|value| value.began).unwrap_or(f64::INFINITY);
    let version = |at: usize| of(at).and_then(|value| value.value.as_deref()).map(version);
    order.sort_by(|&a, &b| began(a).total_cmp(&began(b)).then_with(|| version(a).cmp(&version(b))));
    order
}

/// A version's parts: numbers as numbers, so that 1.10 is behind 1.9.
fn version(text: &str) -> Vec<(u64, &str)> {
    let parts = text.split(['.', '-', '_', '+']);
    parts.map(|part| part.parse().map_or((u64::MAX, part), |number| (number, ""))).collect()
}

fn least(known: Option<f64>, other: Option<f64>) -> Option<f64> {
    known.into_iter().chain(other).reduce(f64::min)
}

/// The probability that of so many judged lives at least so many are accused by chance: of a Poisson variable.
pub(crate) fn chance(accused: usize, judged: usize) -> f64 {
    let mean = judged.max(accused) as f64 * FALSE_ALARMS;
    // 1 - sum of the smaller numbers, or, where that would be all rounding, the sum of the others.
    let mut term = (-mean).exp();
    if accused == 0 {
        return 1.0;
    }
    let mut below = 0.0;
    for number in 0..accused {
        below += term;
        term *= mean / (number + 1) as f64;
    }
    let mut tail = 0.0;
    let mut number = accused;
    while term > tail * 1e-12 && term > 0.0 {
        tail += term;
        number += 1;
        term *= mean / number as f64;
    }
    if accused as f64 > mean { tail.min(1.0) } else { (1.0 - below).clamp(0.0, 1.0) }
}

/// The label that tells versions apart, of those that there are: the first whose last word is one of these.
pub(crate) fn version_label<'a>(keys: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let is = |key: &str, word: &str| key.rsplit(['/', '.', ':']).next().is_some_and(|last| last == word);
    ["version", "release", "image", "build", "commit"].iter().find_map(|word| keys.clone().find(|key| is(key, word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: Option<&str>, judged: usize, accused: usize) -> RowValue {
        RowValue { value: name.map(str::to_owned), judged, lives: judged, accused, rate: 0.0 }
    }

    #[test]
    fn chance_is_a_poisson_tail() {
        // R: ppois(0, 0.2, lower.tail = FALSE), ppois(1, 0.04, …), ppois(39, 0.04, …), ppois(0, 0.001, …).
        for (accused, judged, expected) in
            [(1, 200, 0.181_269), (2, 40, 7.789_8e-4), (1, 1, 9.995e-4), (0, 10, 1.0), (3, 10_000, 0.997_230)]
        {
            assert!((chance(accused, judged) / expected - 1.0).abs() < 1e-3, "{accused} of {judged}");
        }
        assert!(chance(40, 40) < 1e-80 && chance(40, 40) > 0.0);
        assert!(chance(400, 40) < 1e-80);
    }

    #[test]
    fn since_and_until_are_said_where_lives_beyond_them_were_judged() {
        let name = |text: &str| Some(text.to_owned());
        let clean = [value(Some("1"), 40, 0), value(Some("2"), 40, 38), value(Some("3"), 40, 0)];
        assert_eq!(bounds(&clean), (name("2"), name("2")));
        // One of 40 may be chance, and is not the beginning.
        let one = [value(Some("1"), 40, 1), value(Some("2"), 40, 40), value(Some("3"), 40, 39)];
        assert_eq!(bounds(&one), (name("2"), None));
        // Nobody could judge what was before, nor what lives without the label are.
        let unknown = [value(Some("1"), 0, 0), value(Some("2"), 1, 1), value(None, 40, 0)];
        assert_eq!(bounds(&unknown), (None, None));
        assert_eq!(bounds(&[value(Some("1"), 40, 1)]), (None, None));
    }

    #[test]
    fn values_are_in_order_of_time_and_then_of_versions() {
        let value = |name: &str, began| Value {
            value: Some(name.to_owned()),
            lives: 1,
            judged: 1,
            accused: 0,
            began,
            live_bytes: 0.0,
        };
        let values = [
            value("1.10.0", Some(5.0)),
            value("1.9.0", Some(5.0)),
            value("unknown", None),
            value("2.0-rc1", Some(5.0)),
            value("0.9", Some(7.0)),
            value("3", Some(1.0)),
        ];
        assert_eq!(order(&values), [5, 1, 0, 3, 4, 2]);
    }

    #[test]
    fn the_label_of_versions_is_found() {
        let find = |keys: &[&'static str]| version_label(keys.iter().copied());
        assert_eq!(find(&["pod", "app.kubernetes.io/version"]), Some("app.kubernetes.io/version"));
        assert_eq!(find(&["image", "service.version"]), Some("service.version"));
        assert_eq!(find(&["image", "pod"]), Some("image"));
        assert_eq!(find(&["pod", "conversion"]), None);
    }

    #[test]
    fn of_many_values_those_that_accuse_stay() {
        let values: Vec<RowValue> =
            (0..200).map(|number| value(Some(&number.to_string()), 1, usize::from(number == 199))).collect();
        let told = told(values);
        assert_eq!((told.len(), told.last().unwrap().accused), (VALUES, 1));
    }
}
