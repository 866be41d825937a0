//! A flame graph as one SVG file, laid out by inferno. Pruned, as every frame costs 190 bytes.

use super::Renderer;
use super::folded;
use super::units::bytes;
use crate::cli::analyze::tree::Tree;
use crate::cli::inert::clean;
use crate::cli::profile::series::Series;
use inferno::flamegraph::{self, Direction, Options};
use std::io::{self, Write};

/// Frames of the biggest SVG: 145 KB.
const FRAMES: usize = 4000;

/// Writes a flame graph.
pub(crate) struct Svg {
    /// First line of the picture.
    pub(crate) title: String,
    /// Root at the top instead of the bottom.
    pub(crate) is_icicle: bool,
}

impl Renderer<Series> for Svg {
    fn render(&self, series: &Series, out: &mut dyn Write) -> io::Result<()> {
        let mut tree = Tree::of(series);
        tree.prune(FRAMES);
        let lines = folded::lines(&tree, &series.profile);
        let total: f64 = lines.iter().map(|(_, value)| value).sum();
        if total < 0.5 {
            return Err(io::Error::other("nothing is live: there is no picture of it"));
        }
        let lines: Vec<String> = lines.iter().map(|(path, value)| format!("{path} {value:.0}")).collect();
        let mut options = Options::default();
        options.title = format!("{}: {} live", clean(&self.title), bytes(total));
        options.count_name = "bytes".to_owned();
        options.min_width = 0.1;
        options.hash = true;
        options.direction = if self.is_icicle { Direction::Inverted } else { Direction::Straight };
        flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), out).map_err(io::Error::other)
    }
}
