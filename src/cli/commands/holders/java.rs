//! Which Java objects own blocks, as a heap dump tells it.

use super::super::terminal::Progress;
use super::names::Names;
use crate::cli::analyze::holders::graph::{Doubt, Fate, NodeId, Root};
use crate::cli::analyze::holders::{Kind, Link, Outcome};
use crate::cli::analyze::rss::Class;
use crate::cli::attach::hprof::{Addresses, Owner, Reach, Stream, owners as heap_dump_owners};
use crate::cli::attach::jvm::{self, HeapDump};
use crate::cli::attach::{holders, memory, room};
use crate::cli::inert::say;
use crate::cli::open;
use crate::cli::render::units::bytes;
use crate::wire::resident::known::Known;
use anyhow::{Context, Result, bail};
use rustc_hash::FxHashMap;
use std::path::Path;

/// Java objects that own blocks.
pub(super) struct Java {
    /// By block, or by what leads to it.
    by_node: FxHashMap<NodeId, Vec<Owner>>,
    is_cut: bool,
}

/// Reads who owns the blocks, or what leads to them, from the heap dump that is asked for.
pub(super) fn owners(
    hprof: Option<&Path>,
    heap_dump: Option<&Path>,
    process: u32,
    searched: &holders::Holders,
) -> Result<Option<Java>> {
    let written = match heap_dump {
        Some(folder) => Some(write_heap_dump(process, folder)?),
        None => None,
    };
    let Some(path) = written.as_ref().map(|dump| dump.path.clone()).or_else(|| hprof.map(Path::to_path_buf)) else {
        return Ok(None);
    };
    let reading = || format!("reading the heap dump {}", path.display());
    let file = if written.is_some() { open::named(&path) } else { open::regular(&path) };
    let stream = Stream::of_file(file.with_context(reading)?).with_context(reading)?;
    // Into a block any address leads; to what leads to it, only one that is its beginning.
    let (graph, mut ranges) = (&searched.graph, FxHashMap::default());
    for target in &searched.targets {
        for node in graph.holders_of(*target) {
            let Some(block) = graph.get(node) else { continue };
            ranges.entry(node).or_insert((block.start, block.start, node));
        }
    }
    for target in &searched.targets {
        if let Some(block) = graph.get(*target) {
            ranges.insert(*target, (block.start, block.start + block.bytes.saturating_sub(1), *target));
        }
    }
    let addresses = Addresses::of(ranges.into_values().collect());
    let mut progress = Progress::new("reading the heap dump, MiB:");
    let told = heap_dump_owners(stream, &addresses, &mut |_, done, all| {
        progress.at((done >> 20) as usize, (all >> 20) as usize);
    });
    drop(progress);
    let told = told.with_context(reading)?;
    if told.is_cut {
        say("the heap dump ends early, is damaged or too large: who owns what is not known of all");
    }
    let mut java = Java { by_node: FxHashMap::default(), is_cut: told.is_cut };
    for owner in told.owners {
        java.by_node.entry(owner.block).or_default().push(owner);
    }
    Ok(Some(java))
}

/// Says what it costs, and has the JVM write a heap dump.
fn write_heap_dump(process: u32, folder: &Path) -> Result<HeapDump> {
    let heap = memory::account(process, Known::default()).map_or(0, |account| account.bytes(Class::JavaHeap));
    let free = room::free_bytes(&jvm::dump_folder(process, folder));
    let room = free.map_or(String::new(), |free| format!(", of which {} are free", bytes(free as f64)));
    say(&format!(
        "the JVM writes its objects to {} and stands still meanwhile: up to {} of disk{room}, about {:.0} s",
        folder.display(),
        bytes(heap as f64),
        (heap as f64 / (1u64 << 30) as f64).ceil().max(1.0)
    ));
    if free.is_some_and(|free| free < heap) {
        bail!("there is no room for that: name another folder (--heap-dump DIR), as the JVM sees it");
    }
    jvm::heap_dump(process, folder)
}

