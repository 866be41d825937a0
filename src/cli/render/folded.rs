//! Folded stacks: `root;…;leaf bytes`, one line a path. Opens in flamegraph.pl, inferno, speedscope
//! and the Firefox Profiler. Names may hold blanks, as the number is after the last one.

use super::Renderer;
use crate::cli::analyze::tree::Tree;
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
    let mut paths: Vec<String> = Vec::with_capacity(tree.nodes.len());
    let mut lines = Vec::new();
    for (index, node) in tree.nodes.iter().enumerate() {
        let name = node
            .function
            .and_then(|id| profile.function(id))
            .map_or(String::new(), |function| one_word(&function.name));
        let parent = paths.get(node.parent as usize).filter(|_| index > 0).map_or("", String::as_str);
        let path = match (parent.is_empty(), name.is_empty()) {
            (true, _) => name,
            (false, true) => parent.to_owned(),
            (false, false) => format!("{parent};{name}"),
        };
        let own: f64 = node.own.iter().map(|own| own.bytes).sum();
        if own >= 0.5 {
            lines.push((if path.is_empty() { "[no stack]".to_owned() } else { path.clone() }, own));
        }
        paths.push(path);
    }
    lines
}

/// A name without what separates frames and lines in this format.
fn one_word(name: &str) -> String {
    name.chars().map(|c| if c == ';' || c.is_control() { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::one_word;

    #[test]
    fn separators_in_names_are_replaced() {
        assert_eq!(one_word("a;b\nc d"), "a_b_c d");
    }
}
