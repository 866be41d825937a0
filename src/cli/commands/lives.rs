//! Which of several lives is meant: the newest of the program that matters, or the one that `--life` names.
//!
//! A folder of dumps holds the lives of a pod that is restarted (always pid 1), and beside them those of a launcher and
//! of helpers. The biggest life says which program matters. A later life of the same program, one that began when that
//! one was over, is its successor: the last successor is shown, however big the dead one was.

use super::filters::Moment;
use crate::cli::inert::clean;
use crate::cli::profile::series::{Dump, Series};
use crate::cli::profile::timestamp;
use crate::cli::render::units;
use crate::wire::title;

/// Lives listed at most.
const SHOWN: usize = 10;

/// When a life was, by its dumps; seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    began: f64,
    last: f64,
}

impl Span {
    /// `None`: no token says that these dumps are of one life, or no dump says when it began.
    fn of(series: &Series) -> Option<Span> {
        let first = series.dumps.first()?;
        first.metadata.token.as_ref()?;
        let began = first.time()? - first.metadata.uptime_ns? as f64 / 1e9;
        Some(Span { began, last: series.last().and_then(Dump::time)? })
    }
}

/// What `--life` says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wanted {
    /// The one that began last.
    Last,
    /// The one that began first.
    First,
    /// The one whose token begins so.
    Token(String),
    /// The one that was then.
    At(Moment),
}

/// Reads `--life`.
pub(crate) fn parse(text: &str) -> Result<Wanted, String> {
    match text {
        "last" => Ok(Wanted::Last),
        "first" => Ok(Wanted::First),
        _ => match super::filters::parse_moment(text) {
            Ok(moment) => Ok(Wanted::At(moment)),
            Err(_) if text.len() >= 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Ok(Wanted::Token(text.to_ascii_lowercase()))
            }
            Err(_) => {
                Err(format!("`{text}` is neither the beginning of a token, nor last, first, a time or a duration"))
            }
        },
    }
}

/// The index of the life that is meant among those of a process, or of all processes. `all`: biggest first. An error
/// is what to say.
pub(crate) fn choose(all: &[Series], pid: Option<u32>, wanted: Option<&Wanted>) -> Result<usize, String> {
    let of_pid: Vec<usize> =
        (0..all.len()).filter(|&index| pid.is_none_or(|pid| all[index].pid() == Some(pid))).collect();
    let Some(&biggest) = of_pid.first() else {
        let pid = pid.map_or(String::new(), |pid| pid.to_string());
        return Err(format!("none of the dumps is of process {pid}; there are:\n{}", list(all, None)));
    };
    let spans: Vec<(usize, Span)> = of_pid.iter().filter_map(|&index| Some((index, Span::of(&all[index])?))).collect();
    let by_start = |a: &&(usize, Span), b: &&(usize, Span)| a.1.began.total_cmp(&b.1.began);
    let found = match wanted {
        None => Some(last_successor(all, &of_pid, biggest)),
        Some(Wanted::Last) => spans.iter().max_by(by_start).map(|(index, _)| *index),
        Some(Wanted::First) => spans.iter().min_by(by_start).map(|(index, _)| *index),
        Some(Wanted::At(moment)) => {
            let newest = spans.iter().map(|(_, span)| span.last).fold(f64::MIN, f64::max);
            let at = match moment {
                Moment::At(at) => *at,
                Moment::BeforeLast(seconds) => newest - seconds,
            };
            // Of those that had begun by then the one that lasted longest; one that was over by then is the next best.
            let begun = spans.iter().filter(|(_, span)| span.began <= at);
            begun.max_by(|a, b| a.1.last.min(at).total_cmp(&b.1.last.min(at)).then(by_start(a, b))).map(|found| found.0)
        }
        Some(Wanted::Token(prefix)) => {
            let has_it = |index: &&usize| token(&all[**index]).is_some_and(|token| token.starts_with(prefix.as_str()));
            let mut fitting = of_pid.iter().filter(has_it);
            match (fitting.next(), fitting.next()) {
                (Some(_), Some(_)) => return Err(format!("several tokens begin so:\n{}", list(all, None))),
                (found, _) => found.copied(),
            }
        }
    };
    found.ok_or_else(|| format!("no life fits --life; there are:\n{}", list(all, None)))
}

/// From a life to the last one of its program that began after it was over.
fn last_successor(all: &[Series], among: &[usize], mut index: usize) -> usize {
    while let Some(span) = Span::of(&all[index]) {
        let follows = |other: &&usize| {
            title::is_same_program(name(&all[**other]), name(&all[index]))
                // Later than it began, too: a life of no length would follow itself.
                && Span::of(&all[**other]).is_some_and(|other| other.began >= span.last && other.began > span.began)
        };
        match among.iter().find(follows) {
            Some(&next) => index = next,
            None => break,
        }
    }
    index
}

/// What is said where there is a choice: the lives of the program that is shown, and then all.
pub(crate) fn told(all: &[Series], shown: usize) -> String {
    let program = name(&all[shown]);
    let of_it = all.iter().filter(|series| title::is_same_program(name(series), program)).count();
    let others = match all.len() - of_it {
        0 => String::new(),
        others => format!(" and {others} of other programs"),
    };
    let since =
        Span::of(&all[shown]).map_or(String::new(), |span| format!(" since {}", timestamp::display(span.began)));
    let lives = if of_it == 1 { "life" } else { "lives" };
    format!(
        "{of_it} {lives} of {}{others}: this one{since} (--life and --pid choose, --merge adds up)\n{}",
        clean(program),
        list(all, Some(shown)).trim_end()
    )
}

