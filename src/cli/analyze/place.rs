//! How a place is shown: the one naming that every report speaks.
//!
//!     libonnxruntime.so  20 frames without names     what allocates: nameless frames fold to their library,
//!     ai.onnxruntime.OrtSession.run                  and the nearest frame that has a name
//!     … 2 frames
//!     de.models.Scorer.run                           what the user's own method calls
//!     com.shop.Ranking.score                         the user's own method (`own`), and what calls it
//!     com.shop.Search.rank
//!     … from com.shop.Server.main                    where the thread entered
//!
//! In one line: `ai.onnxruntime.OrtSession.run <- com.shop.Ranking.score`. Where that is too long, the user's own
//! method stays and what allocates goes, then its package. Pure: names in, names out.

use crate::cli::profile::location::{Function, Origin};
use serde::Serialize;

/// Frames of the user's own code that are shown, with the own one.
const OWN_SHOWN: usize = 3;
/// Lines shown from the allocation on, before frames are skipped.
const HEAD: usize = 2;

/// A frame as it is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'a> {
    name: &'a str,
    library: &'a str,
    has_name: bool,
}

/// A place in the words of all reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    /// What allocates: the nearest frame that has a name, else the library.
    pub(crate) allocates: String,
    /// The user's own method.
    pub(crate) own: Option<String>,
    /// Where the thread entered, if it is neither.
    pub(crate) entry: Option<String>,
    /// What calls the user's own method, if that is what allocates.
    #[serde(skip)]
    caller: Option<String>,
    /// The lines of its stack.
    #[serde(skip)]
    lines: Vec<Shown>,
    /// Which of them is the own frame's.
    #[serde(skip)]
    own_line: Option<usize>,
}

/// A line of a shown stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The frame with that number.
    Frame(usize),
    /// So many frames of a library, none of which has a name.
    Nameless(String, usize),
    /// So many frames that are not shown.
    Skipped(usize),
    /// Where the thread entered, further out.
    Entry(String),
}

