//! The call tree as data: what `tree --json` writes. A list, not nested: stacks are deeper than many readers'
//! recursion.
//!
//! The JSON form is a promise like that of `report`.

use super::tree::Tree;
use crate::cli::profile::metric::Metric;
use crate::cli::profile::series::Series;
use serde::Serialize;

/// The tree.
#[derive(Debug, Serialize)]
pub(crate) struct CallTree {
    /// Version of this form.
    pub(crate) schema: u32,
    /// What stands in the place of bytes.
    pub(crate) metric: Metric,
    /// Whether allocations are at the top, and their callers below.
    pub(crate) is_inverted: bool,
    /// All of it.
    pub(crate) bytes: f64,
    /// A node's parent stands before it.
    pub(crate) nodes: Vec<CallNode>,
}

/// One frame on one path.
#[derive(Debug, Serialize)]
pub(crate) struct CallNode {
    /// Position of the node above; `None` at the top.
    pub(crate) parent: Option<usize>,
    /// Its function.
    pub(crate) name: String,
    /// File name of its library, empty for Java.
    pub(crate) library: String,
    /// At and below it.
    pub(crate) bytes: f64,
    /// At it alone.
    pub(crate) own_bytes: f64,
}

impl CallTree {
    /// Branches that hold at least this share of all.
    pub(crate) fn of(series: &Series, is_inverted: bool, least_share: f64) -> CallTree {
        let tree = Tree::of(series);
        let tree = if is_inverted { tree.inverted() } else { tree };
        let totals = tree.totals();
        let all = totals.first().copied().unwrap_or(0.0);
        let mut place = vec![None; tree.nodes.len()];
        let mut nodes = Vec::new();
        for (index, (node, bytes)) in tree.nodes.iter().zip(&totals).enumerate().skip(1) {
            if *bytes < least_share * all {
                continue;
            }
            let function = node.function.and_then(|id| series.profile.function(id));
            if let Some(slot) = place.get_mut(index) {
                *slot = Some(nodes.len());
            }
            nodes.push(CallNode {
                parent: place.get(node.parent as usize).copied().flatten(),
                name: function.map_or_else(String::new, |function| function.name.clone()),
                library: function.map_or_else(String::new, |function| function.library.clone()),
                bytes: *bytes,
                own_bytes: node.own.iter().map(|own| own.bytes).sum(),
            });
        }
        CallTree { schema: 1, metric: series.profile.metric, is_inverted, bytes: all, nodes }
    }
}
