//! Who holds the blocks of a place: what a search of the process's memory found, put to the vote.
//!
//! A place has many blocks, of which some are looked for. Each ends as held by something with a name, as lost, or as
//! unknown; those of one holder are one row. The verdict is the majority's, and what speaks against it is told. Pure:
//! the search itself is `attach/holders`.

pub(crate) mod graph;

use super::place::Place;
use graph::Doubt;
use serde::Serialize;

/// Where a block ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A variable of a program or library.
    Global,
    /// A field of a Java object that a root of the collector reaches.
    JavaField,
    /// Something in the Java heap.
    JavaHeap,
    /// A Java object that no root reaches: the next collection lets go of it.
    WaitsForCollector,
    /// A living thread.
    Thread,
    /// Other memory of the Java VM.
    Jvm,
    /// A mapping.
    Mapping,
    /// The kernel.
    Kernel,
    /// Nobody: lost.
    Lost,
    /// That cannot be said.
    CannotTell,
}

/// A block on the way from a holder to a block of the place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Link {
    /// Its size, bytes; `None`: it is no block of malloc's.
    pub(crate) bytes: Option<u64>,
    /// Where in it the pointer to the next one lies, bytes.
    pub(crate) offset: u64,
    /// The place that allocated it, where it is sampled, or what it is.
    pub(crate) allocated_by: Option<String>,
}

/// What became of one block.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Where it ends.
    pub(crate) kind: Kind,
    /// What that is, in words: `CACHE+0x10 of app`.
    pub(crate) holder: String,
    /// Bytes from its beginning, of a variable.
    pub(crate) offset: Option<u64>,
    /// From there to the block.
    pub(crate) chain: Vec<Link>,
    /// Why it cannot be told.
    pub(crate) doubt: Option<Doubt>,
    /// Bytes that it stands for.
    pub(crate) weight_bytes: f64,
    /// Objects that it stands for.
    pub(crate) weight_objects: f64,
}

/// Blocks of a place that one holder holds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Vote {
    /// Where they end.
    pub(crate) kind: Kind,
    /// What that is, in words.
    pub(crate) holder: String,
    /// Of a variable: bytes from its beginning, where all blocks hang on one place of it.
    pub(crate) offset: Option<u64>,
    /// How many of those that were looked for.
    pub(crate) blocks: usize,
    /// Bytes that these stand for.
    pub(crate) bytes: f64,
    /// Objects that these stand for.
    pub(crate) objects: f64,
    /// The shortest way from the holder to one of them.
    pub(crate) chain: Vec<Link>,
    /// Why it cannot be told.
    pub(crate) why: Option<&'static str>,
}

/// The answer for one place.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PlaceHolders {
    /// Its number in `heaptap report`.
    pub(crate) number: usize,
    /// The place.
    pub(crate) place: Place,
    /// Names of its frames, leaf first.
    pub(crate) frames: Vec<String>,
    /// Live bytes.
    pub(crate) bytes: f64,
    /// Live objects.
    pub(crate) objects: f64,
    /// Its live samples.
    pub(crate) samples: usize,
    /// How many of them were looked for.
    pub(crate) looked_for: usize,
    /// How many of these were freed meanwhile.
    pub(crate) freed: usize,
    /// Who holds them, most blocks first.
    pub(crate) votes: Vec<Vote>,
    /// What the majority says.
    pub(crate) verdict: Option<Kind>,
}

/// The whole answer.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Holders {
    /// Version of this form.
    pub(crate) schema: u32,
    /// The process.
    pub(crate) pid: u32,
    /// What it is called.
    pub(crate) title: Option<String>,
    /// The places.
    pub(crate) places: Vec<PlaceHolders>,
    /// Bytes of memory that were read, in all passes.
    pub(crate) read_bytes: u64,
    /// Passes over the memory.
    pub(crate) passes: usize,
    /// How long the search took, seconds.
    pub(crate) seconds: f64,
    /// Bytes that could not be read: swapped out.
    pub(crate) unread_bytes: u64,
    /// Threads whose registers were not seen.
    pub(crate) unseen_registers: usize,
    /// Whether blocks that are not sampled are known, so that chains can be followed through them.
    pub(crate) knows_blocks: bool,
}

impl Doubt {
    /// In words.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Doubt::Deep => "the chain goes on beyond --depth",
            Doubt::Many => "more pointers lead to it than were followed",
            Doubt::DeadStack => "only words in a part of a stack that may be dead point to it",
            Doubt::Freed => "only words in freed memory point to it",
            Doubt::Unread => "a part of the memory is swapped out and was not read",
            Doubt::Young => "it is younger than two seconds",
            Doubt::JavaWord => "a word in the Java heap points to it, and no object of the heap dump has it in a long",
            Doubt::JavaNote => {
                "only a Long or a long[] that no root reaches has its address, and their end frees nothing"
            }
            Doubt::JavaDropped => {
                "no root reaches the Java object that has it, and no cleaner or finalizer is there to free it: likely lost"
            }
            Doubt::JavaWay => "a Java object has it, and the way to that was too long to follow",
            Doubt::Registers => "nothing in memory points to it, and a register of a thread may",
        }
    }
}