impl<'a> Word<'a> {
    /// Of a function.
    pub(crate) fn of(function: &'a Function) -> Word<'a> {
        let has_name = function.origin != Origin::Unknown || function.name.starts_with('[');
        Word { name: &function.name, library: &function.library, has_name }
    }
}

impl Place {
    /// Of frames from the allocation outwards, with the number of the own one and the thread's entry.
    pub(crate) fn of(frames: &[Word<'_>], own: Option<usize>, entry: Option<Word<'_>>) -> Place {
        // Nothing has a name before the own frame: then the library says what allocates.
        let before_own = own.map_or(frames.len(), |own| own.max(1));
        let named = || frames.iter().take(before_own).filter(|word| word.has_name).map(|word| word.name);
        // A JNI stub says the same as the Java method that stands above it, and less legibly.
        let named = named().find(|name| !name.starts_with("Java_")).or_else(|| named().next());
        let leaf = || frames.first().map(|word| if own == Some(0) { word.name } else { word.library_or_name() });
        let allocates = named.or_else(leaf).unwrap_or("an empty stack");
        let (lines, own_line) = fold(frames, own);
        let caller = frames.get(1).filter(|_| own == Some(0));
        let is_shown = |word: &Word<'_>| frames.iter().any(|frame| frame.name == word.name);
        Place {
            allocates: allocates.to_owned(),
            own: own.and_then(|own| Some(frames.get(own)?.name.to_owned())),
            entry: entry.filter(|word| !is_shown(word)).map(|word| word.name.to_owned()),
            caller: caller.map(|word| word.name.to_owned()),
            lines,
            own_line,
        }
    }

    /// Of all that goes through frames of a name.
    pub(crate) fn of_name(name: &str) -> Place {
        Place { allocates: name.to_owned(), lines: vec![Shown::Frame(0)], ..Place::default() }
    }

    /// It in a line: what allocates, and the user's own method; or that one's caller, where it allocates itself.
    pub(crate) fn label(&self) -> String {
        let own = self.own.as_ref().filter(|own| **own != self.allocates);
        match own.or(self.caller.as_ref()) {
            Some(outer) => format!("{} <- {outer}", self.allocates),
            None => self.allocates.clone(),
        }
    }

    /// The same in at most `room` characters, if that can be: the user's own method stays longest. What is still
    /// longer is the caller's to cut.
    pub(crate) fn label_within(&self, room: usize) -> String {
        let (main, allocates) = (self.own.as_ref().unwrap_or(&self.allocates), without_package(&self.allocates));
        let short = without_package(main);
        let both = |outer: &str| (main != &self.allocates).then(|| format!("{allocates} <- {outer}"));
        let choices = [Some(self.label()), both(main), both(short), Some(main.clone())];
        let mut fitting = choices.into_iter().flatten().filter(|choice| choice.chars().count() <= room);
        fitting.next().unwrap_or_else(|| short.to_owned())
    }

    /// The lines of its stack: at most `most` of its frames, never without what allocates, the own frame and the entry.
    pub(crate) fn lines(&self, most: usize) -> Vec<Shown> {
        let own = self.own_line.unwrap_or(0);
        let count = self.lines.len();
        let mut shown = if count <= most.max(HEAD + OWN_SHOWN) || own <= HEAD {
            self.lines.get(..count.min(most)).unwrap_or_default().to_vec()
        } else {
            let head = HEAD + usize::from(matches!(self.lines.first(), Some(Shown::Nameless(..))));
            // What the own method called is the last of what is skipped.
            let (head, callee) = (head.min(own - 1), own - 1);
            let tail = most.saturating_sub(HEAD).max(1) + 1;
            let skipped = self.lines.get(head..callee).unwrap_or_default().iter().map(Shown::frames).sum();
            let first = self.lines.iter().take(head).cloned();
            let skipped = (skipped > 0).then_some(Shown::Skipped(skipped));
            first.chain(skipped).chain(self.lines.iter().skip(callee).take(tail).cloned()).collect()
        };
        shown.extend(self.entry.clone().map(Shown::Entry));
        shown
    }
}

impl Shown {
    /// The line; `name` tells a frame's.
    pub(crate) fn words<'a>(&'a self, name: impl FnOnce(usize) -> &'a str) -> String {
        match self {
            Shown::Frame(index) => name(*index).to_owned(),
            Shown::Nameless(library, count) => format!("{library}  {count} frames without names"),
            Shown::Skipped(1) => "… 1 frame".to_owned(),
            Shown::Skipped(count) => format!("… {count} frames"),
            Shown::Entry(name) => format!("… from {name}"),
        }
    }

    fn frames(&self) -> usize {
        match self {
            Shown::Frame(_) => 1,
            Shown::Nameless(_, count) | Shown::Skipped(count) => *count,
            Shown::Entry(_) => 0,
        }
    }
}

impl<'a> Word<'a> {
    fn library_or_name(&self) -> &'a str {
        if self.library.is_empty() { self.name } else { self.library }
    }
}

/// One line a frame; frames of one library without names, two or more in a row, are one. Also the own frame's line.
fn fold(frames: &[Word<'_>], own: Option<usize>) -> (Vec<Shown>, Option<usize>) {
    let (mut lines, mut own_line, mut at) = (Vec::new(), None, 0);
    while let Some(word) = frames.get(at) {
        let is_same = |(index, other): &(usize, &Word<'_>)| {
            !other.has_name && other.library == word.library && Some(*index) != own
        };
        let run = frames.iter().enumerate().skip(at).take_while(is_same).count();
        if run >= 2 && !word.library.is_empty() {
            lines.push(Shown::Nameless(word.library.to_owned(), run));
            at += run;
            continue;
        }
        if Some(at) == own {
            own_line = Some(lines.len());
        }
        lines.push(Shown::Frame(at));
        at += 1;
    }
    (lines, own_line)
}

/// `Catalog.unpack` of `com.shop.Catalog.unpack`, and other names as they are.
fn without_package(name: &str) -> &str {
    let starts = name.match_indices('.').map(|(at, _)| at + 1);
    let is_class = |at: &usize| name.get(*at..).is_some_and(|rest| rest.starts_with(|c: char| c.is_uppercase()));
    let is_package = |at: &usize| name.get(..*at).is_some_and(|head| head.chars().all(is_of_package));
    starts.clone().find(is_class).filter(is_package).and_then(|at| name.get(at..)).unwrap_or(name)
}

fn is_of_package(c: char) -> bool {
    c == '.' || c == '_' || c.is_alphanumeric()
}
