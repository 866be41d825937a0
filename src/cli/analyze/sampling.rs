//! What was done to the sampling while the process ran: changes of the rate, and times without any.
//!
//! Sums stay exact whatever the rate is; with a longer period small places are seen less. What was allocated while
//! sampling was off is in no report, so such a time acquits nothing.

use crate::cli::profile::history::{EventKind, History};
use serde::Serialize;

/// What was done to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Sampling {
    /// Changes of the rate, oldest first.
    pub(crate) changes: Vec<Change>,
    /// Times without sampling, oldest first.
    pub(crate) pauses: Vec<Pause>,
}

/// A change of the rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Change {
    /// Seconds since 1970.
    pub(crate) time: f64,
    /// Mean distance of samples before, if it is known.
    pub(crate) from_bytes: Option<u64>,
    /// Mean distance of samples since.
    pub(crate) to_bytes: u64,
    /// Whether the governor did it, rather than somebody by hand.
    pub(crate) by_governor: bool,
}

/// A time without sampling.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Pause {
    /// Seconds since 1970.
    pub(crate) from: f64,
    /// The same; `None`: it is off still.
    pub(crate) until: Option<f64>,
}

impl Sampling {
    /// As the history tells it.
    pub(crate) fn of(history: &History) -> Sampling {
        let mut sampling = Sampling::default();
        let mut period = history.timeline.first().map(|moment| moment.period_bytes);
        for event in &history.events {
            let time = event.wall_ns as f64 / 1e9;
            match event.kind {
                EventKind::Governor | EventKind::Rate => {
                    let by_governor = event.kind == EventKind::Governor;
                    let from_bytes = period.replace(event.value);
                    if from_bytes != Some(event.value) {
                        sampling.changes.push(Change { time, from_bytes, to_bytes: event.value, by_governor });
                    }
                }
                EventKind::SamplingStopped => sampling.pauses.push(Pause { from: time, until: None }),
                EventKind::SamplingStarted => {
                    period = Some(event.value);
                    let open = sampling.pauses.last_mut().filter(|pause| pause.until.is_none());
                    open.into_iter().for_each(|pause| pause.until = Some(time));
                }
                _ => {}
            }
        }
        sampling
    }

    /// For how long it was off between two moments, seconds.
    pub(crate) fn off_seconds(&self, from: f64, until: f64) -> f64 {
        let inside = |pause: &Pause| pause.until.unwrap_or(until).min(until) - pause.from.max(from);
        self.pauses.iter().map(|pause| inside(pause).max(0.0)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::history::{Checkpoint, Event};

    #[test]
    fn changes_and_pauses_in_order() {
        let event = |second: u64, kind, value| Event { wall_ns: second * 1_000_000_000, kind, value };
        let events = vec![
            event(1, EventKind::SamplingStarted, 1 << 17),
            event(5, EventKind::Governor, 1 << 19),
            event(6, EventKind::Dump, 1),
            event(9, EventKind::SamplingStopped, 0),
            event(12, EventKind::SamplingStarted, 1 << 19),
            event(13, EventKind::Rate, 1 << 19),
            event(14, EventKind::Rate, 1 << 12),
            event(20, EventKind::SamplingStopped, 0),
        ];
        let timeline = vec![Checkpoint { period_bytes: 1 << 17, ..Checkpoint::default() }];
        let sampling = Sampling::of(&History { events, timeline, ..History::default() });
        let change = |time, from, to, by_governor| Change { time, from_bytes: Some(from), to_bytes: to, by_governor };
        assert_eq!(sampling.changes, [change(5.0, 1 << 17, 1 << 19, true), change(14.0, 1 << 19, 1 << 12, false)]);
        let pause = |from, until| Pause { from, until };
        assert_eq!(sampling.pauses, [pause(9.0, Some(12.0)), pause(20.0, None)]);
        assert_eq!((sampling.off_seconds(0.0, 30.0), sampling.off_seconds(10.0, 11.0)), (13.0, 1.0));
        assert_eq!(sampling.off_seconds(13.0, 19.0), 0.0);
    }
}
