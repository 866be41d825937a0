//! The call tree for people: from the root down, or from the leaf up, only branches that hold enough.

use super::Renderer;
use super::layout::{Layout, clean, cut_middle};
use super::units::{Unit, share};
use crate::cli::analyze::tree::Tree;
use crate::cli::profile::series::Series;
use std::io::{self, Write};

/// How to lay the tree out.
#[derive(Clone, Debug)]
pub(crate) struct TreeText {
    /// The page.
    pub(crate) layout: Layout,
    /// Branches below this share of all bytes are left out.
    pub(crate) least_share: f64,
    /// Leaves at the top, their callers below.
    pub(crate) is_inverted: bool,
}

impl Renderer<Series> for TreeText {
    fn render(&self, series: &Series, out: &mut dyn Write) -> io::Result<()> {
        let mut tree = Tree::of(series);
        if self.is_inverted {
            tree = tree.inverted();
        }
        let unit = Unit::of(series.profile.metric);
        let state = if series.profile.metric.is_accumulated() { "ever allocated" } else { "live" };
        let totals = tree.totals();
        let all = totals.first().copied().unwrap_or(0.0);
        writeln!(out, "{}", self.layout.bold(&format!("{} {state}", unit.named(all))))?;
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); tree.nodes.len()];
        for (index, node) in tree.nodes.iter().enumerate().skip(1) {
            if let Some(list) = children.get_mut(node.parent as usize) {
                list.push(index);
            }
        }
        let by_size = |a: &usize, b: &usize| totals[*b].total_cmp(&totals[*a]).then(a.cmp(b));
        children.iter_mut().for_each(|list| list.sort_by(by_size));
        // A frame that has one branch only does not move its callee to the right; where there are
        // several, each begins with a mark.
        let roots = children.first().into_iter().flatten().rev();
        let mut open: Vec<(usize, usize, bool)> = roots.map(|&node| (node, 1, true)).collect();
        while let Some((node, depth, is_branch)) = open.pop() {
            if totals[node] < self.least_share * all {
                continue;
            }
            let function = tree.nodes[node].function.and_then(|id| series.profile.function(id));
            let name = function.map_or("all", |function| function.name.as_str());
            let margin = "  ".repeat(depth.min(24).saturating_sub(1)) + if is_branch { "+ " } else { "  " };
            let figures = format!("{:>9} {:>7}  {margin}", unit.amount(totals[node]), share(totals[node] / all));
            let room = self.layout.width.saturating_sub(figures.chars().count()).max(24);
            writeln!(out, "{figures}{}", cut_middle(&clean(name), room))?;
            let big = children[node].iter().filter(|&&child| totals[child] >= self.least_share * all).count();
            let deeper = if big > 1 { depth + 1 } else { depth };
            open.extend(children[node].iter().rev().map(|&child| (child, deeper, big > 1)));
        }
        Ok(())
    }
}
