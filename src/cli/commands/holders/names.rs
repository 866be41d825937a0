//! What the holders of blocks are called: variables, threads, mappings, and the places that allocated other blocks.

use super::super::inputs::Symbols;
use crate::cli::analyze::frames::Kinds;
use crate::cli::analyze::holders::graph::{Fate, Graph, NodeId, Root};
use crate::cli::analyze::holders::{Kind, Link, Outcome};
use crate::cli::analyze::report::{Report, SiteFacts};
use crate::cli::attach::holders;
use crate::cli::open;
use crate::cli::profile::Profile;
use crate::cli::render::units::bytes;
use crate::cli::symbolize::variables::{self, Variable};
use crate::wire::live::records::objects;
use crate::wire::live::snapshot::Snapshot;
use anyhow::Result;
use rustc_hash::FxHashMap;

/// Which samples of a region belong to which stack of the profile.
pub(super) struct Samples {
    /// Numbers of samples of the snapshot, by the stack's place in the profile, oldest first.
    by_stack: FxHashMap<usize, Vec<usize>>,
    stack_of: Vec<Option<usize>>,
}

impl Samples {
    pub(super) fn of(snapshot: &Snapshot, profile: &Profile) -> Samples {
        let address = |(depth, pc): (usize, &u64)| if depth == 0 { *pc } else { pc.saturating_sub(1) };
        let key = |frames: &[u64]| frames.iter().enumerate().map(address).collect::<Vec<u64>>();
        let mut stacks: FxHashMap<Vec<u64>, usize> = FxHashMap::default();
        for (index, sample) in profile.samples.iter().enumerate() {
            stacks.insert(sample.stack.iter().map(|id| profile.location(*id).address).collect(), index);
        }
        let stack_of = |stack: u32| stacks.get(&key(snapshot.frames(snapshot.stacks.get(&stack)?))).copied();
        let stack_of: Vec<Option<usize>> = snapshot.samples.iter().map(|sample| stack_of(sample.stack)).collect();
        let mut by_stack: FxHashMap<usize, Vec<usize>> = FxHashMap::default();
        for (number, stack) in stack_of.iter().enumerate() {
            stack.iter().for_each(|stack| by_stack.entry(*stack).or_default().push(number));
        }
        Samples { by_stack, stack_of }
    }

    pub(super) fn of_site(&self, site: &SiteFacts) -> Vec<usize> {
        let members = site.members.iter().filter_map(|member| self.by_stack.get(&(*member as usize)));
        let mut all: Vec<usize> = members.flatten().copied().collect();
        all.sort_unstable();
        all
    }
}

/// What holders are called.
pub(super) struct Names<'a> {
    /// Who points to whom.
    pub(super) graph: &'a Graph,
    threads: &'a FxHashMap<u32, String>,
    snapshot: &'a Snapshot,
    variables: FxHashMap<u64, Option<Variable>>,
    /// Of the stacks of the profile.
    labels: FxHashMap<usize, String>,
    stack_of: &'a [Option<usize>],
}

