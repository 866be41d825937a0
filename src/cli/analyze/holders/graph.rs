//! Who points to whom, as far as a search of a process's memory found out, and what follows from it.
//!
//! Nodes are blocks; an edge says that a word in one block, or in a root, points into another. What a search drops
//! (too many pointers to a block, too long a chain, words in freed memory or dead stack) is kept as a *doubt* of the
//! block that could be held by it. A block that no root reaches is lost only if no doubt can reach it either.

use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Pointers to one block that are kept, from different holders.
const MOST_EDGES: usize = 48;

/// What a block is held by in the end: memory that is no block.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Root {
    /// A variable of a program or library that lives as long as that: its address.
    Global(u64),
    /// What a living thread has on its stack, or in its thread-local memory: its id.
    Stack(u32),
    /// The Java heap: the address of the word.
    JavaHeap(u64),
    /// Other memory of the Java VM, in words.
    Jvm(&'static str),
    /// A mapping that is no allocator's that is known: where it begins.
    Mapping(u64),
    /// What the kernel keeps for the program, in words: `epoll descriptor 7`.
    Kernel(String),
}

impl Root {
    /// What lasts says more than what a thread has in hands just now.
    fn rank(&self) -> u8 {
        match self {
            Root::Global(_) | Root::JavaHeap(_) | Root::Kernel(_) => 0,
            Root::Jvm(_) | Root::Mapping(_) | Root::Stack(_) => 1,
        }
    }
}

/// Why it cannot be said that a block is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Doubt {
    /// The chain goes on, and was not followed further.
    Deep,
    /// More pointers lead to it than were kept.
    Many,
    /// The only words that point to it lie in a thread's stack below what it uses, or where that is not known.
    DeadStack,
    /// The only words that point to it lie in freed memory.
    Freed,
    /// A part of the memory could not be read.
    Unread,
    /// It is too young: what was just allocated may be on its way from one place to another.
    Young,
    /// A register of a thread may have it, and nobody looked.
    Registers,
    /// A word in the Java heap points to it, and no object that has it was found.
    JavaWord,
    /// Only a number that somebody noted, and that no root reaches, points to it.
    JavaNote,
    /// Only a Java object that no root reaches has it, and nothing is known that frees it with that.
    JavaDropped,
    /// A Java object has it, and the way from a root to that was not found out.
    JavaWay,
}

/// Number of a node.
pub(crate) type NodeId = u32;

/// A block.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// First address.
    pub(crate) start: u64,
    /// Last address that counts as its own.
    pub(crate) last: u64,
    /// Size, bytes.
    pub(crate) bytes: u64,
    /// Number of its sample, where it is sampled.
    pub(crate) sample: Option<usize>,
    /// Blocks with a word that points to it, with that word's place in them.
    from: Vec<(NodeId, u64)>,
    roots: Vec<Root>,
    doubts: Vec<Doubt>,
    /// It is the allocator's own: what it points to is not held by it.
    is_disowned: bool,
}

/// What became of the search for one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A root holds it, through these blocks: the root's first, the block itself is not among them. With each the place
    /// of the pointer in it.
    Held(Root, Vec<(NodeId, u64)>),
    /// No root does. `true`: other blocks that are lost as well point to it.
    Lost(bool),
    /// That cannot be said.
    CannotTell(Doubt),
}

/// Blocks and who points to them.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    by_start: FxHashMap<u64, NodeId>,
}

impl Graph {
    /// The block that begins at an address, added if it was not there. `true`: it was not.
    pub(crate) fn node(&mut self, start: u64, last: u64, bytes: u64, sample: Option<usize>) -> (NodeId, bool) {
        let next = NodeId::try_from(self.nodes.len()).unwrap_or(NodeId::MAX);
        let id = *self.by_start.entry(start).or_insert(next);
        if id == next {
            self.nodes.push(Node {
                start,
                last,
                bytes,
                sample,
                from: Vec::new(),
                roots: Vec::new(),
                doubts: Vec::new(),
                is_disowned: false,
            });
        }
        (id, id == next)
    }

