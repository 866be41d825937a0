//! What is mapped beside malloc, in a sentence.

use super::layout::clean;
use super::units::{bytes, count};
use crate::cli::analyze::mapped::{Mapped, MappedPlace};

/// Places that are told.
const TOLD: usize = 3;
/// One that mapped less than this part of all is not.
const SMALL: u64 = 64;

/// `Mapped beside malloc 1.20 GiB (300 MiB resident): 80.0 MiB by Index.open (20 ranges, file, 40.0 MiB resident); …`.
pub(crate) fn sentence(mapped: &Mapped) -> String {
    let resident = |resident: Option<u64>| resident.map(|resident| format!("{} resident", bytes(resident as f64)));
    let is_worth_a_word = |found: &&MappedPlace| found.bytes >= mapped.bytes / SMALL;
    let told = mapped.places.iter().take(TOLD).filter(is_worth_a_word);
    let mut parts: Vec<String> = told.map(|found| place(found, resident)).collect();
    match mapped.places.len() - parts.len() {
        0 => {}
        1 => parts.push("1 more place (--metric mapped)".to_owned()),
        more => parts.push(format!("{more} more places (--metric mapped)")),
    }
    if mapped.jvm_bytes > 0 {
        parts.push(format!("the JVM's own {}", bytes(mapped.jvm_bytes as f64)));
    }
    if mapped.reserved_bytes > 0 {
        parts.push(format!("and {} of addresses only reserved", bytes(mapped.reserved_bytes as f64)));
    }
    if mapped.unrecorded > 0 {
        parts.push(format!("{} mappings not recorded", count(mapped.unrecorded as f64)));
    }
    let of = resident(mapped.resident_bytes).map_or(String::new(), |resident| format!(" ({resident})"));
    format!("Mapped beside malloc {}{of}: {}", bytes(mapped.bytes as f64), parts.join("; "))
}

fn place(found: &MappedPlace, resident: impl Fn(Option<u64>) -> Option<String>) -> String {
    let name = clean(&found.place);
    let resident = resident(found.resident_bytes).map_or(String::new(), |resident| format!(", {resident}"));
    let length = bytes(found.bytes as f64);
    let ranges = count(found.ranges as f64);
    let plural = if found.ranges == 1 { "" } else { "s" };
    match found.what {
        "thread" => format!("stack{plural} of {ranges} thread{plural} ({length}{resident}), started by {name}"),
        what => format!("{length} by {name} ({ranges} range{plural}, {what}{resident})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_and_the_jvms_own_is_a_class() {
        let place = |what, name: &str, ranges| MappedPlace {
            what,
            place: name.into(),
            bytes: ranges << 20,
            resident_bytes: Some(1 << 20),
            ranges,
            ..MappedPlace::default()
        };
        let mapped = Mapped {
            bytes: 2 << 30,
            resident_bytes: None,
            jvm_bytes: 1 << 30,
            places: vec![
                place("thread", "PoolX.run", 310),
                place("file", "Index.open", 100),
                place("file", "Log.open", 1),
            ],
            ..Mapped::default()
        };
        assert_eq!(
            sentence(&mapped),
            "Mapped beside malloc 2.00 GiB: stacks of 310 threads (310 MiB, 1.00 MiB resident), started by PoolX.run; \
             100 MiB by Index.open (100 ranges, file, 1.00 MiB resident); 1 more place (--metric mapped); \
             the JVM's own 1.00 GiB"
        );
    }
}
