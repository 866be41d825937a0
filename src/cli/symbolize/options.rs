//! Where and how to look for names.

use super::known::Known;
use super::recorded::Recorded;
use crate::cli::open::Owners;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

/// Where and how to look for names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Directory that stands for `/` of the machine the dump came from.
    pub(crate) sysroot: Option<PathBuf>,
    /// More places for separate debug files, before the usual ones.
    pub(crate) debug_dirs: Vec<PathBuf>,
    /// A runtime's names of compiled code, as the user named them.
    pub(crate) perf_map: Option<PathBuf>,
    /// Where a runtime may have left such names; the first that can be read and believed is used.
    pub(crate) perf_maps: Vec<PathBuf>,
    /// Whose files are believed where nothing else proves them.
    pub(crate) owners: Owners,
    /// Source lines and inlined functions from DWARF: seconds and hundreds of MiB for a libjvm.
    pub(crate) with_lines: bool,
    /// When the newest dump was written: a younger library is suspect.
    pub(crate) written: Option<SystemTime>,
    /// The process, if it may still run: then its files are found through `/proc`.
    pub(crate) running: Option<u32>,
    /// Names that came with the dumps, in a pack.
    pub(crate) recorded: Rc<Recorded>,
    /// Names that were found for profiles of other processes.
    pub(crate) known: Option<Rc<Known>>,
}
