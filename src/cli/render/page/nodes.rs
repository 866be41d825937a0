//! The call tree over time as lists of whole numbers, most of them small: what gzip makes little of.

use super::names::{Collector, Names};
use crate::cli::analyze::courses::Courses;
use crate::cli::inert::clean;
use crate::cli::profile::Profile;
use serde::Serialize;

/// What the script reads of the tree (`model.js`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Nodes {
    #[serde(flatten)]
    names: Names,
    /// Of nodes, callees right behind their callers: distance from the root.
    depth: Vec<u32>,
    /// Of nodes: number of the name.
    name: Vec<u32>,
    /// Bytes that one of `levels` and of `own` stands for.
    quantum: f64,
    /// Nodes further, moments that follow; of each: moments further, levels more. Again and again.
    levels: Vec<i64>,
    /// Nodes further, thread, quanta, objects at the last moment; again and again.
    own: Vec<u64>,
    /// Names of threads; the first is for bytes whose thread is unknown.
    threads: Vec<String>,
}

impl Nodes {
    /// Of the courses, in quanta of so many bytes.
    pub(super) fn of(courses: &Courses, profile: &Profile, quantum: f64) -> Nodes {
        let mut names = Collector::new();
        let order = depth_first(courses);
        let nodes = &courses.tree.nodes;
        let name = order.iter().map(|(index, _)| {
            let function = nodes[*index].function.and_then(|id| profile.function(id));
            function.map_or(0, |function| names.id(function))
        });
        let name: Vec<u32> = name.collect();
        let levels = courses.levels(quantum);
        let ordered: Vec<&[u64]> = order.iter().map(|(index, _)| levels[*index].as_slice()).collect();
        Nodes {
            name,
            names: names.finish(),
            depth: order.iter().map(|(_, depth)| *depth).collect(),
            quantum,
            levels: steps(&ordered),
            own: own(courses, &order, quantum),
            threads: courses.tree.threads.iter().map(|name| clean(name)).collect(),
        }
    }
}

/// Nodes with their depths, each right behind its caller or behind that one's other callees.
fn depth_first(courses: &Courses) -> Vec<(usize, u32)> {
    let nodes = &courses.tree.nodes;
    let mut callees: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (index, node) in nodes.iter().enumerate().skip(1) {
        callees[node.parent as usize].push(index);
    }
    let (mut order, mut open) = (Vec::with_capacity(nodes.len()), vec![(0, 0)]);
    while let Some((index, depth)) = open.pop() {
        order.push((index, depth));
        open.extend(callees[index].iter().rev().map(|callee| (*callee, depth + 1)));
    }
    order
}

/// Where courses change, and by how much.
fn steps(levels: &[&[u64]]) -> Vec<i64> {
    let (mut told, mut last) = (Vec::new(), 0);
    for (node, levels) in levels.iter().enumerate().filter(|(_, levels)| !levels.is_empty()) {
        let (mut changes, mut level, mut moment) = (Vec::new(), 0, 0);
        for (at, next) in levels.iter().enumerate().filter(|(_, next)| **next <= i64::MAX as u64) {
            let step = *next as i64 - level;
            if step != 0 {
                changes.extend([at as i64 - moment, step]);
                (level, moment) = (*next as i64, at as i64);
            }
        }
        told.extend([node as i64 - last, changes.len() as i64 / 2]);
        told.append(&mut changes);
        last = node as i64;
    }
    told
}

fn own(courses: &Courses, order: &[(usize, u32)], quantum: f64) -> Vec<u64> {
    let (mut told, mut last) = (Vec::new(), 0);
    for (at, (index, _)) in order.iter().enumerate() {
        for own in courses.tree.nodes[*index].own.iter().filter(|own| own.bytes >= 0.5 || own.objects >= 0.5) {
            let quanta = (own.bytes / quantum).round() as u64;
            told.extend([(at - last) as u64, u64::from(own.thread), quanta, own.objects.round() as u64]);
            last = at;
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn courses_are_told_by_their_changes() {
        assert_eq!(steps(&[&[], &[5, 5, 7], &[0, 1, 0]]), [1, 2, 0, 5, 2, 2, 1, 2, 1, 1, 1, -1]);
    }
}
