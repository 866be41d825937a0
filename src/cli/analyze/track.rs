//! The evidence about some stacks: what they held at each moment, how old their objects are, and how exact that is.
//!
//! Tracks add up, so a place, a function and the whole process are judged alike. The moments are the dumps of a series,
//! and those that the last dump's history tells of (`moments`).
//!
//! How exact: a block of s bytes is seen with p = 1 - exp(-s/R) and then stands for s/p bytes. Each live byte of such
//! blocks brings a variance of s(1-p)/p to a sum: nearly R for small blocks, nothing for those beyond some periods,
//! which are all seen. That is a track's *grain*; s/p is what one sample stands for.

use super::moments::{Moments, Point};
use crate::cli::profile::sample::Estimate;
use crate::cli::profile::series::Series;
use crate::wire::ages::Ages;

/// What some stacks held over a series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Track {
    /// In the last dump.
    pub(crate) value: Estimate,
    /// Bytes (or what stands in their place) at each moment.
    pub(crate) bytes: Vec<f64>,
    /// Objects at each moment.
    pub(crate) objects: Vec<f64>,
    /// Of the bytes of the last dump, those that were allocated since the first moment, at most.
    pub(crate) born: f64,
    /// Ages in the last dump.
    pub(crate) ages: Ages,
    /// Ages in the dump before that.
    pub(crate) earlier_ages: Ages,
    /// Stacks that hold something in the last dump.
    pub(crate) holding: usize,
    /// Samples of the profile that it is made of.
    pub(crate) members: Vec<u32>,
    /// Sums over stacks, for means: of what they held at most, of that times grain, and of the samples seen of it.
    weight: f64,
    variance: f64,
    samples: f64,
}

impl Track {
    /// One that holds nothing.
    pub(crate) fn new(moments: &Moments) -> Track {
        let none = vec![0.0; moments.count()];
        Track { bytes: none.clone(), objects: none, ..Track::default() }
    }

    /// Forgets what it holds.
    pub(super) fn reset(&mut self) {
        let (mut bytes, mut objects) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.objects));
        let mut members = std::mem::take(&mut self.members);
        bytes.fill(0.0);
        objects.fill(0.0);
        members.clear();
        *self = Track { bytes, objects, members, ..Track::default() };
    }

    /// Of values that are measured exactly.
    pub(crate) fn of_values(values: &[f64]) -> Track {
        let born = values.last().copied().unwrap_or(0.0);
        Track { bytes: values.to_vec(), objects: values.to_vec(), born, ..Track::default() }
    }

    /// Of all stacks of a series.
    pub(crate) fn of_all(series: &Series, moments: &Moments) -> Track {
        let mut track = Track::new(moments);
        (0..series.profile.samples.len()).for_each(|index| track.add(series, moments, index));
        // What stacks hold may have been shaped, and some are gone; the sums of all are those that are shown.
        track.bytes = moments.totals.iter().map(|total| total.bytes).collect();
        track.objects = moments.totals.iter().map(|total| total.objects).collect();
        track
    }

    /// Adds a stack.
    pub(crate) fn add(&mut self, series: &Series, moments: &Moments, index: usize) {
        let Some(sample) = series.profile.samples.get(index) else { return };
        let history = series.history.get(index).map_or(&[][..], Vec::as_slice);
        self.members.push(index as u32);
        self.value += sample.value;
        self.holding += usize::from(sample.value.bytes > 0.0);
        self.born += moments.born(sample);
        let mut most = Estimate::default();
        let mut put = |at: usize, bytes: f64, objects: f64| {
            self.bytes.get_mut(at).into_iter().for_each(|sum| *sum += bytes);
            self.objects.get_mut(at).into_iter().for_each(|sum| *sum += objects);
            if bytes > most.bytes {
                most = Estimate { bytes, objects, ..Estimate::default() };
            }
        };
        let mut values = history.iter().peekable();
        for (at, point) in moments.points.iter().enumerate() {
            match point {
                Point::Dump(dump) => {
                    while let Some((_, value)) = values.next_if(|(of, _)| of <= dump) {
                        put(at, value.bytes, value.objects);
                    }
                }
                Point::Look(look) => {
                    let (bytes, objects) = moments.held(sample, *look);
                    put(at, bytes, objects);
                }
            }
        }
        sample.ages.iter().for_each(|ages| self.ages.add(ages));
        series.earlier_ages.get(index).into_iter().flatten().for_each(|ages| self.earlier_ages.add(ages));
        let is_count = series.profile.metric.is_count();
        let size = if is_count { most.objects / most.bytes } else { most.bytes / most.objects };
        if most.bytes > 0.0 && size.is_finite() && size > 0.0 {
            let seen = if moments.period > 1.0 { -(-size / moments.period).exp_m1() } else { 1.0 };
            let stands_for = if is_count { 1.0 / seen } else { size / seen };
            self.weight += most.bytes;
            self.variance += most.bytes * stands_for * (1.0 - seen);
            self.samples += most.bytes / stands_for;
        }
    }

    /// Adds what another one holds, of other stacks.
    pub(crate) fn join(&mut self, other: &Track) {
        self.value += other.value;
        self.born += other.born;
        self.bytes.iter_mut().zip(&other.bytes).for_each(|(sum, bytes)| *sum += bytes);
        self.objects.iter_mut().zip(&other.objects).for_each(|(sum, objects)| *sum += objects);
        self.ages.add(&other.ages);
        self.earlier_ages.add(&other.earlier_ages);
        self.holding += other.holding;
        self.members.extend_from_slice(&other.members);
        self.weight += other.weight;
        self.variance += other.variance;
        self.samples += other.samples;
    }

    #[cfg(test)]
    pub(super) fn example(bytes: Vec<f64>, objects: Vec<f64>, grain: f64, per_sample: f64) -> Track {
        let value = Estimate {
            bytes: bytes.last().copied().unwrap_or(0.0),
            objects: objects.last().copied().unwrap_or(0.0),
            ..Estimate::default()
        };
        Track {
            value,
            born: value.bytes,
            bytes,
            objects,
            weight: 1.0,
            variance: grain,
            samples: 1.0 / per_sample,
            ..Track::default()
        }
    }

    /// Variance that a live byte brings to a sum.
    pub(crate) fn grain(&self) -> f64 {
        if self.weight > 0.0 { self.variance / self.weight } else { 0.0 }
    }

    /// Bytes that a sample stands for.
    pub(crate) fn per_sample(&self) -> f64 {
        if self.samples > 0.0 { self.weight / self.samples } else { 1.0 }
    }
}
