//! A process that is simulated: it allocates and frees by a program's word, sampled as the tap samples, and writes
//! dumps.
//!
//! Time is only a number here, so two hours take milliseconds. What is written is what a tap writes: sampled objects,
//! their ages, how long freed ones lived, and what each stack held at up to 32 moments before, whose distance doubles
//! as the keeper's does. Sizes are the same for all objects of a stack.

use std::fmt::Write;
use std::path::PathBuf;

/// Where the fake pcs of named frames begin.
const FIRST_PC: u64 = 0x7f20_e000_0010;
/// The leaf of every stack: inside of the tap, as in real dumps.
const LEAF: &str = "0x7f10d2001000";
const MAPPINGS: &str = "\nMAPPED_LIBRARIES:\n\
    55d0c0a00000-55d0c0a01000 r-xp 00001000 fe:00 100                        /srv/bin/server\n\
    7f10d2000000-7f10d2100000 r-xp 00010000 fe:00 104                        /srv/heaptap/libheaptap.so\n\
    7f20e0000000-7f20e0100000 r-xp 00000000 00:00 0                          /srv/dumps/server.java.so\n\n";
/// A life begins at 00:00:00 UTC of a day of this month.
const MONTH: &str = "2026-11-";
const MONTH_NS: u64 = 1_793_491_200_000_000_000;
const DAY_NS: u64 = 86_400_000_000_000;
/// Moments at which the keeper keeps what stacks held.
const MOST_LOOKS: usize = 32;

/// A sampled object.
#[derive(Clone, Copy)]
struct Object {
    birth: f64,
    death: f64,
}

/// A call stack that allocates objects of one size.
struct Stack {
    frames: Vec<u64>,
    size: f64,
    live: Vec<Object>,
    freed: [u64; 32],
    /// Samples that were ever taken.
    ever: usize,
}

/// What all stacks held at a moment.
struct Look {
    tick: u64,
    now: f64,
    /// Of each stack that there was: samples that lived, and that were ever taken.
    stacks: Vec<(usize, usize)>,
}

/// Names a stack of the world.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(usize);

/// The process.
pub(crate) struct World {
    /// Seconds since it started.
    pub(crate) now: f64,
    period: f64,
    seed: u64,
    names: Vec<String>,
    stacks: Vec<Stack>,
    number: usize,
    looks: Vec<Look>,
    step: u64,
    /// Whether dumps tell the time before them.
    pub(crate) has_history: bool,
    /// Names the life.
    pub(crate) token: u64,
    /// Its process.
    pub(crate) pid: u32,
    /// The day of the month on which it begins, from 1.
    pub(crate) day: u64,
    /// Where its fake pcs begin: elsewhere in every life.
    pub(crate) first_pc: u64,
}

impl World {
    pub(crate) fn new(lg_sample: u32, seed: u64) -> World {
        let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut world = World {
            now: 0.0,
            period: f64::from(1u32 << lg_sample),
            seed,
            names: Vec::new(),
            stacks: Vec::new(),
            number: 0,
            looks: Vec::new(),
            step: 1,
            has_history: true,
            token: 0x5eed,
            pid: 77,
            day: 25,
            first_pc: FIRST_PC,
        };
        (0..20).for_each(|_| _ = world.random());
        world
    }

