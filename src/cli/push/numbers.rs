//! Tells lives apart that have the same labels: workers of one server, copies of one program.
//!
//! An engine files all of them in one series, and adds up what lies in one step of a picture. So each has a number, the
//! smallest that is free when its first profile is read, until its end: there are no more series than such lives at a
//! time, and none is new with each start, as with a pid.

use super::lives::Key;
use crate::cli::render::exposition::Labels;
use std::collections::BTreeMap;

/// Who has which number, by labels.
#[derive(Debug, Default)]
pub(super) struct Numbers(BTreeMap<Labels, Vec<Option<Key>>>);

impl Numbers {
    /// The number of a life among those with its labels, from 1.
    pub(super) fn of(&mut self, labels: &Labels, key: Key) -> usize {
        let places = self.0.entry(labels.clone()).or_default();
        let own = places.iter().position(|place| *place == Some(key));
        let at = own.or_else(|| places.iter().position(Option::is_none)).unwrap_or(places.len());
        match places.get_mut(at) {
            Some(place) => *place = Some(key),
            None => places.push(Some(key)),
        }
        at + 1
    }

    /// Takes a life's number back: it has ended.
    pub(super) fn free(&mut self, key: Key) {
        self.0.retain(|_, places| {
            places.iter_mut().filter(|place| **place == Some(key)).for_each(|place| *place = None);
            places.iter().any(Option::is_some)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_kept_until_the_end_and_given_again() {
        let of = |service: &str| vec![("service_name".to_owned(), service.to_owned())];
        let mut numbers = Numbers::default();
        let (shop, other) = (of("shop"), of("other"));
        assert_eq!([numbers.of(&shop, (0, 1)), numbers.of(&shop, (0, 2)), numbers.of(&shop, (1, 2))], [1, 2, 3]);
        assert_eq!(numbers.of(&other, (0, 9)), 1);
        numbers.free((0, 1));
        assert_eq!((numbers.of(&shop, (0, 2)), numbers.of(&shop, (1, 2))), (2, 3));
        assert_eq!((numbers.of(&shop, (0, 4)), numbers.of(&shop, (0, 5))), (1, 4));
        [(0, 2), (1, 2), (0, 4), (0, 5), (0, 9)].into_iter().for_each(|key| numbers.free(key));
        assert!(numbers.0.is_empty());
    }
}