impl<'a> Names<'a> {
    pub(super) fn of(
        searched: &'a holders::Holders,
        snapshot: &'a Snapshot,
        process: u32,
        symbols: &Symbols,
        profile: &Profile,
        report: &Report,
        samples: &'a Samples,
    ) -> Result<Names<'a>> {
        let held = searched.fates.iter().flatten();
        let addresses: Vec<u64> = held
            .filter_map(|fate| match fate {
                Fate::Held(Root::Global(address), _) => Some(*address),
                _ => None,
            })
            .collect();
        let maps = open::maps(process).unwrap_or_default();
        let options = symbols.of_process(process);
        let found = variables::name(maps.as_bytes(), &addresses, &options);
        let mut labels: FxHashMap<usize, String> = FxHashMap::default();
        for site in &report.sites {
            site.members.iter().for_each(|member| _ = labels.insert(*member as usize, site.label.clone()));
        }
        let kinds = Kinds::of(profile);
        for (index, sample) in profile.samples.iter().enumerate() {
            let first =
                || kinds.visible(profile, sample).first().and_then(|line| profile.function(line.function)).cloned();
            labels.entry(index).or_insert_with(|| first().map_or_else(String::new, |function| function.name));
        }
        Ok(Names {
            graph: &searched.graph,
            threads: &searched.threads,
            snapshot,
            variables: addresses.into_iter().zip(found).collect(),
            labels,
            stack_of: &samples.stack_of,
        })
    }

    /// The block of a sample.
    pub(super) fn target(&self, sample: usize) -> Option<NodeId> {
        self.graph.at(self.snapshot.samples.get(sample)?.address)
    }

    /// What became of a sample, in words.
    pub(super) fn outcome(&self, sample: usize, fate: &Fate) -> Option<Outcome> {
        let record = self.snapshot.samples.get(sample)?;
        let (weight_bytes, weight_objects) = (record.weight_bytes as f64, objects(record.scaled_objects()));
        let ends = |kind, holder: &str| Outcome {
            kind,
            holder: holder.to_owned(),
            offset: None,
            chain: Vec::new(),
            doubt: None,
            weight_bytes,
            weight_objects,
        };
        Some(match fate {
            Fate::Held(root, chain) => {
                let (kind, holder) = self.root(root);
                let chain = chain.iter().filter_map(|(id, offset)| self.link(*id, *offset)).collect();
                Outcome { chain, offset: self.variable(root).map(|variable| variable.offset), ..ends(kind, &holder) }
            }
            Fate::Lost(true) => ends(Kind::Lost, "only blocks that are lost themselves point to it"),
            Fate::Lost(false) => ends(Kind::Lost, "nothing in memory points to it"),
            Fate::CannotTell(doubt) => Outcome { doubt: Some(*doubt), ..ends(Kind::CannotTell, "") },
        })
    }

    fn root(&self, root: &Root) -> (Kind, String) {
        match root {
            Root::Global(address) => match self.variable(root) {
                Some(Variable { name: Some(name), library, .. }) => (Kind::Global, format!("{name} of {library}")),
                Some(variable) => (Kind::Global, format!("a variable of {}", variable.library)),
                None => (Kind::Mapping, self.mapping(*address)),
            },
            Root::Stack(tid) => (Kind::Thread, format!("the stack of thread {}", self.thread(*tid))),
            Root::JavaHeap(_) => (Kind::JavaHeap, "the Java heap".to_owned()),
            Root::Jvm(what) => (Kind::Jvm, format!("the Java VM's {what}")),
            Root::Mapping(start) => (Kind::Mapping, self.mapping(*start)),
            Root::Kernel(what) => (Kind::Kernel, what.clone()),
        }
    }

    fn variable(&self, root: &Root) -> Option<&Variable> {
        let Root::Global(address) = root else { return None };
        self.variables.get(address)?.as_ref()
    }

    fn thread(&self, tid: u32) -> String {
        self.threads.get(&tid).map_or_else(|| tid.to_string(), |name| format!("\"{name}\""))
    }

    /// A mapping: what is known of it is who mapped it.
    fn mapping(&self, start: u64) -> String {
        let known = self.snapshot.mappings.iter().find(|mapping| (mapping.start..mapping.end()).contains(&start));
        match known {
            Some(mapping) => format!("memory that the program mapped ({})", bytes(mapping.bytes as f64)),
            None => "mapped memory whose owner is not known".to_owned(),
        }
    }

    pub(super) fn link(&self, id: NodeId, offset: u64) -> Option<Link> {
        let node = self.graph.get(id)?;
        let stack = node.sample.and_then(|sample| self.stack_of.get(sample).copied().flatten());
        let allocated_by = stack.and_then(|stack| self.labels.get(&stack)).cloned();
        Some(Link { bytes: Some(node.bytes), offset, allocated_by })
    }
}