/// One line a life, newest first, at most ten; the shown one is marked.
fn list(all: &[Series], shown: Option<usize>) -> String {
    let mut order: Vec<usize> = (0..all.len()).collect();
    let began = |index: usize| Span::of(&all[index]).map_or(f64::MIN, |span| span.began);
    order.sort_by(|&a, &b| began(b).total_cmp(&began(a)).then(a.cmp(&b)));
    let mut text = String::new();
    for index in order.into_iter().take(SHOWN) {
        let series = &all[index];
        let mark = if shown == Some(index) { '*' } else { ' ' };
        let pid = series.pid().map_or("?".to_owned(), |pid| pid.to_string());
        let bytes = units::bytes(series.last().map_or(0.0, |dump| dump.total.bytes));
        let since = Span::of(series).map_or("?".to_owned(), |span| timestamp::display(span.began));
        let token: String = token(series).unwrap_or("-").chars().take(8).collect();
        let dumps = series.dumps.len();
        text += &format!(
            "{mark} {pid:>8}  {token:<8}  since {since:<23}  {bytes:>9}  {dumps:>3} dumps  {}\n",
            clean(name(series))
        );
    }
    if all.len() > SHOWN {
        text += &format!("  and {} more\n", all.len() - SHOWN);
    }
    text
}

fn token(series: &Series) -> Option<&str> {
    series.last()?.metadata.token.as_deref()
}

fn name(series: &Series) -> &str {
    series.profile.title().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::heap_v2;
    use crate::cli::profile::series::SeriesBuilder;

    /// A life: pid, token, minute of its last dump, minutes that it had lived by then, live KiB, program.
    fn life(pid: u32, token: &str, minute: u32, age: u64, kib: u64, program: &str) -> Series {
        let text = format!(
            "heap_v2/1\n  t*: 1: {bytes} [0: 0]\n@ 0x1000\n  t*: 1: {bytes} [0: 0]\n\nMAPPED_LIBRARIES:\n\
             1000-2000 r-xp 00000000 08:01 1 /usr/bin/{program}\n\n# heaptap 1\n# pid: {pid}\n# token: {token}\n\
             # exe: /usr/bin/{program}\n# time: 2026-11-25T22:{minute:02}:00.000Z\n# uptime_ns: {}\n",
            age * 60_000_000_000,
            bytes = kib * 1024,
        );
        let mut builder = SeriesBuilder::default();
        builder.add(format!("x.{pid}.0.f.heap").into(), None, heap_v2::parse(text.as_bytes()).unwrap());
        builder.finish()
    }

    /// A pod that was restarted twice, biggest first; beside it a sidecar, and a launcher that ends last.
    fn pod() -> Vec<Series> {
        vec![
            life(1, "aa01", 10, 10, 900, "java"),
            life(1, "bb02", 20, 9, 500, "java"),
            life(1, "cc03", 25, 4, 100, "java"),
            life(7, "dd04", 26, 26, 50, "proxy"),
            life(8, "ee05", 26, 6, 20, "java"),
        ]
    }

    fn chosen(pid: Option<u32>, life: Option<&str>) -> Result<usize, String> {
        choose(&pod(), pid, life.map(|text| parse(text).unwrap()).as_ref())
    }

    #[test]
    fn the_newest_life_of_the_program_that_matters_is_shown() {
        assert_eq!(chosen(None, None), Ok(2));
        assert_eq!(chosen(Some(7), None), Ok(3));
        assert!(chosen(Some(9), None).unwrap_err().contains("none of the dumps is of process 9"));
        // One that was killed as it began has no length.
        assert_eq!(choose(&[life(1, "aa", 10, 0, 900, "java"), life(1, "bb", 10, 0, 800, "java")], None, None), Ok(0));
        // A server and its launcher live at the same time: the server it is.
        let together = [life(2, "aa", 20, 19, 900, "java"), life(1, "bb", 21, 21, 20, "java")];
        assert_eq!(choose(&together, None, None), Ok(0));
    }

    #[test]
    fn a_life_is_named_by_order_token_or_time() {
        assert_eq!(chosen(Some(1), Some("first")), Ok(0));
        assert_eq!(chosen(Some(1), Some("last")), Ok(2));
        assert_eq!(chosen(None, Some("BB")), Ok(1));
        assert_eq!(chosen(Some(1), Some("2026-11-25T22:15:00Z")), Ok(1));
        assert_eq!(chosen(Some(1), Some("20min")), Ok(0));
        assert!(chosen(None, Some("ff")).unwrap_err().contains("no life fits"));
        assert!(parse("nonsense").is_err());
    }

    #[test]
    fn every_list_names_a_life_by_start_program_and_token() {
        let told = told(&pod(), 2);
        assert!(
            told.starts_with("4 lives of java and 1 of other programs: this one since 2026-11-25 22:21:00"),
            "{told}"
        );
        let shown = told.lines().find(|line| line.starts_with('*')).unwrap();
        assert!(shown.contains("cc03") && shown.contains("22:21:00") && shown.ends_with("java"), "{told}");
        assert_eq!(told.lines().count(), 6);
    }
}
