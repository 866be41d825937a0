//! The call tree: every visible frame once per path from the root, with what stops there.
//!
//! Nodes hold only their *own* bytes (of stacks that end there), by thread and for the first dump
//! of the series; sums over subtrees are made where they are shown, for the thread and the state
//! chosen there. A node's parent stands before it.

use super::frames::Kinds;
use crate::cli::profile::location::FunctionId;
use crate::cli::profile::sample::Sample;
use crate::cli::profile::series::Series;
use rustc_hash::FxHashMap;

/// One frame on one path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Its caller's index; the root is its own parent.
    pub(crate) parent: u32,
    /// Its function; `None` for the root.
    pub(crate) function: Option<FunctionId>,
    /// What stops here: per thread.
    pub(crate) own: Vec<Own>,
    /// Live bytes of the first dump that stop here.
    pub(crate) first_bytes: f64,
}

/// What a thread holds at a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Own {
    /// Index in `Tree::threads`; 0 is "no thread known".
    pub(crate) thread: u32,
    /// Live bytes.
    pub(crate) bytes: f64,
    /// Live objects.
    pub(crate) objects: f64,
}

/// The tree of a series' last dump.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// Root first.
    pub(crate) nodes: Vec<Node>,
    /// Names of threads; the first is for bytes whose thread is unknown.
    pub(crate) threads: Vec<String>,
}

impl Tree {
    /// Builds the tree. Stacks that hold nothing in the first and the last dump are left out.
    pub(crate) fn of(series: &Series) -> Tree {
        Tree::of_those(series, |sample, first| sample.value.bytes >= 0.5 || first >= 0.5).0
    }

    /// The tree of the stacks that are wanted (by what they hold in the last and in the first dump), and the node at
    /// which each stack of the series ends.
    pub(super) fn of_those(series: &Series, is_wanted: impl Fn(&Sample, f64) -> bool) -> (Tree, Vec<Option<u32>>) {
        let mut builder = Builder::new(series);
        let mut leaves = vec![None; series.profile.samples.len()];
        for (index, sample) in series.profile.samples.iter().enumerate() {
            let history = series.history.get(index).map_or(&[][..], Vec::as_slice);
            let first = history.iter().find(|(dump, _)| *dump == 0).map_or(0.0, |(_, value)| value.bytes);
            if is_wanted(sample, first) {
                let leaf = builder.path(series, sample);
                builder.add(leaf, sample, first);
                leaves[index] = Some(leaf);
            }
        }
        (Tree { nodes: builder.nodes, threads: builder.threads }, leaves)
    }

    /// Live bytes below and at each node.
    pub(crate) fn totals(&self) -> Vec<f64> {
        let own = |node: &Node| node.own.iter().map(|own| own.bytes).sum::<f64>();
        self.sums(own)
    }

    /// Bytes of the first dump below and at each node.
    pub(crate) fn first_totals(&self) -> Vec<f64> {
        self.sums(|node| node.first_bytes)
    }

    fn sums(&self, own: impl Fn(&Node) -> f64) -> Vec<f64> {
        let mut sums: Vec<f64> = self.nodes.iter().map(own).collect();
        for index in (1..sums.len()).rev() {
            let (value, parent) = (sums[index], self.nodes[index].parent as usize);
            sums[parent] += value;
        }
        sums
    }

    /// The same bytes from the other end: leaves below the root, callers below them.
    pub(crate) fn inverted(&self) -> Tree {
        let root = Node { parent: 0, function: None, own: Vec::new(), first_bytes: 0.0 };
        let mut nodes = vec![root];
        let mut children: FxHashMap<(u32, FunctionId), u32> = FxHashMap::default();
        for leaf in self.nodes.iter().filter(|node| !node.own.is_empty() || node.first_bytes > 0.0) {
            let mut at = 0;
            let mut from = Some(leaf);
            while let Some((node, function)) = from.and_then(|node| Some((node, node.function?))) {
                at = *children.entry((at, function)).or_insert_with(|| {
                    nodes.push(Node { parent: at, function: Some(function), own: Vec::new(), first_bytes: 0.0 });
                    u32::try_from(nodes.len() - 1).unwrap_or(u32::MAX)
                });
                from = self.nodes.get(node.parent as usize);
            }
            if let Some(end) = nodes.get_mut(at as usize) {
                end.first_bytes += leaf.first_bytes;
                leaf.own.iter().for_each(|own| add_own(&mut end.own, *own));
            }
        }
        Tree { nodes, threads: self.threads.clone() }
    }

    /// Gives the bytes of small subtrees to their callers until at most `limit` nodes are left.
    /// Sums at the nodes that stay do not change.
    pub(crate) fn prune(&mut self, limit: usize) {
        let (last, first) = (self.totals(), self.first_totals());
        let weights: Vec<f64> = last.iter().zip(&first).map(|(last, first)| last.max(*first)).collect();
        self.prune_by(&weights, limit);
    }