impl Java {
    /// What became of a block, now that its owners are known.
    pub(super) fn judge(&self, names: &Names<'_>, sample: usize, fate: Option<&Fate>, native: Outcome) -> Outcome {
        let Some(target) = names.target(sample) else { return native };
        let nodes = names.graph.holders_of(target);
        let owners: Vec<(NodeId, &Owner)> = nodes
            .iter()
            .flat_map(|node| self.by_node.get(node).into_iter().flatten().map(|owner| (*node, owner)))
            .collect();
        let is_native = match fate {
            Some(Fate::Held(Root::Global(_) | Root::Kernel(_), chain)) => Some(chain.len()),
            _ => None,
        };
        let is_java = |owner: &Owner| matches!(owner.reach, Reach::By(..));
        // An object that has the whole block as its own says more than a table of addresses, and that than a slice.
        let reached = owners.iter().filter(|(_, owner)| is_java(owner));
        let reached = reached.min_by_key(|(_, owner)| (owner.is_part, owner.is_note));
        let other = owners.iter().find(|(_, owner)| owner.reach == Reach::Unknown);
        let other = other.or_else(|| owners.iter().find(|(_, owner)| !owner.is_note)).or_else(|| owners.first());
        if let Some((node, owner)) = reached {
            let links = names.graph.path_from(*node, target);
            if is_native.is_none_or(|native| native >= links.len()) {
                return java_outcome(names, owner, links, native);
            }
        }
        match (other, fate) {
            _ if is_native.is_some() => native,
            (Some((_, owner)), _) if owner.reach == Reach::Unknown || self.is_cut => {
                cannot_tell(native, Doubt::JavaWay)
            }
            (Some((_, owner)), _) if owner.is_note => match fate {
                Some(Fate::Held(Root::JavaHeap(_), _)) => cannot_tell(native, Doubt::JavaNote),
                _ => native,
            },
            (Some((node, owner)), _) if !owner.is_cleaned => {
                let dropped = cannot_tell(native, Doubt::JavaDropped);
                Outcome { chain: java_chain(names, owner, names.graph.path_from(*node, target)), ..dropped }
            }
            (Some((node, owner)), _) => Outcome {
                kind: Kind::WaitsForCollector,
                holder: format!("no root reaches {}", owner.place),
                chain: names.graph.path_from(*node, target).iter().filter_map(|it| names.link(it.0, it.1)).collect(),
                offset: None,
                doubt: None,
                ..native
            },
            (None, Some(Fate::Held(Root::JavaHeap(_), _))) => cannot_tell(native, Doubt::JavaWord),
            (None, _) => native,
        }
    }
}

fn cannot_tell(native: Outcome, doubt: Doubt) -> Outcome {
    let (holder, chain) = (String::new(), Vec::new());
    Outcome { kind: Kind::CannotTell, holder, chain, offset: None, doubt: Some(doubt), ..native }
}

/// A block that a Java field holds: the root, the fields from there on, and the blocks behind them.
fn java_outcome(names: &Names<'_>, owner: &Owner, links: Vec<(NodeId, u64)>, native: Outcome) -> Outcome {
    let Reach::By(root, _) = &owner.reach else { return native };
    let (holder, chain) = (root.clone(), java_chain(names, owner, links));
    Outcome { kind: Kind::JavaField, holder, chain, offset: None, doubt: None, ..native }
}

/// The fields from a root on, and the blocks behind them.
fn java_chain(names: &Names<'_>, owner: &Owner, links: Vec<(NodeId, u64)>) -> Vec<Link> {
    let step = |text: &str| Link { bytes: None, offset: 0, allocated_by: Some(text.to_owned()) };
    let (root, steps) = match &owner.reach {
        Reach::By(root, steps) => (root.as_str(), steps.as_slice()),
        Reach::Not | Reach::Unknown => ("", &[][..]),
    };
    let mut chain: Vec<Link> = steps.iter().map(|text| step(text)).collect();
    let what = match (owner.offset, owner.is_part) {
        (0, false) => owner.place.clone(),
        (0, true) => format!("{} (a duplicate)", owner.place),
        (offset, _) => format!("{} (a slice at +{offset})", owner.place),
    };
    if root != owner.place {
        chain.push(step(&what));
    }
    chain.extend(links.iter().filter_map(|(node, offset)| names.link(*node, *offset)));
    chain
}
