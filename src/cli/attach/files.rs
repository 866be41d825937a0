//! Dumps named on the command line: reads them all and sorts them into process lives.
//!
//! Accepts what users of jeprof type: a program in front of the dumps (ignored, the dump knows its
//! program), directories, quoted patterns, files of several processes in one glob. A file that cannot be read costs
//! a note, not the report.

use super::pack::{self, Input};
use super::{glob, lives, region};
use crate::cli::profile::Profile;
use crate::cli::profile::heap_v2;
use crate::cli::profile::series::{Life, Series, SeriesBuilder};
use crate::cli::profile::shape::Shape;
use crate::cli::symbolize::recorded::Recorded;
use crate::wire::dump_name::DumpName;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

/// What the arguments held.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// One per process life, most live bytes first.
    pub(crate) series: Vec<Series>,
    /// Names that came with them, in packs.
    pub(crate) recorded: Rc<Recorded>,
    /// What the user should know, one sentence each.
    pub(crate) notes: Vec<String>,
}

/// Reads all dumps that `arguments` name. Fails if there is none.
pub(crate) fn read(arguments: &[PathBuf], shape: Shape, progress: &mut dyn FnMut(usize, usize)) -> Result<Found> {
    let mut reader = Reader { shape, ..Reader::default() };
    let paths = expand(arguments, &mut reader.notes)?;
    for (index, path) in paths.iter().enumerate() {
        progress(index, paths.len());
        if let Err(error) = reader.read(path) {
            reader.notes.push(format!("{}: {error:#}; ignored", path.display()));
        }
    }
    let Reader { lives, recorded, notes, .. } = reader;
    if lives.is_empty() {
        let told = notes.iter().map(|note| format!("\n  {note}")).collect::<String>();
        bail!("none of the {} files is a heap profile{told}", paths.len());
    }
    let mut series: Vec<Series> = lives.into_values().flatten().map(SeriesBuilder::finish).collect();
    let bytes = |series: &Series| series.last().map_or(0.0, |dump| dump.total.bytes);
    series.sort_by(|a, b| bytes(b).total_cmp(&bytes(a)).then_with(|| a.pid().cmp(&b.pid())));
    Ok(Found { series, recorded: Rc::new(recorded), notes })
}

/// Files in the order given, each once; directories stand for the dumps in them.
pub(crate) fn expand(arguments: &[PathBuf], notes: &mut Vec<String>) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for (index, argument) in arguments.iter().enumerate() {
        let pid = argument.to_str().and_then(|text| text.parse().ok());
        if let Some(pid) = pid.filter(|_| !argument.exists()) {
            paths.push(lives::of_process(pid, &lives::usual_folders())?.path);
        } else if glob::is_pattern(argument) {
            let fitting = glob::expand(argument);
            if fitting.is_empty() {
                bail!("no file fits `{}`", argument.display());
            }
            paths.extend(fitting);
        } else if argument.is_dir() {
            paths.extend(dumps_in(argument)?);
        } else if index == 0 && arguments.len() > 1 && is_program(argument) {
            notes.push(format!("`{}` is ignored: a dump knows its program", argument.display()));
        } else {
            paths.push(argument.clone());
        }
    }
    let mut seen = HashSet::new();
    paths.retain(|path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
    Ok(paths)
}

/// Whether an argument is the program that jeprof wants in front: an ELF file or a bare name.
fn is_program(path: &Path) -> bool {
    let mut magic = [0; 4];
    match File::open(path) {
        Ok(mut file) => file.read_exact(&mut magic).is_ok() && magic == *b"\x7fELF",
        Err(_) => path != Path::new("-") && path.extension().is_none() && path.components().count() == 1,
    }
}

fn dumps_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory).with_context(|| format!("listing {}", directory.display()))?;
    let mut dumps: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    dumps.retain(|path| path.extension().is_some_and(|extension| extension == "heap" || extension == "live"));
    dumps.sort();
    for path in &mut dumps {
        // What still is in memory is newer than its mirror.
        if let Some(region) = lives::region_of(path) {
            *path = region;
        }
    }
    if dumps.is_empty() {
        bail!(
            "{} holds no *.heap and no *.live file: name the directory that `prof_prefix` points to",
            directory.display()
        );
    }
    Ok(dumps)
}

/// Reads dumps and sorts them by the life that wrote them.
#[derive(Default)]
struct Reader {
    shape: Shape,
    lives: BTreeMap<Life, Vec<SeriesBuilder>>,
    recorded: Recorded,
    notes: Vec<String>,
}

impl Reader {
    /// A dump, a pack, a region, or stdin.
    fn read(&mut self, path: &Path) -> Result<()> {
        if path == Path::new("-") {
            return self.read_input(path, Box::new(BufReader::new(io::stdin())), Some(SystemTime::now()));
        }
        if region::is_region(path) {
            let (dump, told) = region::dump(&lives::of_file(path))?;
            self.notes.extend(told);
            return self.add(path, Some(SystemTime::now()), heap_v2::parse(dump.as_slice())?);
        }
        let file = File::open(path)?;
        let meta = file.metadata()?;
        if meta.is_dir() {
            bail!("a directory");
        }
        self.read_input(path, Box::new(BufReader::with_capacity(1 << 18, file)), meta.modified().ok())
    }

    fn read_input(&mut self, path: &Path, input: Box<dyn BufRead>, modified: Option<SystemTime>) -> Result<()> {
        match pack::open(input)? {
            Input::Dump(text) => self.add(path, modified, heap_v2::parse(text)?),
            Input::Pack(mut input) => {
                let mut recorded = std::mem::take(&mut self.recorded);
                let read = pack::read(&mut input, &mut recorded, &mut |name, modified, text| {
                    let path = path.join(name);
                    let parsed = heap_v2::parse(text).map_err(anyhow::Error::from);
                    if let Err(error) = parsed.and_then(|profile| self.add(&path, modified, profile)) {
                        self.notes.push(format!("{}: {error}; ignored", path.display()));
                    }
                });
                self.recorded = recorded;
                read
            }
        }
    }

    fn add(&mut self, path: &Path, modified: Option<SystemTime>, mut profile: Profile) -> Result<()> {
        self.shape.apply(&mut profile)?;
        self.notes.extend(profile.warnings.lines().map(|warning| format!("{}: {warning}", path.display())));
        let name = DumpName::parse(path);
        let builders = self.lives.entry(Life::of(&profile, name.as_ref())).or_default();
        // The same number twice is another life that the addresses did not tell apart.
        match builders.iter_mut().find(|builder| !builder.holds(name.as_ref())) {
            Some(builder) => builder.add(path.to_owned(), modified, profile),
            None => {
                let mut builder = SeriesBuilder::default();
                builder.add(path.to_owned(), modified, profile);
                builders.push(builder);
            }
        }
        Ok(())
    }
}
