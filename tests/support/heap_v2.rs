//! A strict reader of dump files: every line must be exactly what jemalloc 5.3.1 writes (plus our metadata
//! behind the maps), and the sums must agree. Written from the format's description.
//!
//! The numbers are given as jeprof sees them: scaled by `1/(1-exp(-(bytes/objects)/period))` per stack.

use std::collections::BTreeMap;

/// One stack of a dump.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    /// Addresses, leaf first.
    pub(crate) pcs: Vec<u64>,
    /// Objects and bytes as they stand in the file.
    pub(crate) stored: (u64, u64),
    /// Objects and bytes that a reader makes of them.
    pub(crate) scaled: (f64, f64),
    /// The cumulative columns.
    pub(crate) ever: (u64, u64),
    /// Stored objects and bytes by thread number.
    pub(crate) threads: BTreeMap<u32, (u64, u64)>,
}

/// A dump file.
#[derive(Clone, Debug)]
pub(crate) struct HeapV2 {
    /// Mean bytes between two samples.
    pub(crate) period: u64,
    /// Objects and bytes of the head's `t*` line.
    pub(crate) total: (u64, u64),
    /// Names of threads, by number; empty where the line has none.
    pub(crate) threads: Vec<String>,
    /// All stacks.
    pub(crate) stacks: Vec<Stack>,
    /// Start and end of the executable mappings.
    pub(crate) maps: Vec<(u64, u64)>,
    /// Our `# key: value` lines.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Objects, bytes, and both cumulated, of a line `who: o: b [O: B]` and what follows it.
fn counts<'a>(line: &'a str, indented: &str) -> Result<(&'a str, [u64; 4], &'a str), String> {
    let bad = || format!("not a count line: {line:?}");
    let rest = line.strip_prefix(indented).ok_or_else(bad)?;
    let (who, rest) = rest.split_once(": ").ok_or_else(bad)?;
    let (numbers, rest) = rest.split_once(']').ok_or_else(bad)?;
    let parts: Vec<&str> = numbers.split([' ']).collect();
    let [objects, bytes, ever_objects, ever_bytes] = parts[..] else { return Err(bad()) };
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok()).ok_or_else(bad);
    let found = [
        number(objects.strip_suffix(':'))?,
        number(Some(bytes))?,
        number(ever_objects.strip_prefix('[').and_then(|text| text.strip_suffix(':')))?,
        number(Some(ever_bytes))?,
    ];
    Ok((who, found, rest))
}

/// What jeprof makes of objects and bytes.
fn scaled((objects, bytes): (u64, u64), period: u64) -> (f64, f64) {
    let factor = match objects {
        0 => 1.0,
        _ => 1.0 / -(-(bytes as f64 / objects as f64) / period as f64).exp_m1(),
    };
    (objects as f64 * factor, bytes as f64 * factor)
}

/// Reads the number N of `tN`.
fn thread_number(who: &str) -> Result<u32, String> {
    who.strip_prefix('t').and_then(|n| n.parse().ok()).ok_or_else(|| format!("not a thread: {who:?}"))
}

impl HeapV2 {
    /// Parses a whole file; the first thing that is not right is the error.
    pub(crate) fn parse(text: &str) -> Result<HeapV2, String> {
        let (body, tail) = text.split_once("\nMAPPED_LIBRARIES:\n").ok_or("no MAPPED_LIBRARIES")?;
        let mut lines = body.lines().peekable();
        let head = lines.next().and_then(|line| line.strip_prefix("heap_v2/")).ok_or("no heap_v2 line")?;
        let period: u64 = head.parse().map_err(|_| format!("period {head:?}"))?;
        if !period.is_power_of_two() {
            return Err(format!("period {period}"));
        }
        let (who, [objects, bytes, ..], rest) = counts(lines.next().ok_or("no totals")?, "  ")?;
        if who != "t*" || !rest.is_empty() {
            return Err(format!("totals of {who} {rest:?}"));
        }
        let mut heap = HeapV2 {
            period,
            total: (objects, bytes),
            threads: Vec::new(),
            stacks: Vec::new(),
            maps: Vec::new(),
            metadata: BTreeMap::new(),
        };
        while let Some(line) = lines.next_if(|line| line.starts_with("  t")) {
            let (who, _, name) = counts(line, "  ")?;
            if thread_number(who)? as usize != heap.threads.len() {
                return Err(format!("{who} is not the next thread"));
            }
            heap.threads.push(name.strip_prefix(' ').unwrap_or_default().to_owned());
        }
        while let Some(line) = lines.next() {
            heap.stack(line, &mut lines)?;
        }
        heap.tail(tail)?;
        heap.check_sums()?;
        Ok(heap)
    }

