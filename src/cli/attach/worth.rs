//! What of a process that ended is worth a dump: what helpers of start scripts left is nobody's profile.

use super::discovery::{self, Found};
use super::region;
use crate::wire::claim::Claim;
use crate::wire::live::counters::Counter;
use crate::wire::live::snapshot::Snapshot;

/// By what it left in memory, or beside its dumps.
pub(crate) fn is_worth_a_file(found: &Found) -> bool {
    let Ok(snapshot) = region::snapshot(found) else { return false };
    discovery::claim(found).is_ok_and(|claim| is_worth(&claim, &snapshot))
}

/// The same of what was read already.
pub(crate) fn is_worth(claim: &Claim, snapshot: &Snapshot) -> bool {
    claim.is_worth_a_file(snapshot.is_significant, snapshot.counter(Counter::LiveBytes))
}
