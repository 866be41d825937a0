//! The call tree over time: what stops at each node at each moment, in whole quanta.
//!
//! A picture that can be set to any two moments needs every node's bytes at every moment: five million numbers of
//! 50,000 nodes and 100 moments. They are written as multiples of a *quantum*, rounded down, and what rounding leaves
//! goes to the caller, as the bytes of a small subtree do. So the sum below any node is right to one quantum, that of
//! the root to half of one, and nodes that hardly change have the same number again.

use super::moments::Moments;
use super::track::Track;
use super::tree::Tree;
use crate::cli::profile::series::Series;

/// A call tree, and the course of each of its nodes.
pub(crate) struct Courses {
    /// Its nodes are those that held something at any moment.
    pub(crate) tree: Tree,
    /// Of each node: bytes that stop there, at each moment; empty where there never were any.
    pub(crate) own: Vec<Vec<f64>>,
    /// Moments.
    pub(crate) moments: usize,
}

impl Courses {
    /// Of a series. What is in no row of its history stops at the root.
    pub(crate) fn of(series: &Series, moments: &Moments) -> Courses {
        let (tree, leaves) = Tree::of_those(series, |_, _| true);
        let mut courses = Courses { own: vec![Vec::new(); tree.nodes.len()], tree, moments: moments.count() };
        let mut other: Vec<f64> = moments.totals.iter().map(|total| total.bytes).collect();
        for (index, leaf) in leaves.iter().enumerate() {
            let mut track = Track::new(moments);
            track.add(series, moments, index);
            other.iter_mut().zip(&track.bytes).for_each(|(rest, bytes)| *rest -= bytes);
            courses.add(leaf.unwrap_or(0), &track.bytes);
        }
        let rest: Vec<f64> = other.iter().map(|rest| rest.max(0.0)).collect();
        courses.add(0, &rest);
        courses
    }

    fn add(&mut self, node: u32, bytes: &[f64]) {
        let Some(own) = self.own.get_mut(node as usize) else { return };
        if own.is_empty() && bytes.iter().any(|bytes| *bytes >= 0.5) {
            own.resize(bytes.len(), 0.0);
        }
        own.iter_mut().zip(bytes).for_each(|(sum, bytes)| *sum += bytes);
    }

    /// Gives small subtrees to their callers until at most `limit` nodes are left: those that were never large.
    pub(crate) fn prune(&mut self, limit: usize) {
        let place = self.tree.prune_by(&self.peaks(), limit);
        let own = std::mem::replace(&mut self.own, vec![Vec::new(); self.tree.nodes.len()]);
        own.iter().zip(place).filter(|(bytes, _)| !bytes.is_empty()).for_each(|(bytes, node)| self.add(node, bytes));
    }

    /// The most that was ever below and at each node.
    fn peaks(&self) -> Vec<f64> {
        let mut peaks = vec![0.0; self.tree.nodes.len()];
        for moment in 0..self.moments {
            let mut sums: Vec<f64> = self.own.iter().map(|own| own.get(moment).copied().unwrap_or(0.0)).collect();
            for index in (0..sums.len()).rev() {
                let (value, parent) = (sums[index], self.tree.nodes[index].parent as usize);
                peaks[index] = f64::max(peaks[index], value);
                if index > 0 {
                    sums[parent] += value;
                }
            }
        }
        peaks
    }

    /// The courses in whole quanta, node by node; empty where there are none.
    pub(crate) fn levels(&self, quantum: f64) -> Vec<Vec<u64>> {
        let mut rest = self.own.clone();
        let mut levels = vec![Vec::new(); rest.len()];
        for index in (0..rest.len()).rev() {
            let own = std::mem::take(&mut rest[index]);
            let whole = |bytes: &f64| if index == 0 { (bytes / quantum).round() } else { (bytes / quantum).floor() };
            let of_node: Vec<f64> = own.iter().map(whole).collect();
            if of_node.iter().any(|level| *level > 0.0) {
                levels[index] = of_node.iter().map(|level| level.max(0.0) as u64).collect();
            }
            if index > 0 && !own.is_empty() {
                let caller = &mut rest[self.tree.nodes[index].parent as usize];
                caller.resize(self.moments, 0.0);
                let left = own.iter().zip(&of_node).map(|(bytes, level)| bytes - level * quantum);
                caller.iter_mut().zip(left).for_each(|(sum, left)| *sum += left);
            }
        }
        levels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::analyze::shop;

    fn series() -> Series {
        shop::series(&[0, 1, 2])
    }

    fn totals(courses: &Courses, quantum: f64) -> Vec<f64> {
        let levels = courses.levels(quantum);
        let at = |moment: usize| levels.iter().filter_map(|own| own.get(moment)).sum::<u64>() as f64 * quantum;
        (0..courses.moments).map(at).collect()
    }

    #[test]
    fn all_bytes_of_every_moment_are_there_whatever_the_quantum_and_the_size() {
        let series = series();
        let mut courses = Courses::of(&series, &Moments::whole(&series));
        for (limit, quantum) in [(usize::MAX, 1.0), (usize::MAX, 65536.0), (5, 4096.0)] {
            courses.prune(limit);
            assert!(courses.tree.nodes.len() <= limit);
            for (sum, dump) in totals(&courses, quantum).iter().zip(&series.dumps) {
                assert!((sum - dump.total.bytes).abs() <= quantum, "{sum} {} {quantum}", dump.total.bytes);
            }
        }
    }

    #[test]
    fn what_a_quantum_leaves_is_its_callers() {
        let series = series();
        let courses = Courses::of(&series, &Moments::whole(&series));
        let levels = courses.levels(1e12);
        assert!(levels.iter().skip(1).all(Vec::is_empty), "nothing is so large");
    }
}
