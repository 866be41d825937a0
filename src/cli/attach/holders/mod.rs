//! Who holds blocks of a living process: a search of its memory from outside, while it runs.
//!
//! A pass over the memory finds the words that point into the blocks, the next one those that point into the blocks in
//! which these words lie, and so on, until something holds them that is no block. Sampled blocks are known by the
//! region, others of the embedded jemalloc by its own tree (`jemalloc`). What is found lost is looked for again, later
//! and at every byte: a pointer that moves while a pass goes by may be missed by one pass, hardly by several.

mod glibc;
mod ground;
mod jemalloc;
mod lies;
mod scan;
mod targets;
mod tasks;

use super::discovery::Found;
use super::peer_memory::PeerMemory;
use super::region;
use crate::cli::analyze::holders::graph::{Doubt, Fate, Graph, NodeId, Root};
use crate::cli::open;
use crate::wire::live::mapped::MappingKind;
use crate::wire::live::snapshot::Snapshot;
use crate::wire::liveness;
use crate::wire::resident::known::Owner;
use anyhow::{Context, Result};
use glibc::Glibc;
use ground::{Ground, Kind};
use jemalloc::Jemalloc;
use lies::Lies;
use rustc_hash::{FxHashMap, FxHashSet};
use scan::{How, Pointer};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};
use targets::Targets;
use tasks::{RED_ZONE, Task};

/// Blocks that are remembered.
const MOST_BLOCKS: usize = 200_000;
/// Blocks that are looked for in one pass.
const MOST_WANTED: usize = 60_000;
/// Links of a chain beyond which only what nobody holds yet is followed.
const ENOUGH: usize = 4;
/// Rounds in which what seems lost is looked for again, and the time before each.
const ROUNDS: usize = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// What is younger may be on its way, nanoseconds.
const YOUNG_NS: u64 = 2_000_000_000;
/// The name of the tap's own thread.
const KEEPER: &str = "heaptap";

/// What a search found.
pub(crate) struct Holders {
    /// Who points to whom.
    pub(crate) graph: Graph,
    /// The blocks that were asked for.
    pub(crate) targets: Vec<NodeId>,
    /// What became of each of them; `None`: it was freed meanwhile.
    pub(crate) fates: Vec<Option<Fate>>,
    /// Names of the threads.
    pub(crate) threads: FxHashMap<u32, String>,
    /// Threads whose registers nobody saw.
    pub(crate) unseen_registers: usize,
    /// Bytes read, in all passes.
    pub(crate) bytes: u64,
    /// Passes.
    pub(crate) passes: usize,
    /// How long they took.
    pub(crate) time: Duration,
    /// Bytes that were not read, because they are swapped out.
    pub(crate) unread_bytes: u64,
    /// Whether blocks that are not sampled are known.
    pub(crate) knows_blocks: bool,
}

/// How far to search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Links of a chain.
    pub(crate) depth: usize,
}

/// Searches for who holds the samples of these numbers. `progress` hears which pass goes on, and how many bytes of how
/// many it has done.
pub(crate) fn search(
    pid: u32,
    found: &Found,
    snapshot: &Snapshot,
    wanted: &[usize],
    limits: Limits,
    progress: &mut dyn FnMut(usize, u64, u64),
) -> Result<Holders> {
    let began = Instant::now();
    let ground = look(pid)?;
    let memory = PeerMemory::open(pid, ground.probe())?;
    let starts: Vec<u64> = snapshot.samples.iter().map(|sample| sample.address).collect();
    let jemalloc = Jemalloc::find(&memory, snapshot.block_tree, &starts);
    let mut sampled: Vec<(u64, u64, usize)> = Vec::with_capacity(starts.len());
    for (number, sample) in snapshot.samples.iter().enumerate() {
        sampled.push((sample.address, sample.address.saturating_add(sample.usable), number));
    }
    sampled.sort_unstable();
    let mut search = Search {
        pid,
        memory: &memory,
        knows_blocks: jemalloc.is_some(),
        jemalloc,
        glibc: Glibc::new(&memory),
        ground,
        tasks: Vec::new(),
        stacks: Vec::new(),
        snapshot,
        sampled,
        graph: Graph::default(),
        explored: FxHashSet::default(),
        bytes: 0,
        passes: 0,
        unread_bytes: 0,
        progress,
    };
    let targets: Vec<NodeId> = wanted.iter().filter_map(|number| search.sample(*number)).collect();
    search.follow(&targets, limits);
    search.look_again(&targets, limits)?;
    let fates = wanted.iter().zip(&targets).map(|(number, target)| Some(search.fate(*number, *target))).collect();
    let others = search.tasks.iter().filter(|task| task.name != KEEPER);
    let mut holders = Holders {
        targets,
        fates,
        threads: search.tasks.iter().map(|task| (task.tid, task.name.clone())).collect(),
        unseen_registers: others.count(),
        bytes: search.bytes,
        passes: search.passes,
        time: began.elapsed(),
        unread_bytes: search.unread_bytes,
        knows_blocks: search.knows_blocks,
        graph: search.graph,
    };
    forget_freed(&mut holders, found, snapshot, wanted)?;
    Ok(holders)
}

