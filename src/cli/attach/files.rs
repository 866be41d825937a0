//! Dumps named on the command line: reads them all and sorts them into process lives. A file that cannot be read costs
//! a note, not the report.

use super::pack::{self, Input};
use super::region;
use super::source::Source;
use crate::cli::open;
use crate::cli::profile::Profile;
use crate::cli::profile::heap_v2;
use crate::cli::profile::series::{Series, SeriesBuilder, SeriesKey};
use crate::cli::profile::shape::Shape;
use crate::cli::symbolize::recorded::Recorded;
use crate::wire::dump_name::DumpName;
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
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

/// Reads all dumps of these sources. Fails if there is none. `notes`: what is to be told of them already.
pub(crate) fn read(
    sources: &[Source],
    notes: Vec<String>,
    shape: Shape,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Found> {
    let mut reader = Reader { shape, notes, ..Reader::default() };
    for (index, source) in sources.iter().enumerate() {
        progress(index, sources.len());
        if let Err(error) = reader.read(source) {
            reader.notes.push(format!("{}: {error:#}; ignored", source.path().display()));
        }
    }
    let Reader { lives, recorded, notes, .. } = reader;
    if lives.is_empty() {
        let told = notes.iter().map(|note| format!("\n  {note}")).collect::<String>();
        bail!("none of the {} files is a heap profile{told}", sources.len());
    }
    let mut series: Vec<Series> = lives.into_values().flatten().map(SeriesBuilder::finish).collect();
    let bytes = |series: &Series| series.last().map_or(0.0, |dump| dump.total.bytes);
    series.sort_by(|a, b| bytes(b).total_cmp(&bytes(a)).then_with(|| a.pid().cmp(&b.pid())));
    Ok(Found { series, recorded: Rc::new(recorded), notes })
}

/// Reads dumps and sorts them by the life that wrote them.
#[derive(Default)]
struct Reader {
    shape: Shape,
    lives: BTreeMap<SeriesKey, Vec<SeriesBuilder>>,
    recorded: Recorded,
    notes: Vec<String>,
}

impl Reader {
    fn read(&mut self, source: &Source) -> Result<()> {
        match source {
            Source::Stdin => {
                self.read_input(source.path(), Box::new(BufReader::new(io::stdin())), Some(SystemTime::now()))
            }
            Source::Region(found) => {
                let (profile, told) = region::profile(found)?;
                self.notes.extend(told);
                self.add(&found.path, Some(SystemTime::now()), profile)
            }
            Source::File { path, is_typed } => {
                let file = if *is_typed { open::typed(path)? } else { open::listed(path)? };
                let meta = file.metadata()?;
                self.read_input(path, Box::new(BufReader::new(file)), meta.modified().ok())
            }
        }
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
        let builders = self.lives.entry(SeriesKey::of(&profile, name.as_ref())).or_default();
        // The same number twice is another life that the addresses did not tell apart.
        match builders.iter_mut().find(|builder| !builder.holds(name.as_ref())) {
            Some(builder) => builder.add(path.to_owned(), modified, profile),
            None => {
                let all_ages = self.shape.all_ages;
                let mut builder = if all_ages { SeriesBuilder::all_ages() } else { SeriesBuilder::default() };
                builder.add(path.to_owned(), modified, profile);
                builders.push(builder);
            }
        }
        Ok(())
    }
}
