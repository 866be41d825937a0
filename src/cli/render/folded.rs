//! Folded stacks: `root;…;leaf bytes`, one line a path. Opens in flamegraph.pl, inferno, speedscope
//! and the Firefox Profiler. Names may hold blanks, as the number is after the last one.

use super::Renderer;
use crate::cli::analyze::tree::{Node, Tree};
use crate::cli::inert::is_harmful;
use crate::cli::profile::Profile;
use crate::cli::profile::series::Series;
use std::io::{self, Write};

/// Writes folded stacks of live bytes.
pub(crate) struct Folded;

impl Renderer<Series> for Folded {
    fn render(&self, series: &Series, out: &mut dyn Write) -> io::Result<()> {
        for (path, bytes) in lines(&Tree::of(series), &series.profile) {
            writeln!(out, "{path} {bytes:.0}")?;
        }
        Ok(())
    }
}

/// The paths of a tree that hold bytes of their own.
pub(crate) fn lines(tree: &Tree, profile: &Profile) -> Vec<(String, f64)> {
    let names: Vec<String> = profile.functions.iter().map(|function| one_word(&function.name)).collect();
    let own = |node: &Node| node.own.iter().map(|own| own.bytes).sum::<f64>();
    let holding = tree.nodes.iter().filter(|node| own(node) >= 0.5);
    holding.map(|node| (path(tree, node, &names), own(node))).collect()
}

/// `root;…;leaf`. Made for nodes that hold something only: the paths of all would be quadratic.
fn path(tree: &Tree, leaf: &Node, names: &[String]) -> String {
    let mut frames: Vec<&str> = Vec::new();
    let mut at = Some(leaf);
    while let Some((node, function)) = at.and_then(|node| Some((node, node.function?))) {
        frames.extend(names.get(function.index()).map(String::as_str).filter(|name| !name.is_empty()));
        at = tree.nodes.get(node.parent as usize);
    }
    frames.reverse();
    if frames.is_empty() { "[no stack]".to_owned() } else { frames.join(";") }
}

/// A name without what separates frames and lines in this format.
fn one_word(name: &str) -> String {
    name.chars().map(|c| if c == ';' || is_harmful(c) { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::one_word;

    #[test]
    fn separators_in_names_are_replaced() {
        assert_eq!(one_word("a;b\nc d"), "a_b_c d");
    }
}
