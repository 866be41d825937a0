//! The arguments that say how a profile is looked at: rows and measure.

use crate::cli::analyze::groups::{By, Rows};
use crate::cli::profile::metric::Metric;

/// Rows and measure.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct View {
    /// What a row is
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub(crate) by: By,

    /// With --by stack: so many frames from the allocation on make a row
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) depth: Option<u16>,

    /// What is measured
    #[arg(long, value_enum, default_value_t, value_name = "METRIC")]
    pub(crate) metric: Metric,
}

impl View {
    /// What makes stacks one row.
    pub(super) fn rows(&self) -> Rows {
        // A number of frames means stacks.
        let by = if self.depth.is_some() && self.by == By::Site { By::Stack } else { self.by };
        Rows { by, depth: self.depth.map(usize::from) }
    }

    /// Whether rows are threads.
    pub(super) fn is_by_thread(&self) -> bool {
        self.by == By::Thread
    }
}
