//! What a program did not get, in a sentence each.

use super::layout::clean;
use super::units::bytes;
use crate::cli::analyze::refusals::Failed;
use crate::cli::profile::timestamp;

/// `14:02:03 could not start a thread (EAGAIN): pids.max 4096 reached; 3,801 threads, 412 MiB resident; by PoolX.run`.
pub(crate) fn sentence(failed: &Failed) -> String {
    let what = match failed.what {
        "thread" => "could not start a thread".to_owned(),
        "mapping" => format!("could not map {} of memory", bytes(failed.bytes as f64)),
        _ => format!("was refused {} of memory", bytes(failed.bytes as f64)),
    };
    let why = match &failed.limit {
        Some(limit) if limit.is_sure => format!("{} {} reached", limit.name, amount(limit.name, limit.value)),
        Some(limit) => format!("{} is {}, the likely cause", limit.name, amount(limit.name, limit.value)),
        None => "none of the limits that are known was met".to_owned(),
    };
    let state = [
        failed.threads.map(|threads| format!("{threads} threads")),
        failed.mappings.map(|mappings| format!("{mappings} mappings")),
        failed.rss_bytes.map(|resident| format!("{} resident", bytes(resident as f64))),
    ];
    let state: Vec<String> = state.into_iter().flatten().collect();
    let state = if state.is_empty() { String::new() } else { format!(" ({})", state.join(", ")) };
    let place = failed.place.as_ref().map_or(String::new(), |place| format!("; by {}", clean(place)));
    let time = timestamp::display(failed.time);
    if failed.what == "life" {
        return format!("{time} it was last seen, and then killed: {why}{state}");
    }
    format!("{time} it {what} ({}): {why}{state}{place}", error(failed.errno))
}

/// Limits on bytes end in a size, others in a number.
fn amount(name: &str, value: u64) -> String {
    let is_bytes = ["RLIMIT_AS", "memory.max", "the address"].iter().any(|start| name.starts_with(start));
    if is_bytes { bytes(value as f64) } else { value.to_string() }
}

fn error(errno: u16) -> String {
    match i32::from(errno) {
        libc::EAGAIN => "EAGAIN".to_owned(),
        libc::ENOMEM => "ENOMEM".to_owned(),
        other => format!("errno {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::analyze::refusals::Limit;

    #[test]
    fn a_failure_is_one_sentence() {
        let failed = Failed {
            time: 0.0,
            what: "thread",
            errno: 11,
            bytes: 0,
            limit: Some(Limit { name: "pids.max", value: 4096, is_sure: true }),
            threads: Some(3801),
            mappings: None,
            rss_bytes: Some(1 << 20),
            virtual_bytes: None,
            place: Some("PoolX.run".into()),
            frames: vec![],
        };
        let expected = "1970-01-01 00:00:00 UTC it could not start a thread (EAGAIN): pids.max 4096 reached \
                        (3801 threads, 1.00 MiB resident); by PoolX.run";
        assert_eq!(sentence(&failed), expected);
        let killed = Failed {
            what: "life",
            limit: Some(Limit { name: "memory.max of the control group", value: 96 << 20, is_sure: false }),
            place: None,
            ..failed.clone()
        };
        let expected = "1970-01-01 00:00:00 UTC it was last seen, and then killed: memory.max of the control group is \
                        96.0 MiB, the likely cause (3801 threads, 1.00 MiB resident)";
        assert_eq!(sentence(&killed), expected);
        let unknown = Failed { limit: None, place: None, threads: None, rss_bytes: None, ..failed };
        assert!(sentence(&unknown).ends_with("none of the limits that are known was met"));
    }
}