    /// Evenly between 0 and 1 (xorshift64*).
    pub(crate) fn random(&mut self) -> f64 {
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        (self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// How often something happens that happens `mean` times on average.
    fn poisson(&mut self, mean: f64) -> usize {
        if mean > 50.0 {
            let normal = (0..12).map(|_| self.random()).sum::<f64>() - 6.0;
            return (mean + mean.sqrt() * normal).round().max(0.0) as usize;
        }
        let (bound, mut product, mut count) = ((-mean).exp(), self.random(), 0);
        while product > bound {
            product *= self.random();
            count += 1;
        }
        count
    }

    /// The stack of these frames (`package/Class method`, the allocation first), which allocates objects of this size.
    pub(crate) fn at(&mut self, frames: &[&str], size: f64) -> Place {
        let frames: Vec<u64> = frames.iter().map(|name| self.pc(name)).collect();
        if let Some(known) = self.stacks.iter().position(|stack| stack.frames == frames && stack.size == size) {
            return Place(known);
        }
        self.stacks.push(Stack { frames, size, live: Vec::new(), freed: [0; 32], ever: 0 });
        Place(self.stacks.len() - 1)
    }

    fn pc(&mut self, name: &str) -> u64 {
        let known = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        self.first_pc + 16 * known as u64
    }

    /// Allocates so many objects that live for so long (for ever: infinity), within the last `spread` seconds.
    pub(crate) fn allocate(&mut self, Place(at): Place, count: f64, lifetime: f64, spread: f64) {
        let seen = -(-self.stacks[at].size / self.period).exp_m1();
        let sampled = if seen > 0.999 { count.round() as usize } else { self.poisson(count * seen) };
        self.stacks[at].ever += sampled;
        for _ in 0..sampled {
            let birth = self.now - spread * self.random();
            self.stacks[at].live.push(Object { birth, death: birth + lifetime });
        }
    }

    /// As [`World::allocate`], each object with a lifetime of its own: exponential, with this mean.
    pub(crate) fn churn(&mut self, Place(at): Place, count: f64, mean: f64, spread: f64) {
        let seen = -(-self.stacks[at].size / self.period).exp_m1();
        let sampled = self.poisson(count * seen);
        self.stacks[at].ever += sampled;
        for _ in 0..sampled {
            let birth = self.now - spread * self.random();
            let lifetime = -mean * (1.0 - self.random()).ln();
            self.stacks[at].live.push(Object { birth, death: birth + lifetime });
        }
    }

    /// Frees this share of a stack's objects, the oldest first.
    pub(crate) fn free(&mut self, Place(at): Place, share: f64) {
        let now = self.now;
        let stack = &mut self.stacks[at];
        stack.live.sort_by(|a, b| a.birth.total_cmp(&b.birth));
        let count = (stack.live.len() as f64 * share).round() as usize;
        stack.live.iter_mut().take(count).for_each(|object| object.death = now);
        self.settle();
    }

    /// Frees everything: what some programs do as they end.
    pub(crate) fn free_all(&mut self) {
        (0..self.stacks.len()).for_each(|at| self.free(Place(at), 1.0));
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, seconds: f64) {
        // Looks see what dumps see: what was allocated last, too.
        self.look();
        self.now += seconds;
        self.settle();
    }

    /// Notes what every stack holds, if it is time for that.
    fn look(&mut self) {
        let tick = self.now as u64 / self.step * self.step;
        if self.looks.last().is_some_and(|last| tick <= last.tick) {
            return;
        }
        while self.looks.len() >= MOST_LOOKS {
            self.step *= 2;
            let step = self.step;
            self.looks.retain(|look| look.tick.is_multiple_of(step));
        }
        if tick.is_multiple_of(self.step) {
            let stacks = self.stacks.iter().map(|stack| (stack.live.len(), stack.ever)).collect();
            self.looks.push(Look { tick, now: self.now, stacks });
        }
    }

    fn settle(&mut self) {
        for stack in &mut self.stacks {
            let (now, freed) = (self.now, &mut stack.freed);
            stack.live.retain(|object| {
                if object.death <= now {
                    freed[freed_bin(object.death - object.birth)] += 1;
                }
                object.death > now
            });
        }
    }

    /// Writes a dump; `reason` as the tap says it.
    pub(crate) fn dump(&mut self, reason: &str, kind: &str) -> (String, String) {
        let (mut text, mut ages, mut stacks) = (String::new(), String::new(), 0);
        let (mut objects, mut bytes) = (0, 0);
        let mut other: Vec<Sums> = vec![Sums::default(); self.looks.len() + 1];
        for group in self.groups() {
            let of = |at: &usize, (live, ever)| self.stacks[*at].sums(live, ever, self.period);
            let past = self
                .looks
                .iter()
                .map(|look| Sums::all(group.iter().map(|at| of(at, look.stacks.get(*at).copied().unwrap_or((0, 0))))));
            let past: Vec<Sums> = past.collect();
            let now = Sums::all(group.iter().map(|at| of(at, (self.stacks[*at].live.len(), self.stacks[*at].ever))));
            let count: usize = group.iter().map(|at| self.stacks[*at].live.len()).sum();
            if count == 0 {
                past.iter().chain([&now]).zip(&mut other).for_each(|(past, sum)| sum.add(past));
                continue;
            }
            if self.has_history {
                writeln!(ages, "# exact: {stacks} {} {} {} {}", now.live.0, now.live.1, now.ever.0, now.ever.1)
                    .unwrap();
                writeln!(ages, "# past: {stacks}{}", changes(&past)).unwrap();
            }
            let sum: f64 = group.iter().map(|at| self.stacks[*at].live.len() as f64 * self.stacks[*at].size).sum();
            let sum = sum.round();
            let frames: Vec<String> = self.stacks[group[0]].frames.iter().map(|pc| format!("{pc:#x}")).collect();
            writeln!(text, "@ {LEAF} {}\n  t*: {count}: {sum} [0: 0]", frames.join(" ")).unwrap();
            writeln!(ages, "# age: {stacks} {}", self.ages(&group)).unwrap();
            (objects, bytes, stacks) = (objects + count, bytes + sum as u64, stacks + 1);
        }
        let head = format!("heap_v2/{}\n  t*: {objects}: {bytes} [0: 0]\n", self.period);
        let names: String = (0..)
            .zip(&self.names)
            .map(|(n, name)| format!("# java: {:#x} {name} 0\n", self.first_pc + 16 * n))
            .collect();
        let at = self.now as u64;
        let (day, hour) = (self.day + at / 86_400, at / 3600 % 24);
        let time = format!("{MONTH}{day:02}T{hour:02}:{:02}:{:06.3}Z", at / 60 % 60, self.now % 60.0);
        let history = if self.has_history { self.history(&other) } else { String::new() };
        let metadata = format!(
            "# heaptap 1\n# pid: {}\n# token: {:x}\n# exe: /srv/bin/server\n# time: {time}\n# uptime_ns: {:.0}\n\
             # reason: {reason}\n{names}# ages: {stacks}\n{history}{ages}",
            self.pid,
            self.token,
            self.now * 1e9
        );
        let name = format!(
            "jeprof.{}.{}.{kind}{}.heap",
            self.pid,
            self.number,
            if kind == "f" { String::new() } else { self.number.to_string() }
        );
        self.number += 1;
        (name, format!("{head}{text}{MAPPINGS}{metadata}"))
    }
}

impl World {
    /// The stacks of equal frames: of different sizes here, one in a dump.
    fn groups(&self) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut known = std::collections::HashMap::new();
        for (at, stack) in self.stacks.iter().enumerate() {
            let group = *known.entry(&stack.frames).or_insert(groups.len());
            groups.resize(groups.len().max(group + 1), Vec::new());
            groups[group].push(at);
        }
        groups
    }

    fn ages(&self, group: &[usize]) -> String {
        let (mut live, mut freed) = (vec![(0.0, 0.0); 256], [0; 32]);
        for stack in group.iter().map(|at| &self.stacks[*at]) {
            let weight = 1.0 / -(-stack.size / self.period).exp_m1();
            for object in &stack.live {
                let bin = &mut live[live_bin(self.now - object.birth)];
                *bin = (bin.0 + weight, bin.1 + weight * stack.size);
            }
            freed.iter_mut().zip(&stack.freed).for_each(|(sum, freed)| *sum += freed);
        }
        let mut text = String::new();
        for (bin, (objects, bytes)) in live.iter().enumerate().filter(|(_, bin)| bin.0 > 0.0) {
            write!(text, "{bin}/{objects:.0}/{bytes:.0} ").unwrap();
        }
        text.push('|');
        for (bin, count) in freed.iter().enumerate().filter(|(_, count)| **count > 0) {
            write!(text, " {bin}/{count}").unwrap();
        }
        text
    }

    /// The lines of the history that belong to no stack.
    fn history(&self, other: &[Sums]) -> String {
        let midnight = MONTH_NS + (self.day - 1) * DAY_NS;
        let wall = |seconds: f64| midnight + (seconds * 1e9) as u64;
        let mut text = format!("# observed_since: {midnight}\n");
        for look in &self.looks {
            let mut sum = Sums::default();
            let stacks = self.stacks.iter().zip(&look.stacks);
            stacks.for_each(|(stack, (live, ever))| sum.add(&stack.sums(*live, *ever, self.period)));
            let Sums { live, ever } = sum;
            let period = self.period;
            writeln!(text, "# moment: {} {} {} {} {period} - - - - - - -", wall(look.now), live.1, live.0, ever.1)
                .unwrap();
        }
        let times = self.looks.iter().map(|look| wall(look.now)).chain([wall(self.now)]);
        let others = other.iter().map(|Sums { live, ever }| format!("{}/{}/{}/{}", live.0, live.1, ever.0, ever.1));
        let join = |words: Vec<String>| words.join(" ");
        writeln!(text, "# past_times: {}", join(times.map(|time| time.to_string()).collect())).unwrap();
        writeln!(text, "# past_other: {}", join(others.collect())).unwrap();
        text
    }
}

/// Objects (in 65,536ths) and bytes that live, and that were ever allocated.
#[derive(Clone, Copy, Default, PartialEq)]
struct Sums {
    live: (u64, u64),
    ever: (u64, u64),
}

impl Sums {
    fn all(parts: impl Iterator<Item = Sums>) -> Sums {
        parts.fold(Sums::default(), |mut sum, part| {
            sum.add(&part);
            sum
        })
    }

