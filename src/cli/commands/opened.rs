//! What a command's input became: a series with names.

use crate::cli::profile::series::Series;
use crate::cli::symbolize::Module;

/// A series that can be analysed.
pub(crate) struct Opened {
    /// Named.
    pub(crate) series: Series,
    /// Where the names came from.
    pub(crate) modules: Vec<Module>,
}

impl Opened {
    /// All processes as one.
    pub(super) fn sum(named: impl Iterator<Item = Opened>) -> Opened {
        let (series, modules): (Vec<Series>, Vec<Vec<Module>>) =
            named.map(|opened| (opened.series, opened.modules)).unzip();
        Opened { series: Series::sum_of(&series), modules: modules.into_iter().flatten().collect() }
    }
}