    /// A block.
    pub(crate) fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id as usize)
    }

    /// The block that begins at an address.
    pub(crate) fn at(&self, start: u64) -> Option<NodeId> {
        self.by_start.get(&start).copied()
    }

    /// How many blocks there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Notes that a word at `offset` in a block points to another. `true`: that was not known.
    pub(crate) fn add_edge(&mut self, to: NodeId, from: NodeId, offset: u64) -> bool {
        let Some(node) = self.nodes.get_mut(to as usize).filter(|_| to != from) else { return false };
        if node.from.iter().any(|(known, _)| *known == from) {
            return false;
        }
        if node.from.len() >= MOST_EDGES {
            add(&mut node.doubts, Doubt::Many);
            return false;
        }
        node.from.push((from, offset));
        true
    }

    /// Notes that a root holds a block.
    pub(crate) fn add_root(&mut self, to: NodeId, root: Root) {
        let Some(node) = self.nodes.get_mut(to as usize) else { return };
        let has_rank = node.roots.iter().filter(|known| known.rank() <= root.rank()).count();
        // Of each rank the first few say enough: that it is held is certain.
        if has_rank < MOST_EDGES {
            add(&mut node.roots, root);
        }
    }

    /// Whether nothing more that points to a block would change what is said of it.
    pub(crate) fn is_full(&self, id: NodeId) -> bool {
        let is_full = |node: &Node| node.from.len() >= MOST_EDGES && node.doubts.contains(&Doubt::Many);
        self.get(id).is_none_or(|node| is_full(node) && node.roots.iter().any(|root| root.rank() == 0))
    }

    /// Notes what speaks against calling a block lost.
    pub(crate) fn add_doubt(&mut self, to: NodeId, doubt: Doubt) {
        if let Some(node) = self.nodes.get_mut(to as usize) {
            add(&mut node.doubts, doubt);
        }
    }

    /// Takes a doubt back that was about the search, which has gone on.
    pub(crate) fn clear_doubt(&mut self, to: NodeId, doubt: Doubt) {
        if let Some(node) = self.nodes.get_mut(to as usize) {
            node.doubts.retain(|known| *known != doubt);
        }
    }

    /// Notes that a block holds nothing: it is the allocator's own.
    pub(crate) fn disown(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(id as usize) {
            node.is_disowned = true;
        }
    }

    /// What became of a block.
    pub(crate) fn fate(&self, target: NodeId) -> Fate {
        let (order, next) = self.reached(target);
        let mut best: Option<(u8, usize, NodeId, &Root)> = None;
        for (distance, id) in order.iter().enumerate() {
            for root in self.get(*id).into_iter().flat_map(|node| &node.roots) {
                let found = (root.rank(), distance, *id, root);
                if best.as_ref().is_none_or(|best| (found.0, found.1) < (best.0, best.1)) {
                    best = Some(found);
                }
            }
        }
        if let Some((_, _, first, root)) = best {
            return Fate::Held(root.clone(), path(first, target, &next));
        }
        let doubts = order.iter().filter_map(|id| self.get(*id)?.doubts.iter().min().copied());
        match doubts.min() {
            Some(doubt) => Fate::CannotTell(doubt),
            None => Fate::Lost(order.len() > 1),
        }
    }

    /// Whether the search for a block's holder is over: something that lasts holds it, or anything at all if so much is
    /// enough.
    pub(crate) fn is_settled(&self, target: NodeId, by_any: bool) -> bool {
        let (order, _) = self.reached(target);
        let settles = |root: &Root| by_any || root.rank() == 0;
        order.iter().filter_map(|id| self.get(*id)).any(|node| node.roots.iter().any(settles))
    }

    /// All blocks that hold a block, itself first, nearest first.
    pub(crate) fn holders_of(&self, target: NodeId) -> Vec<NodeId> {
        self.reached(target).0
    }

    /// The blocks from a holder of a block, which is one of them, to the block, which is not; with each the place of
    /// the pointer in it.
    pub(crate) fn path_from(&self, holder: NodeId, target: NodeId) -> Vec<(NodeId, u64)> {
        path(holder, target, &self.reached(target).1)
    }

    /// The blocks that lead to one, in the order of their distance, and for each the next one on the way.
    fn reached(&self, target: NodeId) -> (Vec<NodeId>, FxHashMap<NodeId, (NodeId, u64)>) {
        let mut next: FxHashMap<NodeId, (NodeId, u64)> = FxHashMap::default();
        let (mut order, mut queue) = (vec![target], VecDeque::from([target]));
        while let Some(id) = queue.pop_front() {
            for (from, offset) in self.get(id).into_iter().flat_map(|node| &node.from) {
                let is_own = self.get(*from).is_none_or(|node| node.is_disowned);
                if !is_own && *from != target && !next.contains_key(from) {
                    next.insert(*from, (id, *offset));
                    order.push(*from);
                    queue.push_back(*from);
                }
            }
        }
        (order, next)
    }
}