    fn add(&mut self, other: &Sums) {
        self.live = (self.live.0 + other.live.0, self.live.1 + other.live.1);
        self.ever = (self.ever.0 + other.ever.0, self.ever.1 + other.ever.1);
    }
}

/// Births and deaths, where there were any: ` 3/objects born/bytes born/objects died/bytes died`.
fn changes(past: &[Sums]) -> String {
    let mut text = String::new();
    let mut before = Sums::default();
    for (at, now) in past.iter().enumerate().filter(|(at, now)| *at == 0 && **now != Sums::default() || *at > 0) {
        if *now != before {
            let born = (now.ever.0 - before.ever.0, now.ever.1 - before.ever.1);
            let died = (before.live.0 + born.0 - now.live.0, before.live.1 + born.1 - now.live.1);
            write!(text, " {at}/{}/{}/{}/{}", born.0, born.1, died.0, died.1).unwrap();
            before = *now;
        }
    }
    text
}

impl Stack {
    /// What so many samples stand for.
    fn sums(&self, live: usize, ever: usize, period: f64) -> Sums {
        let weight = 1.0 / -(-self.size / period).exp_m1();
        let each = ((65_536.0 * weight).round() as u64, (weight * self.size).round() as u64);
        let of = |samples: usize| (each.0 * samples as u64, each.1 * samples as u64);
        Sums { live: of(live), ever: of(ever) }
    }
}

/// As `wire/ages.rs` has it.
fn live_bin(seconds: f64) -> usize {
    let ns = (seconds.max(0.0) * 1e9) as u64;
    let log2 = 63 - (ns | 1).leading_zeros();
    if log2 < 16 { 0 } else { (4 * (log2 - 16)) as usize + ((ns >> (log2 - 2)) & 3) as usize }
}

fn freed_bin(seconds: f64) -> usize {
    let ns = (seconds.max(0.0) * 1e9) as u64;
    let log2 = 63 - (ns | 1).leading_zeros() as usize;
    log2.saturating_sub(16).min(31)
}

/// Dumps on disk: file by file.
pub(crate) fn write(folder: &std::path::Path, dumps: &[(String, String)]) -> Vec<PathBuf> {
    let file = |(name, text): &(String, String)| {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    dumps.iter().map(file).collect()
}
