//! What was done to the sampling, in a sentence: nobody should wonder why small places are missing.

use super::units::{bytes, duration};
use crate::cli::analyze::sampling::{Change, Sampling};
use crate::cli::profile::timestamp;

/// The sentences; empty where nothing was done. `now` is when the last dump was written.
pub(crate) fn sentences(sampling: &Sampling, now: f64) -> String {
    let told: Vec<String> = [changes(sampling, now), pauses(sampling, now)].into_iter().flatten().collect();
    told.join(" ")
}

/// `The governor changed the sampling rate 3 times, first at 03:41 UTC, from one sample per 128 KiB to one per 1 MiB.`
fn changes(sampling: &Sampling, now: f64) -> Option<String> {
    let (first, last) = (sampling.changes.first()?, sampling.changes.last()?);
    let is_by = |by_governor| move |change: &Change| change.by_governor == by_governor;
    let who = match (sampling.changes.iter().any(is_by(true)), sampling.changes.iter().any(is_by(false))) {
        (true, false) => "The governor changed the sampling rate",
        (false, _) => "The sampling rate was changed by hand",
        (true, true) => "The sampling rate was changed by the governor and by hand",
    };
    let at = timestamp::clock(first.time, now);
    let when = match sampling.changes.len() {
        1 => format!("at {at}"),
        many => format!("{many} times, first at {at}"),
    };
    if first.from_bytes == Some(last.to_bytes) {
        let coarsest = sampling.changes.iter().map(|change| change.to_bytes).max().unwrap_or(last.to_bytes);
        let (coarsest, again) = (bytes(coarsest as f64), bytes(last.to_bytes as f64));
        return Some(format!(
            "{who} {when}: one sample per {coarsest} at times, one per {again} again; sums hold, small places were \
             seen less often meanwhile."
        ));
    }
    let from = first.from_bytes.map_or(String::new(), |from| format!(" from one sample per {}", bytes(from as f64)));
    let to = bytes(last.to_bytes as f64);
    Some(format!("{who} {when},{from} to one per {to}; sums hold, small places are seen less often."))
}

/// `Sampling was off for 9 min 0 s (since 03:41 UTC, still): what was allocated then is in no report.`
fn pauses(sampling: &Sampling, now: f64) -> Option<String> {
    let (first, last) = (sampling.pauses.first()?, sampling.pauses.last()?);
    let off = duration(sampling.off_seconds(f64::MIN, now));
    let (from, still) = (timestamp::clock(first.from, now), if last.until.is_none() { ", and still is" } else { "" });
    Some(format!("Sampling was off for {off} (first at {from}{still}): what was allocated then is not seen."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::analyze::sampling::Pause;

    #[test]
    fn one_line_says_what_was_done() {
        let time = 1_795_644_000.0;
        let change = |by_governor| Change { time, from_bytes: Some(1 << 17), to_bytes: 1 << 20, by_governor };
        let mut sampling = Sampling { changes: vec![change(true)], ..Sampling::default() };
        assert_eq!(
            sentences(&sampling, time + 60.0),
            "The governor changed the sampling rate at 22:00 UTC, from one sample per 128 KiB to one per 1.00 MiB; \
             sums hold, small places are seen less often."
        );
        sampling.changes.push(change(false));
        assert!(sentences(&sampling, time).contains("by the governor and by hand 2 times, first at 22:00 UTC, from"));
        sampling.changes.push(Change { to_bytes: 1 << 17, ..change(true) });
        let there_and_back =
            "3 times, first at 22:00 UTC: one sample per 1.00 MiB at times, one per 128 KiB again; sums";
        assert!(sentences(&sampling, time).contains(there_and_back), "{}", sentences(&sampling, time));
        let paused = Sampling { pauses: vec![Pause { from: time, until: None }], ..Sampling::default() };
        assert_eq!(
            sentences(&paused, time + 540.0),
            "Sampling was off for 9 min 0 s (first at 22:00 UTC, and still is): what was allocated then is not seen."
        );
        assert_eq!(sentences(&Sampling::default(), time), "");
    }
}
