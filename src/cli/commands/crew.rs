//! Reads many lives, part by part, on all processors: the way of `fleet` and of `convert --to parquet`.
//!
//! Each worker reads the next part, names its lives and hands on what `work` makes of them; so there are never more
//! lives in memory than workers, whatever the size of the fleet. A part that cannot be read costs a note.

use super::inputs::Inputs;
use super::opened::Opened;
use super::terminal::Progress;
use crate::cli::attach::files;
use crate::cli::attach::fleet::Part;
use crate::cli::held::held;
use crate::cli::inert::say;
use crate::cli::profile::labels::Labels;
use crate::cli::profile::metric::Metric;
use crate::cli::profile::shape::Shape;
use crate::cli::symbolize::known::Known;
use anyhow::Result;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread;

/// Workers, at most: each holds a life, and names of files.
const MOST_WORKERS: usize = 8;
/// Notes that are told.
const MOST_NOTES: usize = 10;

/// How lives are read. A life that stands in several places, as in a folder and in a pack of it, counts once.
pub(super) struct Crew<'a> {
    /// Which lives, and what of them.
    inputs: &'a Inputs,
    /// What is measured.
    metric: Metric,
    /// The ages in every dump.
    all_ages: bool,
    /// Tokens of lives that were read.
    seen: Mutex<HashSet<String>>,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Read {
    pub(super) lives: usize,
    pub(super) dumps: usize,
}

/// What a worker hands on.
enum Word<T> {
    Made(T),
    /// A part is over: what was read of it, and what the user should know.
    Over(Read, Vec<String>),
}

impl<'a> Crew<'a> {
    /// One that reads what these arguments ask for.
    pub(super) fn new(inputs: &'a Inputs, metric: Metric, all_ages: bool) -> Crew<'a> {
        Crew { inputs, metric, all_ages, seen: Mutex::default() }
    }

    /// Has `work` look at every life, and `take` get what it makes of them, in no order. The first error of `take` ends
    /// it.
    pub(super) fn each<T: Send>(
        &self,
        parts: &[Part],
        work: impl Fn(Opened, &Labels, &mut dyn FnMut(T) -> bool) + Sync,
        take: &mut dyn FnMut(T) -> Result<()>,
    ) -> Result<Read> {
        let next = AtomicUsize::new(0);
        let workers = thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS).min(parts.len());
        let mut progress = Progress::new("reading parts of the fleet:");
        let (mut read, mut over, mut notes) = (Read::default(), 0, Vec::new());
        thread::scope(|scope| {
            let (sender, words) = mpsc::sync_channel(workers);
            for _ in 0..workers {
                let (sender, next, work) = (sender.clone(), &next, &work);
                scope.spawn(move || self.work(parts, next, work, &sender));
            }
            drop(sender);
            for word in words {
                match word {
                    // Dropping the channel's end, an error ends the workers.
                    Word::Made(made) => take(made)?,
                    Word::Over(part, told) => {
                        over += 1;
                        read.lives += part.lives;
                        read.dumps += part.dumps;
                        notes.extend(told);
                        progress.at(over, parts.len());
                    }
                }
            }
            Ok::<(), anyhow::Error>(())
        })?;
        drop(progress);
        notes.sort();
        tell(&notes);
        Ok(read)
    }

    fn work<T: Send>(
        &self,
        parts: &[Part],
        next: &AtomicUsize,
        work: &(impl Fn(Opened, &Labels, &mut dyn FnMut(T) -> bool) + Sync),
        sender: &SyncSender<Word<T>>,
    ) {
        let known = Rc::new(Known::default());
        // A counter that nothing else hangs on.
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut notes = Vec::new();
            let read = self.part(part, &known, &mut notes, &mut |opened| {
                work(opened, &part.labels, &mut |made| sender.send(Word::Made(made)).is_ok());
            });
            // Nobody listens any more.
            if sender.send(Word::Over(read, notes)).is_err() {
                return;
            }
        }
    }

    /// Opens the lives of a part one after the other.
    fn part(&self, part: &Part, known: &Rc<Known>, notes: &mut Vec<String>, each: &mut dyn FnMut(Opened)) -> Read {
        let Inputs { filters, symbols, pid, .. } = self.inputs;
        let by_thread = filters.threads;
        let shape = Shape { metric: self.metric, older_than: filters.older_than, by_thread, all_ages: self.all_ages };
        let found = match files::read(&part.sources, Vec::new(), shape, &mut |_, _| {}) {
            Ok(found) => found,
            Err(error) => {
                notes.push(format!("{error:#}"));
                return Read::default();
            }
        };
        notes.extend(found.notes);
        let mut read = Read::default();
        for series in found.series.into_iter().filter(|series| pid.is_none() || series.pid() == *pid) {
            let life = series.life();
            if !held(&self.seen).insert(life.clone()) {
                notes.push(format!(
                    "life {life} of process {} stands in several places; one of them counts",
                    series.pid().unwrap_or(0)
                ));
                continue;
            }
            let mut opened = symbols.name_among(series, &found.recorded, known);
            read.lives += 1;
            read.dumps += opened.series.dumps.len();
            // Of a life without such a stack nothing is left, which is no trouble among many.
            if self.inputs.look_at(&mut opened, self.metric, by_thread).is_ok() {
                each(opened);
            }
        }
        read
    }
}

/// Says some of many sentences.
fn tell(notes: &[String]) {
    notes.iter().take(MOST_NOTES).for_each(|note| say(note));
    if notes.len() > MOST_NOTES {
        say(&format!("and {} more such lines", notes.len() - MOST_NOTES));
    }
}
