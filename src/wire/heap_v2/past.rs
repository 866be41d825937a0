//! What call stacks held at the moments at which the keeper looked.

use crate::wire::live::history::{self, Moment};
use crate::wire::live::snapshot::Stack;
use crate::wire::live::totals::Totals;

/// What the records of a stack held at each of the moments, and hold now; `None`: it is not known of one.
pub(super) fn past(stacks: &[&Stack], moments: &[&Moment], now: Totals) -> Option<Vec<Totals>> {
    let mut past = vec![Totals::default(); moments.len()];
    for stack in stacks {
        let row = stack.row.as_deref()?;
        past.iter_mut().zip(moments).for_each(|(sum, moment)| *sum += history::at(row, moment.tick));
    }
    past.push(now);
    Some(past)
}
