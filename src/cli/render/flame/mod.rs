//! A flame graph as one HTML page that needs nothing else: no network, no server, no other file.
//!
//! The page is a template, its script and the data: integer arrays as JSON, gzipped, in base64, so
//! that no name in it can end a script. The script draws names on a canvas and sets text only, and
//! the page's own policy forbids it to load anything.

use super::Renderer;
use crate::cli::analyze::tree::Tree;
use crate::cli::profile::location::{Function, Origin};
use crate::cli::profile::series::Series;
use flate2::Compression;
use flate2::write::GzEncoder;
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::io::{self, Write};

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");

/// Frames of the biggest page; smaller ones go to their callers.
const FRAMES: usize = 50_000;

/// Writes the page.
pub(crate) struct Html {
    /// Heading.
    pub(crate) title: String,
    /// One line below it.
    pub(crate) subtitle: String,
}

/// What the script reads (`page.js`, `buildTree`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    title: &'a str,
    subtitle: &'a str,
    /// Of functions; 0 is the root's.
    names: Vec<&'a str>,
    /// Of names: index in `kinds`.
    kind: Vec<u32>,
    /// Libraries, `java`, or nothing.
    kinds: Vec<&'a str>,
    /// Of nodes.
    parent: Vec<u32>,
    /// Of nodes: index in `names`.
    name: Vec<u32>,
    /// Node, thread, bytes, objects; again and again.
    own: Vec<u64>,
    /// Node, bytes of the first dump; again and again.
    first: Vec<u64>,
    has_first: bool,
    threads: &'a [String],
    used_threads: Vec<u32>,
}

impl Renderer<Series> for Html {
    fn render(&self, series: &Series, out: &mut dyn Write) -> io::Result<()> {
        let mut tree = Tree::of(series);
        tree.prune(FRAMES);
        let data = self.data(&tree, series);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        serde_json::to_writer(&mut gzip, &data)?;
        let packed = base64(&gzip.finish()?);
        let (before_script, rest) = split(PAGE, "\"@SCRIPT@\"");
        let (before_data, after_data) = split(rest, "@DATA@");
        [before_script, SCRIPT, before_data, &packed, after_data]
            .iter()
            .try_for_each(|part| out.write_all(part.as_bytes()))
    }
}

impl Html {
    fn data<'a>(&'a self, tree: &'a Tree, series: &'a Series) -> Data<'a> {
        let mut names = Names::new();
        let name = tree
            .nodes
            .iter()
            .map(|node| {
                let function = node.function.and_then(|id| series.profile.function(id));
                function.map_or(0, |function| names.id(function))
            })
            .collect();
        let mut used_threads: Vec<u32> =
            tree.nodes.iter().flat_map(|node| node.own.iter().map(|own| own.thread)).collect();
        used_threads.sort_unstable();
        used_threads.dedup();
        Data {
            title: &self.title,
            subtitle: &self.subtitle,
            name,
            names: names.names,
            kind: names.kind,
            kinds: names.kinds,
            parent: tree.nodes.iter().map(|node| node.parent).collect(),
            own: own(tree),
            first: first(tree),
            has_first: series.dumps.len() > 1,
            threads: &tree.threads,
            used_threads,
        }
    }
}

fn own(tree: &Tree) -> Vec<u64> {
    let nodes = tree.nodes.iter().enumerate();
    nodes
        .flat_map(|(index, node)| node.own.iter().map(move |own| (index, own)))
        .flat_map(|(index, own)| {
            [index as u64, u64::from(own.thread), own.bytes.round() as u64, own.objects.round() as u64]
        })
        .collect()
}

fn first(tree: &Tree) -> Vec<u64> {
    let nodes = tree.nodes.iter().enumerate().filter(|(_, node)| node.first_bytes >= 0.5);
    nodes.flat_map(|(index, node)| [index as u64, node.first_bytes.round() as u64]).collect()
}

/// Names of functions and what they are coloured by, each once.
struct Names<'a> {
    names: Vec<&'a str>,
    kind: Vec<u32>,
    kinds: Vec<&'a str>,
    ids: FxHashMap<(&'a str, &'a str), u32>,
    kind_ids: FxHashMap<&'a str, u32>,
}

impl<'a> Names<'a> {
    fn new() -> Names<'a> {
        Names {
            names: vec!["all"],
            kind: vec![0],
            kinds: vec![""],
            ids: FxHashMap::default(),
            kind_ids: FxHashMap::from_iter([("", 0)]),
        }
    }

    fn id(&mut self, function: &'a Function) -> u32 {
        let kind = if function.origin == Origin::Java { "java" } else { function.library.as_str() };
        if let Some(&id) = self.ids.get(&(function.name.as_str(), kind)) {
            return id;
        }
        let kinds = &mut self.kinds;
        let kind_id = *self.kind_ids.entry(kind).or_insert_with(|| {
            kinds.push(kind);
            kinds.len() as u32 - 1
        });
        let id = self.names.len() as u32;
        self.names.push(&function.name);
        self.kind.push(kind_id);
        self.ids.insert((&function.name, kind), id);
        id
    }
}

/// The parts before and after a mark of the template.
fn split<'a>(text: &'a str, mark: &str) -> (&'a str, &'a str) {
    text.split_once(mark).unwrap_or((text, ""))
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * place) & 63) as usize];
            text.push(if place > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_rfcs() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn the_template_has_both_marks_once() {
        assert_eq!((PAGE.matches("\"@SCRIPT@\"").count(), PAGE.matches("@DATA@").count()), (1, 1));
        assert!(!SCRIPT.contains("</script"));
    }
}