/// Forgets what was said of blocks that do not live any more.
pub(crate) fn forget_freed(holders: &mut Holders, found: &Found, snapshot: &Snapshot, wanted: &[usize]) -> Result<()> {
    let after = region::snapshot(found)?;
    let live: FxHashSet<(u64, u64)> = after.samples.iter().map(|sample| (sample.address, sample.birth_ns)).collect();
    let lives = |number: &usize| {
        let sample = snapshot.samples.get(*number);
        sample.is_some_and(|sample| live.contains(&(sample.address, sample.birth_ns)))
    };
    holders.fates.iter_mut().zip(wanted).filter(|(_, number)| !lives(number)).for_each(|(fate, _)| *fate = None);
    Ok(())
}

fn look(pid: u32) -> Result<Ground> {
    let maps = open::maps(pid).with_context(|| format!("looking at what process {pid} has mapped"))?;
    Ok(Ground::of(maps.as_bytes()))
}

/// A part of the memory that is a thread's stack.
struct Stack {
    range: Range<u64>,
    /// Where it ends; `None`: that is not known.
    pointer: Option<u64>,
    tid: u32,
    is_keepers: bool,
}

/// Whose a word is.
enum Place {
    /// A block's.
    Block { start: u64, last: u64, bytes: u64, sample: Option<usize> },
    /// A root's.
    Root(Root),
    /// Nobody's for certain.
    Doubt(Doubt),
    /// The tap's or the allocator's own: that holds nothing.
    Own,
    /// The allocator's own, and what it points to is so, too.
    Cache,
}

struct Search<'a> {
    pid: u32,
    memory: &'a PeerMemory,
    jemalloc: Option<Jemalloc<'a>>,
    glibc: Glibc<'a>,
    knows_blocks: bool,
    ground: Ground,
    tasks: Vec<Task>,
    stacks: Vec<Stack>,
    snapshot: &'a Snapshot,
    /// First address, last address and number of each sampled block.
    sampled: Vec<(u64, u64, usize)>,
    graph: Graph,
    explored: FxHashSet<NodeId>,
    bytes: u64,
    passes: usize,
    unread_bytes: u64,
    progress: &'a mut dyn FnMut(usize, u64, u64),
}

