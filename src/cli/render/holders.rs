//! Who holds what, for people.

use super::Renderer;
use super::layout::{Layout, clean, cut_middle, wrap_below};
use super::units::{bytes, count};
use crate::cli::analyze::holders::{Holders, Kind, Link, PlaceHolders, Vote};
use std::io::{self, Write};

/// Links of a chain that are shown.
const LINKS: usize = 8;

/// How to lay it out.
#[derive(Clone, Debug)]
pub(crate) struct HoldersText {
    /// The page.
    pub(crate) layout: Layout,
}

impl Renderer<Holders> for HoldersText {
    fn render(&self, holders: &Holders, out: &mut dyn Write) -> io::Result<()> {
        for place in &holders.places {
            self.place(place, out)?;
            writeln!(out)?;
        }
        let seconds = holders.seconds;
        let read = bytes(holders.read_bytes as f64);
        self.note(&format!("{read} of memory read in {} passes, {seconds:.1} s", holders.passes), out)?;
        if holders.unread_bytes > 0 {
            let unread = bytes(holders.unread_bytes as f64);
            self.note(&format!("{unread} are swapped out and were not read: nothing is called lost"), out)?;
        }
        if !holders.knows_blocks {
            let why = "the blocks of this process's allocator are not known: chains end where they enter its memory";
            self.note(why, out)?;
        }
        let is_close =
            |place: &PlaceHolders| place.votes.iter().any(|vote| vote.why.is_some_and(|why| why.contains("register")));
        if holders.places.iter().any(is_close) {
            let threads = count(holders.unseen_registers as f64);
            let why = format!("registers are not seen from outside ({threads} threads): so few blocks may be in them");
            self.note(&why, out)?;
        }
        Ok(())
    }
}

impl HoldersText {
    fn place(&self, place: &PlaceHolders, out: &mut dyn Write) -> io::Result<()> {
        let figures = format!("{:>2}. {:>9} {:>9} objects  ", place.number, bytes(place.bytes), count(place.objects));
        let room = self.layout.width.saturating_sub(figures.chars().count()).max(24);
        let label = cut_middle(&clean(&place.place.label_within(room)), room);
        writeln!(out, "{}", self.layout.bold(&format!("{figures}{label}")))?;
        let freed = if place.freed > 0 { format!(", {} freed meanwhile", place.freed) } else { String::new() };
        let verdict = place.verdict.map_or("no one answer", word);
        let of = format!("{verdict}: {} of {} sampled blocks looked for{freed}", place.looked_for, place.samples);
        writeln!(out, "    {}", self.layout.line(&of))?;
        place.votes.iter().try_for_each(|vote| self.vote(vote, out))
    }

    fn vote(&self, vote: &Vote, out: &mut dyn Write) -> io::Result<()> {
        let text = match (vote.kind, vote.why) {
            (Kind::CannotTell, why) => format!("cannot tell: {}", why.unwrap_or("nothing is known of it")),
            (Kind::Lost, _) => format!("lost: {}", clean(&vote.holder)),
            (Kind::WaitsForCollector, _) => format!("waits for the collector: {}", clean(&vote.holder)),
            _ => format!("held by {}", clean(&holder(vote))),
        };
        let figures = format!("{:>7} blocks ({})  ", vote.blocks, bytes(vote.bytes));
        let indent = figures.chars().count();
        let lines = wrap_below(&format!("{figures}{text}"), self.layout.width, indent);
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        if vote.chain.is_empty() {
            return Ok(());
        }
        let mut chain: Vec<String> = vote.chain.iter().take(LINKS).map(link).collect();
        if vote.chain.len() > LINKS {
            chain.push(format!("{} more", vote.chain.len() - LINKS));
        }
        let chain = format!("{:indent$}through {}", "", chain.join(" -> "));
        let lines = wrap_below(&chain, self.layout.width, indent + 2);
        lines.iter().try_for_each(|line| writeln!(out, "{}", self.layout.dim(line)))
    }

    fn note(&self, text: &str, out: &mut dyn Write) -> io::Result<()> {
        wrap_below(text, self.layout.width, 0).iter().try_for_each(|line| writeln!(out, "{}", self.layout.dim(line)))
    }
}

/// A class without its package: `HashMap$Node.value`.
fn shorter(name: &str) -> String {
    let (class, field) = name.rsplit_once('.').unwrap_or((name, ""));
    let class = class.rsplit('.').next().unwrap_or(class);
    if name.ends_with("[]") || field.is_empty() {
        return name.rsplit('.').next().unwrap_or(name).to_owned();
    }
    format!("{class}.{field}")
}

/// The word for where blocks end.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Global => "held by a global",
        Kind::JavaField => "held by a Java object",
        Kind::JavaHeap => "held by the Java heap",
        Kind::WaitsForCollector => "waits for the collector",
        Kind::Thread => "held by a thread",
        Kind::Jvm => "held by the Java VM",
        Kind::Mapping => "held by mapped memory",
        Kind::Kernel => "held by the kernel",
        Kind::Lost => "lost",
        Kind::CannotTell => "cannot tell",
    }
}

/// `cache+0x10 of app`.
fn holder(vote: &Vote) -> String {
    match (vote.offset.filter(|offset| *offset > 0), vote.holder.split_once(" of ")) {
        (Some(offset), Some((name, library))) => format!("{name}+{offset:#x} of {library}"),
        _ => vote.holder.clone(),
    }
}

fn link(link: &Link) -> String {
    let by = link.allocated_by.as_ref().map_or(String::new(), |by| format!(" of {}", clean(by)));
    match link.bytes {
        Some(size) => format!("block of {} bytes{by} at +{}", size, link.offset),
        None => shorter(by.trim_start_matches(" of ")),
    }
}
