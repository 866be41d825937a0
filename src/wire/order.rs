//! Sorting by numbers. The standard library's sort is compiled anew for each type, 3 to 8 KB each time; here it is
//! compiled for two, because the tap shall be small.

/// Sorts by a number; what has the same one stays in its order.
pub(crate) fn by_number<T>(items: &mut Vec<T>, number: impl Fn(&T) -> u64) {
    if items.is_sorted_by_key(&number) {
        return;
    }
    let mut order: Vec<(u64, usize)> = items.iter().map(number).zip(0..).collect();
    order.sort_unstable();
    let mut places: Vec<Option<T>> = items.drain(..).map(Some).collect();
    items.extend(order.into_iter().filter_map(|(_, at)| places.get_mut(at)?.take()));
}

/// The numbers that there are, in order, each once.
pub(crate) fn distinct(numbers: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_stay_in_their_order() {
        let mut state = 7u64;
        for count in [0, 1, 2, 3, 50, 1000] {
            let random = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state >> 60
            };
            let numbers: Vec<u64> = (0..count).map(random).collect();
            let mut items: Vec<(u64, usize)> = numbers.iter().copied().zip(0..).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|(number, _)| *number);
            by_number(&mut items, |(number, _)| *number);
            assert_eq!(items, expected);
            let set: std::collections::BTreeSet<u64> = numbers.iter().copied().collect();
            assert_eq!(distinct(numbers.into_iter()), set.into_iter().collect::<Vec<_>>());
        }
    }
}
