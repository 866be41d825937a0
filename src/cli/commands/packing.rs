//! From arguments to a pack: for `heaptap pack`, and for pictures that shall tell no more than a redacted pack does.

use super::inputs::Inputs;
use super::opened::Opened;
use crate::cli::attach::discovery::Found;
use crate::cli::attach::pack::{self, Contents};
use crate::cli::attach::redaction::Redaction;
use crate::cli::attach::region;
use crate::cli::attach::source::{self, Source};
use crate::cli::inert::say;
use crate::cli::open;
use crate::cli::profile::metric::Metric;
use crate::cli::profile::series::Series;
use crate::cli::symbolize::elf::Elf;
use crate::cli::symbolize::recorded::Recorded;
use crate::wire::dump_name::{DumpKind, DumpName};
use crate::wire::identity::SIDECAR;
use crate::wire::whole_file;
use anyhow::{Context, Result, bail};
use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The dumps of one process with their names: what a pack is made of.
pub(super) struct Packing {
    /// The process.
    pub(super) series: Series,
    /// The files of its dumps.
    pub(super) dumps: Vec<PathBuf>,
    symbols: Recorded,
    /// Holds those of `dumps` that were regions.
    _staged: Staged,
}

impl Packing {
    /// Reads and names the process that these inputs mean; filters are not looked at.
    pub(super) fn of(inputs: &Inputs) -> Result<Packing> {
        let staged = Staged::new(&inputs.files)?;
        let inputs =
            Inputs { pid: inputs.pid, life: inputs.life.clone(), symbols: inputs.symbols.clone(), ..Inputs::default() };
        let Opened { series, modules } = inputs.open_sources(&staged.sources, Vec::new(), Metric::default(), false)?;
        let dumps: Vec<PathBuf> = series.dumps.iter().map(|dump| dump.path.clone()).collect();
        if let Some(inside) = dumps.iter().find(|path| !path.is_file()) {
            bail!("{} is in a pack already, or came through a pipe: name dump files", inside.display());
        }
        let symbols = Recorded::of(&series.profile, &modules);
        Ok(Packing { series, dumps, symbols, _staged: staged })
    }

    /// Writes the pack.
    pub(super) fn write(&self, redaction: Option<&mut Redaction>, out: &mut dyn Write) -> io::Result<()> {
        let sidecars = sidecars(&self.series);
        pack::write(&Contents { dumps: &self.dumps, sidecars: &sidecars, symbols: &self.symbols }, redaction, out)
    }
}

/// Redacted packs for the time of a command. Folders and threads have the same marks in all of them.
#[derive(Default)]
pub(super) struct RedactedPacks {
    redaction: Redaction,
    folder: Option<PrivateFolder>,
    written: usize,
}

impl RedactedPacks {
    /// Writes one of what these inputs mean; where it is until this value goes.
    pub(super) fn add(&mut self, inputs: &Inputs) -> Result<PathBuf> {
        let packing = Packing::of(inputs)?;
        self.written += 1;
        let path = PrivateFolder::of(&mut self.folder)?.join(format!("{}.heaptap.tgz", self.written));
        whole_file::replace(&path, &mut |out| packing.write(Some(&mut self.redaction), out))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// The side-cars that the dumps name and that are still there. The process that wrote the dumps wrote them: another
/// user's file of such a name is none, and does not go into the pack.
fn sidecars(series: &Series) -> Vec<(PathBuf, File)> {
    let owner = series.last().map_or_else(open::reader, |dump| open::owner_of(&dump.path));
    let mut paths: Vec<&str> = series.profile.mappings.iter().map(|mapping| mapping.path.as_str()).collect();
    paths.retain(|path| path.ends_with(SIDECAR));
    paths.sort_unstable();
    paths.dedup();
    let opened = paths.into_iter().filter_map(|path| Some((PathBuf::from(path), open::named(Path::new(path)).ok()?)));
    let is_its = |file: &File| file.metadata().is_ok_and(|meta| meta.uid() == owner) && Elf::read(file).is_ok();
    opened.filter(|(_, file)| is_its(file)).collect()
}

/// The arguments, regions among them written as dumps: what they hold must not change between the names
/// and the packing.
struct Staged {
    sources: Vec<Source>,
    folder: Option<PrivateFolder>,
}

impl Staged {
    fn new(arguments: &[PathBuf]) -> Result<Staged> {
        let mut notes = Vec::new();
        let mut staged = Staged { sources: Vec::new(), folder: None };
        for source in source::all(arguments, &mut notes)? {
            let source = match source {
                Source::Region(found) => Source::File { path: staged.dump(&found)?, is_typed: true },
                other => other,
            };
            staged.sources.push(source);
        }
        notes.iter().for_each(|note| say(note));
        Ok(staged)
    }

    fn dump(&mut self, found: &Found) -> Result<PathBuf> {
        let folder = PrivateFolder::of(&mut self.folder)?;
        let pid = region::snapshot(found)?.pid;
        let seq = self.sources.len() as u64;
        let name = DumpName { prefix: folder.join("live"), pid, seq, kind: DumpKind::Manual(seq) };
        let file = PathBuf::from(name.to_string());
        let (dump, told) = region::dump(found)?;
        told.iter().for_each(|note| say(note));
        whole_file::replace(&file, &mut |out| out.write_all(&dump))
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }
}

/// A folder that only this user can look into; removed with this value.
struct PrivateFolder(PathBuf);

/// How often another name is tried.
const NAMES: usize = 100;

impl PrivateFolder {
    /// Its path; made when it is first asked for.
    fn of(place: &mut Option<PrivateFolder>) -> Result<PathBuf> {
        let folder = match place.take() {
            Some(folder) => folder,
            None => PrivateFolder::make()?,
        };
        Ok(place.insert(folder).0.clone())
    }

    fn make() -> Result<PrivateFolder> {
        for number in 0..NAMES {
            let path = std::env::temp_dir().join(format!("heaptap-pack-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(PrivateFolder(path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
            }
        }
        bail!("{} is full of folders heaptap-pack-*: remove them", std::env::temp_dir().display())
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