impl PlaceHolders {
    /// Counts the outcomes of a place's blocks; `unseen`: threads whose registers nobody saw.
    pub(crate) fn vote(&mut self, mut outcomes: Vec<Outcome>, unseen: usize) {
        // Each thread may have one such block in hands at any time; more of them are more than registers hold.
        let lost: f64 = outcomes.iter().filter(|it| it.kind == Kind::Lost).map(|it| it.weight_objects.max(1.0)).sum();
        if lost <= unseen as f64 {
            for outcome in outcomes.iter_mut().filter(|outcome| outcome.kind == Kind::Lost) {
                (outcome.kind, outcome.doubt) = (Kind::CannotTell, Some(Doubt::Registers));
                outcome.holder.clear();
            }
        }
        self.votes.clear();
        for outcome in outcomes {
            let why = outcome.doubt.map(Doubt::word);
            let is_its = |vote: &&mut Vote| {
                let is_same = vote.kind == outcome.kind && vote.holder == outcome.holder && vote.why == why;
                is_same && owner(&vote.chain) == owner(&outcome.chain)
            };
            let vote = match self.votes.iter_mut().find(is_its) {
                Some(vote) => vote,
                None => {
                    self.votes.push(Vote {
                        kind: outcome.kind,
                        holder: outcome.holder,
                        offset: outcome.offset,
                        blocks: 0,
                        bytes: 0.0,
                        objects: 0.0,
                        chain: outcome.chain.clone(),
                        why,
                    });
                    let Some(vote) = self.votes.last_mut() else { continue };
                    vote
                }
            };
            vote.blocks += 1;
            vote.offset = vote.offset.filter(|offset| Some(*offset) == outcome.offset);
            vote.bytes += outcome.weight_bytes;
            vote.objects += outcome.weight_objects;
            if (outcome.chain.len(), &outcome.chain) < (vote.chain.len(), &vote.chain) {
                vote.chain = outcome.chain;
            }
        }
        self.votes.sort_by(|a, b| b.blocks.cmp(&a.blocks).then_with(|| (a.kind, &a.holder).cmp(&(b.kind, &b.holder))));
        self.verdict = self.majority();
    }

    /// The kind that most blocks end as, where it is more than half of those of which something can be told.
    fn majority(&self) -> Option<Kind> {
        let told = || self.votes.iter().filter(|vote| vote.kind != Kind::CannotTell);
        let all: usize = told().map(|vote| vote.blocks).sum();
        let of = |kind: Kind| told().filter(|vote| vote.kind == kind).map(|vote| vote.blocks).sum::<usize>();
        let best = told().map(|vote| vote.kind).max_by_key(|kind| of(*kind));
        match best {
            Some(kind) if of(kind) * 2 > all => Some(kind),
            _ if self.votes.is_empty() => None,
            _ if all == 0 => Some(Kind::CannotTell),
            _ => None,
        }
    }
}

/// The Java field or other thing at the end of the way to the first block: what owns that.
fn owner(chain: &[Link]) -> Option<&str> {
    chain.iter().rev().find(|link| link.bytes.is_none())?.allocated_by.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> PlaceHolders {
        PlaceHolders {
            number: 1,
            place: Place::default(),
            frames: Vec::new(),
            bytes: 0.0,
            objects: 0.0,
            samples: 0,
            looked_for: 0,
            freed: 0,
            votes: Vec::new(),
            verdict: None,
        }
    }

    fn outcome(kind: Kind, holder: &str, links: usize) -> Outcome {
        let link = Link { bytes: Some(64), offset: 8, allocated_by: None };
        Outcome {
            kind,
            holder: holder.to_owned(),
            offset: None,
            chain: vec![link; links],
            doubt: (kind == Kind::CannotTell).then_some(Doubt::Freed),
            weight_bytes: 100.0,
            weight_objects: 2.0,
        }
    }

    #[test]
    fn the_majority_of_those_that_can_be_told_decides() {
        let mut it = place();
        let global = || outcome(Kind::Global, "cache of app", 3);
        let unknown = || outcome(Kind::CannotTell, "", 0);
        it.vote(vec![global(), outcome(Kind::Global, "cache of app", 1), outcome(Kind::Lost, "", 0), unknown()], 1);
        assert_eq!((it.verdict, it.votes.len()), (Some(Kind::Global), 3));
        let first = &it.votes[0];
        assert_eq!((first.blocks, first.bytes, first.chain.len()), (2, 200.0, 1));
        it.vote(vec![global(), outcome(Kind::Lost, "", 0)], 0);
        assert_eq!(it.verdict, None);
        it.vote(vec![unknown(), unknown()], 0);
        assert_eq!(
            (it.verdict, it.votes[0].why),
            (Some(Kind::CannotTell), Some("only words in freed memory point to it"))
        );
    }

    #[test]
    fn as_few_as_registers_may_hold_are_not_called_lost() {
        let mut it = place();
        let lost = || outcome(Kind::Lost, "", 0);
        it.vote(vec![lost()], 2);
        assert_eq!((it.verdict, it.votes[0].kind), (Some(Kind::CannotTell), Kind::CannotTell));
        it.vote(vec![lost(), lost()], 2);
        assert_eq!(it.verdict, Some(Kind::Lost));
    }
}
