//! The measures of a profile.

use super::history::Past;
use super::sample::Estimate;

/// What stands in the place of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Metric {
    /// Live bytes
    #[default]
    InuseBytes,
    /// Live objects
    InuseCount,
    /// Bytes ever allocated (dumps with prof_accum:true)
    AllocBytes,
    /// Objects ever allocated (dumps with prof_accum:true)
    AllocCount,
    /// Bytes that are mapped (mmap), and the stacks of threads: memory that is not malloc's
    Mapped,
    /// What of that is resident
    Resident,
}

impl Metric {
    /// Whether it counts objects; then objects and bytes have changed places everywhere.
    pub(crate) fn is_count(self) -> bool {
        matches!(self, Metric::InuseCount | Metric::AllocCount)
    }

    /// Whether it is about all that was ever allocated.
    pub(crate) fn is_accumulated(self) -> bool {
        matches!(self, Metric::AllocBytes | Metric::AllocCount)
    }

    /// Whether it is about memory that is not malloc's.
    pub(crate) fn is_mapped(self) -> bool {
        matches!(self, Metric::Mapped | Metric::Resident)
    }

    /// The value by this measure: counted objects and bytes have changed places.
    pub(super) fn of(self, value: Estimate) -> Estimate {
        let (objects, bytes) = match self.is_accumulated() {
            true => (value.accum_objects, value.accum_bytes),
            false => (value.objects, value.bytes),
        };
        match self.is_count() {
            true => Estimate { objects: bytes, bytes: objects, ..value },
            false => Estimate { objects, bytes, ..value },
        }
    }

    /// The same of what was.
    pub(super) fn of_past(self, past: Past) -> Past {
        let live = Estimate { objects: past.live_objects, bytes: past.live_bytes, ..Estimate::default() };
        let both = Estimate { accum_objects: past.allocated_objects, accum_bytes: past.allocated_bytes, ..live };
        let Estimate { objects, bytes, .. } = self.of(both);
        match self.is_count() {
            true => Past {
                live_objects: objects,
                live_bytes: bytes,
                allocated_objects: past.allocated_bytes,
                allocated_bytes: past.allocated_objects,
            },
            false => Past { live_objects: objects, live_bytes: bytes, ..past },
        }
    }
}