/// The blocks from the one that the root holds to the target's holder.
fn path(first: NodeId, target: NodeId, next: &FxHashMap<NodeId, (NodeId, u64)>) -> Vec<(NodeId, u64)> {
    let (mut at, mut path) = (first, Vec::new());
    while let Some((following, offset)) = next.get(&at).filter(|_| at != target) {
        path.push((at, *offset));
        at = *following;
    }
    path
}

fn add<T: PartialEq>(all: &mut Vec<T>, one: T) {
    if !all.contains(&one) {
        all.push(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of 16 bytes at 100, 200, …
    fn blocks(count: u64) -> Graph {
        let mut graph = Graph::default();
        (1..=count).for_each(|n| _ = graph.node(n * 100, n * 100 + 15, 16, None));
        graph
    }

    #[test]
    fn what_nothing_points_to_is_lost_and_so_is_a_circle() {
        let mut graph = blocks(3);
        assert_eq!(graph.fate(0), Fate::Lost(false));
        assert!(graph.add_edge(0, 1, 8) && !graph.add_edge(0, 1, 8) && !graph.add_edge(0, 0, 8));
        graph.add_edge(1, 2, 0);
        graph.add_edge(2, 0, 0);
        assert_eq!(graph.fate(0), Fate::Lost(true));
        assert_eq!(graph.holders_of(0), [0, 1, 2]);
    }

    #[test]
    fn a_root_that_lasts_is_named_before_a_nearer_stack() {
        let mut graph = blocks(3);
        graph.add_root(0, Root::Stack(7));
        assert_eq!((graph.fate(0), graph.is_settled(0, false)), (Fate::Held(Root::Stack(7), vec![]), false));
        graph.add_edge(0, 1, 8);
        graph.add_edge(1, 2, 24);
        graph.add_root(2, Root::Global(9));
        assert_eq!(
            (graph.fate(0), graph.is_settled(0, false)),
            (Fate::Held(Root::Global(9), vec![(2, 24), (1, 8)]), true)
        );
    }

    #[test]
    fn a_doubt_about_any_holder_is_one_about_the_block_unless_a_root_holds_it() {
        let mut graph = blocks(2);
        graph.add_edge(0, 1, 8);
        graph.add_doubt(1, Doubt::Deep);
        assert_eq!(graph.fate(0), Fate::CannotTell(Doubt::Deep));
        graph.clear_doubt(1, Doubt::Deep);
        graph.add_doubt(0, Doubt::Freed);
        assert_eq!(graph.fate(0), Fate::CannotTell(Doubt::Freed));
        graph.add_root(1, Root::JavaHeap(5));
        assert_eq!(graph.fate(0), Fate::Held(Root::JavaHeap(5), vec![(1, 8)]));
    }

    #[test]
    fn what_is_the_allocators_holds_nothing() {
        let mut graph = blocks(2);
        graph.add_edge(0, 1, 8);
        graph.add_root(1, Root::Mapping(9));
        graph.disown(1);
        assert_eq!(graph.fate(0), Fate::Lost(false));
    }

    #[test]
    fn pointers_that_are_not_kept_are_a_doubt() {
        let mut graph = blocks(MOST_EDGES as u64 + 2);
        (1..=MOST_EDGES as u32 + 1).for_each(|from| _ = graph.add_edge(0, from, 0));
        assert_eq!(graph.fate(0), Fate::CannotTell(Doubt::Many));
    }
}
