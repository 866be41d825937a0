//! The series that tests of this floor read: dumps of `tests/dumps/shop`.

use crate::cli::profile::heap_v2;
use crate::cli::profile::series::{Series, SeriesBuilder};
use crate::cli::symbolize;

const DUMPS: [(&str, &str); 3] = [
    ("shop.4711.0.i0.heap", include_str!("../../../tests/dumps/shop/shop.4711.0.i0.heap")),
    ("shop.4711.1.i1.heap", include_str!("../../../tests/dumps/shop/shop.4711.1.i1.heap")),
    ("shop.4711.2.f.heap", include_str!("../../../tests/dumps/shop/shop.4711.2.f.heap")),
];

/// Those of these numbers, named.
pub(super) fn series(numbers: &[usize]) -> Series {
    let mut builder = SeriesBuilder::default();
    for (name, text) in numbers.iter().map(|number| DUMPS[*number]) {
        builder.add(name.into(), None, heap_v2::parse(text.as_bytes()).unwrap());
    }
    let mut series = builder.finish();
    symbolize::symbolize(&mut series.profile, &symbolize::Options::default(), &mut |_, _| {});
    series
}