impl Search<'_> {
    /// The node of a sample.
    fn sample(&mut self, number: usize) -> Option<NodeId> {
        let sample = self.snapshot.samples.get(number)?;
        let last = sample.address.saturating_add(sample.usable);
        Some(self.graph.node(sample.address, last, sample.usable, Some(number)).0)
    }

    /// Goes from holder to holder, until each block has one that lasts or the chain is too long.
    fn follow(&mut self, targets: &[NodeId], limits: Limits) {
        for level in 0..limits.depth.max(1) {
            let mut frontier: FxHashSet<NodeId> = FxHashSet::default();
            for target in targets {
                if !self.explored.contains(target) {
                    frontier.insert(*target);
                } else if !self.graph.is_settled(*target, level > ENOUGH) {
                    let holders = self.graph.holders_of(*target).into_iter();
                    frontier.extend(holders.filter(|holder| !self.explored.contains(holder)));
                }
            }
            if frontier.is_empty() {
                break;
            }
            self.pass(frontier.into_iter().take(MOST_WANTED).collect(), How::default());
        }
    }

    /// Looks once more for who holds what seems lost, and everything that leads to it.
    fn look_again(&mut self, targets: &[NodeId], limits: Limits) -> Result<()> {
        for _ in 0..ROUNDS {
            let lost: Vec<NodeId> =
                targets.iter().copied().filter(|target| matches!(self.graph.fate(*target), Fate::Lost(_))).collect();
            if lost.is_empty() {
                break;
            }
            thread::sleep(PAUSE);
            self.ground = look(self.pid)?;
            let mut again: Vec<NodeId> = lost.iter().flat_map(|target| self.graph.holders_of(*target)).collect();
            again.sort_unstable();
            again.dedup();
            again.truncate(MOST_WANTED);
            self.pass(again, How { unaligned: true });
            self.follow(&lost, limits);
        }
        Ok(())
    }

    /// One pass for who points to these blocks.
    fn pass(&mut self, wanted: Vec<NodeId>, how: How) {
        self.tasks = tasks::all(self.pid);
        self.jemalloc.iter_mut().for_each(Jemalloc::forget);
        self.glibc.forget();
        self.stacks = self.stacks();
        let nodes = wanted.iter().filter_map(|id| self.graph.get(*id).map(|node| (node.start, node.last, *id)));
        let targets = Targets::of(nodes.collect());
        self.passes += 1;
        let number = self.passes;
        let progress = &mut self.progress;
        let found = scan::pass(self.memory, &self.ground, &targets, how, &mut |done, all| progress(number, done, all));
        self.bytes += found.bytes;
        self.unread_bytes = self.unread_bytes.max(found.unread_bytes);
        for id in wanted {
            self.explored.insert(id);
            self.graph.clear_doubt(id, Doubt::Deep);
        }
        for id in found.crowded {
            self.graph.add_doubt(id, Doubt::Many);
        }
        for pointer in found.pointers {
            self.take(pointer);
        }
        self.take_handed(&targets);
    }

    /// What threads have handed to the kernel, and what that keeps.
    fn take_handed(&mut self, targets: &Targets) {
        let graph = &mut self.graph;
        // Of the six registers that are told of a call some are left from before.
        for word in self.tasks.iter().filter(|task| task.name != KEEPER).flat_map(|task| &task.arguments) {
            targets.find(&[*word], &mut |_, _, to| graph.add_doubt(to, Doubt::Registers));
        }
        for (word, what) in tasks::kept_by_kernel(self.pid) {
            targets.find(&[word], &mut |_, _, to| graph.add_root(to, Root::Kernel(what.clone())));
        }
    }

    /// Notes a pointer.
    fn take(&mut self, pointer: Pointer) {
        let Pointer { at, value, to } = pointer;
        if self.graph.is_full(to) {
            return;
        }
        if self.is_record(at, to) {
            return;
        }
        match self.place(at, value) {
            Place::Own => {}
            // What a cache of the allocator's points to is freed, and so is what points there from it.
            Place::Cache => self.graph.disown(to),
            Place::Root(root) => self.graph.add_root(to, root),
            Place::Doubt(doubt) => self.graph.add_doubt(to, doubt),
            Place::Block { start, last, bytes, sample } => {
                if self.graph.len() >= MOST_BLOCKS {
                    self.graph.add_doubt(to, Doubt::Many);
                    return;
                }
                let (from, is_new) = self.graph.node(start, last, bytes, sample);
                if is_new {
                    self.graph.add_doubt(from, Doubt::Deep);
                }
                self.graph.add_edge(to, from, at - start);
            }
        }
    }

    /// Whether a word is in one of the tap's own copies of the sample's record: the time of its birth, to the
    /// nanosecond, lies beside it.
    fn is_record(&self, at: u64, to: NodeId) -> bool {
        let sample = self.graph.get(to).and_then(|node| self.snapshot.samples.get(node.sample?));
        let mut around = [0; 16];
        sample.is_some_and(|sample| {
            let read = self.memory.read(at.saturating_sub(64) & !7, &mut around);
            around.iter().take(read).any(|word| *word == sample.birth_ns)
        })
    }

    /// Whose a word is.
    fn place(&mut self, at: u64, value: u64) -> Place {
        if let Some((start, last, number)) = self.sampled_at(at) {
            return Place::Block { start, last, bytes: last - start, sample: Some(number) };
        }
        let Some(area) = self.ground.area(at).filter(|area| area.kind != Kind::Tap) else { return Place::Own };
        let (kind, floor, start) = (area.kind, area.floor, area.range.start);
        if let Some(jemalloc) = &mut self.jemalloc {
            match jemalloc.at(at, floor) {
                Lies::Block { start, bytes } => {
                    return Place::Block { start, last: start + bytes - 1, bytes, sample: None };
                }
                Lies::Free => return Place::Doubt(Doubt::Freed),
                Lies::Note => return Place::Own,
                Lies::Elsewhere => {}
            }
        }
        match ground::java_owner(&self.snapshot.known, at) {
            Some(Owner::JavaHeap) => return Place::Root(Root::JavaHeap(at)),
            Some(Owner::Metaspace) => return Place::Root(Root::Jvm("metaspace")),
            Some(Owner::CodeCache) => return Place::Root(Root::Jvm("compiled code")),
            Some(Owner::GcStructures) => return Place::Root(Root::Jvm("the collector's tables")),
            Some(Owner::Malloc) | None => {}
        }
        if let Some(place) = self.on_stack(at, value) {
            return place;
        }
        match self.glibc.at(at, area) {
            Lies::Block { start, bytes } if self.glibc.is_cache(start, bytes) => return Place::Own,
            Lies::Block { start, bytes } => {
                return Place::Block { start, last: start + bytes - 1, bytes, sample: None };
            }
            Lies::Free => return Place::Doubt(Doubt::Freed),
            Lies::Note => return Place::Own,
            Lies::Elsewhere => {}
        }
        if liveness::RANGE_PLACES
            .iter()
            .any(|(start, room, most)| (*start..*start + *room + *most).contains(&(at as usize)))
        {
            return Place::Doubt(Doubt::Freed);
        }
        match kind {
            Kind::Libc if self.is_chunk(value) => Place::Own,
            Kind::Module | Kind::Libc => Place::Root(Root::Global(at)),
            _ => self.cache(at, value).unwrap_or(Place::Root(Root::Mapping(start))),
        }
    }

    /// Whether a word of the C library leads to the head of a chunk: its arena's lists of free ones lie among its
    /// variables, and a head's first word is the last one of the block before.
    fn is_chunk(&mut self, value: u64) -> bool {
        let area = self.ground.area(value).filter(|_| value.is_multiple_of(16));
        area.is_some_and(|area| self.glibc.is_chunk(value, area))
    }

    /// The sampled block that an address lies in.
    fn sampled_at(&self, at: u64) -> Option<(u64, u64, usize)> {
        let after = self.sampled.partition_point(|(start, ..)| *start <= at);
        self.sampled.get(after.checked_sub(1)?).copied().filter(|(_, last, _)| at < *last)
    }

    /// Whose a word on a stack is; `None`: it is on none.
    fn on_stack(&self, at: u64, value: u64) -> Option<Place> {
        let mut here = self.stacks.iter().filter(|stack| stack.range.contains(&at)).peekable();
        here.peek()?;
        let live = |stack: &&Stack| stack.pointer.is_some_and(|pointer| at >= pointer.saturating_sub(RED_ZONE));
        // Of stacks without a gap between them the nearest one has it.
        let Some(stack) = here.filter(live).max_by_key(|stack| stack.pointer) else {
            return Some(Place::Doubt(Doubt::DeadStack));
        };
        let held = if stack.is_keepers { Place::Own } else { Place::Root(Root::Stack(stack.tid)) };
        Some(self.cache(at, value).unwrap_or(held))
    }

    /// Whose a word is that is the head of one of jemalloc's caches of freed blocks.
    fn cache(&self, at: u64, value: u64) -> Option<Place> {
        let around = self.memory.word(at + 16).filter(|_| self.knows_blocks && at.is_multiple_of(8))?;
        match jemalloc::cached(value, around)? {
            0 => Some(Place::Own),
            _ => Some(Place::Cache),
        }
    }

    /// The stacks of the threads, as far as they are told.
    fn stacks(&mut self) -> Vec<Stack> {
        let recorded: Vec<(u32, Range<u64>)> = self
            .snapshot
            .mappings
            .iter()
            .filter(|mapping| mapping.kind == MappingKind::Stack)
            .map(|mapping| (mapping.tid, mapping.start..mapping.end()))
            .collect();
        let mut stacks = Vec::new();
        for task in &self.tasks {
            let is_keepers = task.name == KEEPER;
            let area = task.stack_pointer.and_then(|pointer| self.ground.area(pointer)).cloned();
            let known = recorded.iter().find(|(tid, _)| *tid == task.tid).map(|(_, range)| range.clone());
            let main = self.ground.read().find(|area| area.kind == Kind::MainStack && task.tid == self.pid);
            let known = known.or_else(|| main.map(|area| area.range.clone()));
            // A thread may stand on a stack that lies in a block: there nothing is dead.
            let is_block = match (&mut self.jemalloc, &area, task.stack_pointer) {
                (Some(jemalloc), Some(area), Some(pointer)) => {
                    !matches!(jemalloc.at(pointer, area.floor), Lies::Elsewhere)
                }
                _ => false,
            };
            let is_stack = |area: &ground::Area| {
                let is_its = known.as_ref().is_none_or(|known| known.contains(&task.stack_pointer.unwrap_or(0)));
                is_its && !is_block && matches!(area.kind, Kind::MainStack | Kind::Anonymous)
            };
            match (area.filter(is_stack), known) {
                (Some(area), _) => {
                    let (range, pointer) = (area.range, task.stack_pointer);
                    stacks.push(Stack { range, pointer, tid: task.tid, is_keepers });
                }
                (None, Some(range)) => stacks.push(Stack { range, pointer: None, tid: task.tid, is_keepers }),
                (None, None) => {}
            }
        }
        stacks
    }

    /// What became of a block, with what the search as a whole leaves open.
    fn fate(&self, number: usize, target: NodeId) -> Fate {
        let fate = self.graph.fate(target);
        let birth_ns = self.snapshot.samples.get(number).map_or(0, |sample| sample.birth_ns);
        let is_young = self.snapshot.now_ns().saturating_sub(birth_ns) < YOUNG_NS;
        match fate {
            Fate::Lost(_) if self.unread_bytes > 0 => Fate::CannotTell(Doubt::Unread),
            Fate::Lost(_) if is_young => Fate::CannotTell(Doubt::Young),
            fate => fate,
        }
    }
}