    fn stack<'a>(
        &mut self,
        line: &str,
        lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
    ) -> Result<(), String> {
        let mut words = line.split(' ');
        if words.next() != Some("@") {
            return Err(format!("not a stack: {line:?}"));
        }
        let pc = |word: &str| {
            let digits = word.strip_prefix("0x").filter(|digits| !digits.contains(|c: char| c.is_ascii_uppercase()));
            digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or_else(|| format!("pc {word:?}"))
        };
        let pcs = words.map(pc).collect::<Result<Vec<u64>, String>>()?;
        if self.stacks.last().is_some_and(|last| last.pcs >= pcs) {
            return Err(format!("stacks are out of order at {line}"));
        }
        let (who, [objects, bytes, ever_objects, ever_bytes], rest) = counts(lines.next().unwrap_or(""), "  ")?;
        if who != "t*" || !rest.is_empty() {
            return Err(format!("{line} is followed by {who} {rest:?}"));
        }
        let mut threads = BTreeMap::new();
        while let Some(line) = lines.next_if(|line| line.starts_with("  t")) {
            let (who, [objects, bytes, ..], rest) = counts(line, "  ")?;
            let number = thread_number(who)?;
            if !rest.is_empty() || number as usize >= self.threads.len() {
                return Err(format!("thread line {line:?}"));
            }
            if threads.insert(number, (objects, bytes)).is_some() {
                return Err(format!("thread line {line:?} comes twice"));
            }
        }
        let scaled = scaled((objects, bytes), self.period);
        self.stacks.push(Stack { pcs, stored: (objects, bytes), scaled, ever: (ever_objects, ever_bytes), threads });
        Ok(())
    }

    fn tail(&mut self, tail: &str) -> Result<(), String> {
        let (maps, metadata) = tail.split_once("\n# heaptap 1\n").ok_or("no metadata")?;
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let bounds = words.next().and_then(|word| word.split_once('-'));
            let bounds =
                bounds.and_then(|(a, b)| Some((u64::from_str_radix(a, 16).ok()?, u64::from_str_radix(b, 16).ok()?)));
            let executable = words.next().is_some_and(|access| access.contains('x'));
            self.maps.push(bounds.filter(|_| executable).ok_or_else(|| format!("maps line {line:?}"))?);
        }
        for line in metadata.lines() {
            let pair = line.strip_prefix("# ").and_then(|line| line.split_once(": "));
            let (key, value) = pair.ok_or_else(|| format!("metadata line {line:?}"))?;
            self.metadata.insert(key.to_owned(), value.to_owned());
        }
        Ok(())
    }

    /// With every byte sampled, stacks and threads sum up to the head, but for the rounding of each of the three sums.
    /// What is compared is what readers make of the numbers: of blocks of a few bytes not all are seen, even then.
    fn check_sums(&self) -> Result<(), String> {
        const ROUNDING: f64 = 2.0;
        if self.period != 1 {
            return Ok(());
        }
        let sum = |all: &mut dyn Iterator<Item = (u64, u64)>| {
            all.map(|counts| scaled(counts, 1)).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1))
        };
        let head = scaled(self.total, 1);
        let stacks = sum(&mut self.stacks.iter().map(|stack| stack.stored));
        let threads = sum(&mut self.stacks.iter().flat_map(|stack| stack.threads.values().copied()));
        let is_near = |sum: &(f64, f64)| (sum.0 - head.0).abs() <= ROUNDING && (sum.1 - head.1).abs() <= ROUNDING;
        if ![stacks, threads].iter().all(is_near) {
            return Err(format!("head {head:?}, stacks {stacks:?}, their threads {threads:?}"));
        }
        Ok(())
    }

    /// Objects and bytes of all stacks, scaled.
    pub(crate) fn scaled(&self) -> (f64, f64) {
        self.stacks.iter().fold((0.0, 0.0), |sum, stack| (sum.0 + stack.scaled.0, sum.1 + stack.scaled.1))
    }
}
