//! Classes of resident memory for people: one line each, with where to look; and a table over time.

use super::Renderer;
use super::kept;
use super::layout::{Layout, clean, cut, wrap};
use super::units::{bytes, change, duration, share};
use super::words::called;
use crate::cli::analyze::mapped::MappedPlace;
use crate::cli::analyze::resident::{Change, Moment, Past, Resident};
use crate::cli::analyze::rss::Class;
use crate::cli::profile::timestamp;
use std::io::{self, Write};

/// Width of a column of the table.
const COLUMN: usize = 10;
/// Most classes that the table has columns for.
const MOST_COLUMNS: usize = 7;
/// Parts of a change that are told.
const MOST_PARTS: usize = 5;

/// How to lay it out.
#[derive(Clone, Debug)]
pub(crate) struct RssText {
    /// The page.
    pub(crate) layout: Layout,
    /// Moments of the table.
    pub(crate) moments: usize,
}

impl Renderer<Resident> for RssText {
    fn render(&self, resident: &Resident, out: &mut dyn Write) -> io::Result<()> {
        let account = &resident.account;
        writeln!(out, "{}\n", self.layout.bold(&cut(&clean(&head(resident)), self.layout.width)))?;
        let longest = account.classes.iter().map(|part| part.class.title().chars().count()).max().unwrap_or(0).max(16);
        for part in &account.classes {
            let figures = format!(
                "{:>10} {:>7}  {:<longest$}",
                bytes(part.bytes as f64),
                share(part.bytes as f64 / account.rss_bytes.max(1) as f64),
                part.class.title()
            );
            let room = self.layout.width.saturating_sub(figures.chars().count() + 2);
            let advice = part.class.advice_for(resident.is_jvm, resident.allocator.is_some());
            writeln!(out, "{figures}  {}", self.layout.dim(&cut(advice, room)))?;
        }
        if account.bytes(Class::Malloc) > 0 {
            let note = "malloc is not divided into live and retained: the process is not under heaptap.";
            writeln!(out, "\n{}", self.layout.dim(&cut(note, self.layout.width)))?;
        }
        if let Some(kept) = resident.allocator.as_ref().and_then(|kept| kept::sentence(kept, resident.pid)) {
            writeln!(out)?;
            wrap(&kept, self.layout.width).iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        for found in &resident.allocators {
            let library = clean(found.library.rsplit('/').next().unwrap_or(&found.library));
            let note = format!(
                "{library} carries its own {}: what it allocates is anonymous memory, not from malloc, and in no profile.",
                found.allocator
            );
            writeln!(out)?;
            wrap(&note, self.layout.width).iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        resident.past.as_ref().map_or(Ok(()), |past| self.table(past, out))
    }
}

impl RssText {
    fn table(&self, past: &Past, out: &mut dyn Write) -> io::Result<()> {
        let columns = Columns::of(past, self.layout.width);
        writeln!(out, "\n{}", self.layout.bold(&columns.titles()))?;
        for moment in past.some(self.moments) {
            writeln!(out, "{}", columns.row(moment))?;
        }
        let Some(change) = &past.change else { return Ok(()) };
        writeln!(out)?;
        wrap(&sentence(change), self.layout.width).iter().try_for_each(|line| writeln!(out, "{line}"))
    }
}

/// What the table tells beside the classes, if there is room: what a group with a limit uses, and of a Java heap how
/// much is committed and in use.
type Beside = (&'static str, fn(&Moment) -> Option<u64>);
const BESIDE: [Beside; 3] = [
    ("group", |moment| moment.group_used_bytes.filter(|_| moment.group_limit_bytes.is_some())),
    ("committed", |moment| moment.java_committed_bytes),
    ("heap used", |moment| moment.java_used_bytes),
];

/// The columns of the table over time.
struct Columns {
    classes: Vec<Class>,
    beside: Vec<Beside>,
    /// When the last moment was.
    now: f64,
}

impl Columns {
    /// Those that say something and fit. At least three classes come before what is beside them.
    fn of(past: &Past, width: usize) -> Columns {
        let room = (width.saturating_sub(10 + 3 * COLUMN) / COLUMN).max(1);
        let is_told = |(_, of): &Beside| past.moments.iter().any(|moment| of(moment).is_some());
        let beside: Vec<Beside> = BESIDE.into_iter().filter(is_told).take(room.saturating_sub(3)).collect();
        let classes = past.classes((room - beside.len()).clamp(1, MOST_COLUMNS));
        Columns { classes, beside, now: past.moments.last().map_or(0.0, |last| last.time) }
    }

    fn titles(&self) -> String {
        let classes = self.classes.iter().map(|class| short(*class));
        let beside = self.beside.iter().map(|(title, _)| *title);
        let all = ["resident"].into_iter().chain(classes).chain(beside).chain(["threads", "fds"]);
        all.fold(format!("{:<10}", "time (UTC)"), |line, title| format!("{line}{title:>COLUMN$}"))
    }

    fn row(&self, moment: &Moment) -> String {
        let size = |value: u64| bytes(value as f64).replace(' ', "").replace("iB", "");
        let known = |value: Option<u64>, text: fn(u64) -> String| value.map_or_else(|| "-".to_owned(), text);
        let classes = self.classes.iter().map(|class| size(moment.account.bytes(*class)));
        let beside = self.beside.iter().map(|(_, of)| of(moment).map_or_else(|| "-".to_owned(), size));
        let numbers = [moment.threads, moment.descriptors].map(|number| known(number, |number| number.to_string()));
        let all = [size(moment.account.rss_bytes)].into_iter().chain(classes).chain(beside).chain(numbers);
        all.fold(format!("{:<10}", self.time(moment)), |line, figure| format!("{line}{figure:>COLUMN$}"))
    }

    /// The time of day; of a table over days the day, too.
    fn time(&self, moment: &Moment) -> String {
        let display = timestamp::display(moment.time);
        let (day, clock) = display.split_once(' ').unwrap_or(("", &display));
        let clock = clock.trim_end_matches(" UTC");
        match self.now - moment.time < 86_400.0 {
            true => clock.to_owned(),
            false => format!("{} {}", day.get(5..).unwrap_or_default(), clock.get(..5).unwrap_or_default()),
        }
    }
}

/// `java (pid 7): 3.1 GiB resident; its control group uses 3.4 GiB of 4 GiB`.
fn head(resident: &Resident) -> String {
    let account = &resident.account;
    let who = called(resident.title.as_deref().unwrap_or("process"), resident.pid);
    let limit = match (resident.memory_used_bytes, resident.memory_limit_bytes) {
        (Some(used), Some(limit)) => {
            format!("; its control group uses {} of {}", bytes(used as f64), bytes(limit as f64))
        }
        _ => String::new(),
    };
    let swap = match account.swap_bytes {
        0 => String::new(),
        swapped => format!("; {} swapped out", bytes(swapped as f64)),
    };
    format!("{who}: {} resident{swap}{limit}", bytes(account.rss_bytes as f64))
}

/// A class's title in a column.
fn short(class: Class) -> &'static str {
    match class {
        Class::JavaHeap => "Java heap",
        Class::Metaspace => "metaspace",
        Class::GcStructures => "GC",
        Class::CodeCache => "code",
        Class::JvmOther => "JVM",
        Class::ThreadStacks => "stacks",
        Class::Malloc => "malloc",
        Class::MallocLive => "live",
        Class::MallocRetained => "retained",
        Class::Tap => "heaptap",
        Class::MappedFiles => "files",
        Class::Shared => "shared",
        Class::Other => "other",
    }
}

/// `+3 GiB resident since 12:00 UTC (2 h): malloc, live +2.6 GiB; thread stacks +300 MiB (+310 threads)`.
pub(crate) fn sentence(difference: &Change) -> String {
    let threads = difference.threads.filter(|threads| *threads != 0);
    let descriptors = difference.descriptors.filter(|more| more.abs() >= 100);
    let part = |(class, more): (Class, f64)| {
        let why = match (class, threads) {
            (Class::ThreadStacks, threads) => started(threads, difference),
            _ => String::new(),
        };
        format!("{} {}{why}", class.title(), change(more))
    };
    let parts: Vec<String> =
        difference.parts.iter().take(MOST_PARTS).map(|found| part((found.class, found.bytes))).collect();
    let descriptors = descriptors.map_or(String::new(), |more| format!("; {more:+} open descriptors"));
    let since = timestamp::display(difference.since);
    let total = change(difference.bytes);
    let long = duration(difference.seconds);
    let mapped: Vec<String> = difference.mapped.iter().filter(|place| place.what != "thread").map(grown).collect();
    let mapped = if mapped.is_empty() { String::new() } else { format!(". Mapped since: {}", mapped.join("; ")) };
    format!("{total} resident since {since} ({long}): {}{descriptors}{mapped}", parts.join("; "))
}

/// ` (+310 threads, 305 of them started by PoolX.run)`.
fn started(threads: Option<i64>, difference: &Change) -> String {
    let place = difference.mapped.iter().find(|place| place.what == "thread");
    let starter = place.and_then(|place| Some((place, place.grown_ranges.filter(|more| *more >= 1.0)?)));
    match (threads, starter) {
        (Some(threads), Some((place, more))) => {
            format!(" ({threads:+} threads, {more} of them started by {})", clean(&place.place))
        }
        (Some(threads), None) => format!(" ({threads:+} threads)"),
        (None, Some((place, more))) => format!(" (+{more} threads started by {})", clean(&place.place)),
        (None, None) => String::new(),
    }
}

/// `+80.0 MiB by Index.open (20 more, file)`.
fn grown(place: &MappedPlace) -> String {
    let more = place.grown_ranges.unwrap_or(0.0);
    let more = if more >= 1.0 { format!("{more} more, ") } else { String::new() };
    format!("{} by {} ({more}{})", change(place.grown_bytes.unwrap_or(0.0)), clean(&place.place), place.what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::analyze::resident::Part;

    #[test]
    fn a_change_is_one_sentence() {
        let part = |class, bytes| Part { class, bytes };
        let change = Change {
            since: 0.0,
            seconds: 7200.0,
            bytes: 3e9,
            parts: vec![part(Class::MallocLive, 2.6e9), part(Class::ThreadStacks, 3e8)],
            threads: Some(310),
            descriptors: Some(3),
            mapped: vec![MappedPlace {
                what: "thread",
                place: "PoolX.run".into(),
                grown_ranges: Some(305.0),
                ..MappedPlace::default()
            }],
        };
        let text = sentence(&change);
        assert!(text.contains("resident since 1970-01-01 00:00:00 UTC"), "{text}");
        assert!(
            text.contains(
                "malloc, live +2.42 GiB; thread stacks +286 MiB (+310 threads, 305 of them started by PoolX.run)"
            ),
            "{text}"
        );
        assert!(!text.contains("descriptors"), "{text}");
    }
}