    /// The same by other weights, which are never more than the caller's. Returns where each node's bytes are now.
    pub(super) fn prune_by(&mut self, weights: &[f64], limit: usize) -> Vec<u32> {
        if self.nodes.len() <= limit {
            return (0..).take(self.nodes.len()).collect();
        }
        let mut sorted = weights.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let bound = sorted.get(limit).copied().unwrap_or(0.0);
        let mut place: Vec<u32> = Vec::with_capacity(self.nodes.len());
        let mut kept: Vec<Node> = Vec::new();
        for (index, node) in std::mem::take(&mut self.nodes).into_iter().enumerate() {
            let parent = if index == 0 { 0 } else { place[node.parent as usize] };
            if index == 0 || (weights[index] > bound && kept.len() < limit) {
                place.push(u32::try_from(kept.len()).unwrap_or(u32::MAX));
                kept.push(Node { parent, ..node });
                continue;
            }
            place.push(parent);
            if let Some(caller) = kept.get_mut(parent as usize) {
                caller.first_bytes += node.first_bytes;
                node.own.into_iter().for_each(|own| add_own(&mut caller.own, own));
            }
        }
        self.nodes = kept;
        place
    }
}

/// Builds paths.
struct Builder {
    nodes: Vec<Node>,
    children: FxHashMap<(u32, FunctionId), u32>,
    kinds: Kinds,
    threads: Vec<String>,
    thread_of: FxHashMap<u64, u32>,
}

impl Builder {
    fn new(series: &Series) -> Builder {
        let mut threads = vec!["unknown".to_owned()];
        let mut thread_of = FxHashMap::default();
        for thread in &series.profile.threads {
            let name = thread.name.clone().unwrap_or_else(|| format!("t{}", thread.uid));
            // Threads of one name (a pool's, restarted) are one entry to choose.
            let known = threads.iter().position(|known| *known == name);
            let index = known.unwrap_or_else(|| {
                threads.push(name);
                threads.len() - 1
            });
            thread_of.insert(thread.uid, u32::try_from(index).unwrap_or(0));
        }
        let root = Node { parent: 0, function: None, own: Vec::new(), first_bytes: 0.0 };
        Builder {
            nodes: vec![root],
            children: FxHashMap::default(),
            kinds: Kinds::of(&series.profile),
            threads,
            thread_of,
        }
    }

    /// The node of a stack's leaf.
    fn path(&mut self, series: &Series, sample: &Sample) -> u32 {
        let mut at = 0;
        for line in self.kinds.visible(&series.profile, sample).iter().rev() {
            let nodes = &mut self.nodes;
            at = *self.children.entry((at, line.function)).or_insert_with(|| {
                nodes.push(Node { parent: at, function: Some(line.function), own: Vec::new(), first_bytes: 0.0 });
                u32::try_from(nodes.len() - 1).unwrap_or(u32::MAX)
            });
        }
        at
    }

    /// Adds a stack's value to its leaf, split by the shares that its thread lines have.
    fn add(&mut self, leaf: u32, sample: &Sample, first: f64) {
        let Some(node) = self.nodes.get_mut(leaf as usize) else { return };
        node.first_bytes += first;
        let estimates: Vec<(u32, f64)> = sample
            .threads
            .iter()
            .map(|thread| {
                let value = thread.value;
                (self.thread_of.get(&thread.uid).copied().unwrap_or(0), value.bytes)
            })
            .collect();
        let sum: f64 = estimates.iter().map(|(_, bytes)| bytes).sum();
        let value = sample.value;
        if sum < 0.5 {
            return add_own(&mut node.own, Own { thread: 0, bytes: value.bytes, objects: value.objects });
        }
        for (thread, bytes) in estimates {
            let share = bytes / sum;
            add_own(&mut node.own, Own { thread, bytes: value.bytes * share, objects: value.objects * share });
        }
    }
}

fn add_own(all: &mut Vec<Own>, own: Own) {
    match all.iter_mut().find(|known| known.thread == own.thread) {
        Some(known) => {
            known.bytes += own.bytes;
            known.objects += own.objects;
        }
        None => all.push(own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::analyze::shop;

    fn series() -> Series {
        shop::series(&[0, 2])
    }

    #[test]
    fn the_root_holds_all_bytes_of_both_dumps() {
        let series = series();
        let tree = Tree::of(&series);
        assert!((tree.totals()[0] - series.dumps[1].total.bytes).abs() < 1e-3);
        assert!((tree.first_totals()[0] - series.dumps[0].total.bytes).abs() < 1e-3);
        assert_eq!(tree.threads, ["unknown", "main", "http-worker-1"]);
        assert!(tree.nodes.iter().enumerate().skip(1).all(|(index, node)| (node.parent as usize) < index));
    }

    #[test]
    fn the_inverted_tree_holds_the_same_bytes_and_begins_with_leaves() {
        let series = series();
        let (tree, inverted) = (Tree::of(&series), Tree::of(&series).inverted());
        assert!((tree.totals()[0] - inverted.totals()[0]).abs() < 1e-3);
        assert!((tree.first_totals()[0] - inverted.first_totals()[0]).abs() < 1e-3);
        let first = inverted.nodes[1].function.and_then(|id| series.profile.function(id)).unwrap();
        assert_eq!(first.library, "libz.so.1.2.13");
    }

    #[test]
    fn pruning_keeps_all_bytes() {
        let series = series();
        let mut tree = Tree::of(&series);
        let before = (tree.totals()[0], tree.first_totals()[0]);
        tree.prune(5);
        assert!(tree.nodes.len() <= 5);
        assert!((tree.totals()[0] - before.0).abs() < 1e-3 && (tree.first_totals()[0] - before.1).abs() < 1e-3);
    }
}
