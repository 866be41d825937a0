//! Which Java objects own native memory, and how the collector's roots reach them: read from a heap dump, in passes.
//!
//! The first pass finds every `long` of an object, a class or an array that is a wanted address. Each further pass
//! finds what refers to what was found before, until a root is met: so memory is needed for what leads to owners, never
//! for the heap. References that the collector clears count for nothing, nor does what a phantom reference keeps for
//! the time after its object: `Cleaner`, `Deallocator`.

mod layouts;
mod records;
mod stream;
mod wanted;

use layouts::Classes;
pub(crate) use records::RootKind;
use records::{Class, LONG, Listener, OBJECT, Records, number};
use rustc_hash::{FxHashMap, FxHashSet};
use std::io::{self, Read, Seek};
pub(crate) use stream::Stream;
pub(crate) use wanted::Addresses;
use wanted::Ids;

/// Owners that are kept.
const MOST_OWNERS: usize = 100_000;
/// Objects on ways to roots that are kept.
const MOST_OBJECTS: usize = 2_000_000;
/// Passes in which ways grow by one step each, so that the shortest is found; and further ones, in which they grow by
/// what the order of the objects allows.
const SHORT: usize = 16;
const LONG_WAYS: usize = 16;
/// Roots that are kept.
const MOST_ROOTS: usize = 8_000_000;

/// A Java value that is a wanted address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Number of the range of addresses.
    pub(crate) block: u32,
    /// How far the address is from the range's beginning.
    pub(crate) offset: u64,
    /// It says that it is a part of another buffer.
    pub(crate) is_part: bool,
    /// It is only a number that somebody noted: a `Long`, an element of an array. Its end frees nothing.
    pub(crate) is_note: bool,
    /// Something frees what it has when the collector has found it: a cleaner, a finalizer.
    pub(crate) is_cleaned: bool,
    /// What has it: `java.nio.DirectByteBuffer.address`, `long[]`.
    pub(crate) place: String,
    /// How a root reaches it.
    pub(crate) reach: Reach,
}

/// How a root reaches an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// By this root, and from object to object: `java.util.HashMap.table`, `java.util.HashMap$Node[]`, ….
    By(String, Vec<String>),
    /// None does.
    Not,
    /// That was not found out: too many objects, or too long a way.
    Unknown,
}

/// What a heap dump told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Who has wanted addresses.
    pub(crate) owners: Vec<Owner>,
    /// More owners than are kept, or a dump that ends early.
    pub(crate) is_cut: bool,
    /// Passes over the file.
    pub(crate) passes: usize,
}

/// From where a reference leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Via {
    /// A field of an object: its name, and the object's class.
    Field(u64, u64),
    /// An array of a class.
    Element(u64),
}

/// An owner while it is looked for.
struct Found {
    object: u64,
    class: u64,
    name: Option<u64>,
    is_static: bool,
    block: u32,
    offset: u64,
    is_part: bool,
}

/// Looks who owns these addresses. `progress` hears which pass goes on, and how many bytes of how many it has done.
pub(crate) fn owners<R: Read + Seek>(
    stream: Stream<R>,
    addresses: &Addresses,
    progress: &mut dyn FnMut(usize, u64, u64),
) -> io::Result<Told> {
    let mut records = Records::open(stream)?;
    let mut told = Told::default();
    let mut first = First {
        addresses,
        id_bytes: records.id_bytes(),
        classes: Classes::default(),
        roots: FxHashMap::default(),
        found: Vec::new(),
        threads: FxHashMap::default(),
        is_cut: false,
        lacks_classes: false,
    };
    told.is_cut |= !records.pass(&mut first, &mut |done, all| progress(1, done, all))?;
    told.passes = 1;
    if first.lacks_classes {
        // Objects came before their classes.
        first.found.clear();
        told.is_cut |= !records.pass(&mut first, &mut |done, all| progress(2, done, all))?;
        told.passes += 1;
    }
    let First { classes, roots, found, threads, is_cut, .. } = first;
    told.is_cut |= is_cut;
    let mut ways = Ways {
        id_bytes: records.id_bytes(),
        classes,
        roots,
        wanted: Ids::new(),
        known: FxHashSet::default(),
        next: Vec::new(),
        from: FxHashMap::default(),
        routes: FxHashMap::default(),
        again: Vec::new(),
        statics: FxHashMap::default(),
        ended: FxHashSet::default(),
        grows_at_once: false,
        is_cut: false,
    };
    ways.begin(found.iter().filter(|found| !found.is_static).map(|found| found.object));
    for pass in 0..SHORT + LONG_WAYS {
        if ways.next.is_empty() {
            break;
        }
        told.passes += 1;
        let number = told.passes;
        ways.grows_at_once = pass >= SHORT;
        ways.aim();
        told.is_cut |= !records.pass(&mut ways, &mut |done, all| progress(number, done, all))?;
        ways.settle();
    }
    ways.spread_ends();
    let names = Text::read(&mut records, &threads, &mut ways, &mut told.passes)?;
    let is_open = ways.is_cut || !ways.next.is_empty();
    told.owners = found.iter().map(|found| ways.owner(found, is_open, &names)).collect();
    Ok(told)
}

/// The first pass: classes, roots, and who has an address.
struct First<'a> {
    addresses: &'a Addresses,
    id_bytes: usize,
    classes: Classes,
    roots: FxHashMap<u64, RootKind>,
    found: Vec<Found>,
    /// The name's object of each thread.
    threads: FxHashMap<u64, u64>,
    is_cut: bool,
    lacks_classes: bool,
}

impl First<'_> {
    fn add(&mut self, found: Found) {
        if self.found.len() < MOST_OWNERS {
            self.found.push(found);
        } else {
            self.is_cut = true;
        }
    }
}

impl Listener for First<'_> {
    fn name(&mut self, id: u64, name: &[u8]) {
        self.classes.add_name(id, name);
    }

    fn class_name(&mut self, class: u64, name: u64) {
        self.classes.add_class_name(class, name);
    }

    fn class(&mut self, class: Class) {
        for (name, kind, value) in &class.statics {
            if let Some((block, offset)) = self.addresses.find(*value).filter(|_| *kind == LONG) {
                let (object, name) = (class.id, Some(*name));
                self.add(Found { object, class: class.id, name, is_static: true, block, offset, is_part: false });
            }
        }
        self.classes.add_class(class);
    }

    fn root(&mut self, id: u64, kind: RootKind) {
        if self.roots.len() < MOST_ROOTS {
            // A thread is told with its name, whatever else refers to it.
            let known = self.roots.entry(id).or_insert(kind);
            if kind == RootKind::Thread {
                *known = kind;
            }
        } else {
            self.is_cut = true;
        }
    }

    fn object(&mut self, id: u64, class: u64, values: &[u8]) {
        let (id_bytes, addresses) = (self.id_bytes, self.addresses);
        let Some(layout) = self.classes.layout(class, id_bytes) else {
            self.lacks_classes = true;
            return;
        };
        let reference = |at: Option<usize>| at.and_then(|at| values.get(at..at + id_bytes)).map_or(0, number);
        if layout.thread_name.is_some() {
            let name = reference(layout.thread_name);
            self.threads.insert(id, name);
        }
        let is_part = reference(layout.attachment) != 0;
        let mut hits = Vec::new();
        for slot in &layout.longs {
            let Some(value) = values.get(slot.at..slot.at + 8).map(number) else { continue };
            if let Some((block, offset)) = addresses.find(value) {
                hits.push(Found { object: id, class, name: Some(slot.name), is_static: false, block, offset, is_part });
            }
        }
        hits.into_iter().for_each(|hit| self.add(hit));
    }

    fn longs(&mut self, id: u64, _first: u64, elements: &[u8]) {
        let addresses = self.addresses;
        let values = elements.chunks_exact(8).map(number);
        let hits: Vec<(u32, u64)> = values.filter_map(|value| addresses.find(value)).collect();
        for (block, offset) in hits {
            self.add(Found { object: id, class: 0, name: None, is_static: false, block, offset, is_part: false });
        }
    }
}

/// The further passes: who refers to what is known.
struct Ways {
    id_bytes: usize,
    classes: Classes,
    roots: FxHashMap<u64, RootKind>,
    /// What is looked for in this pass.
    wanted: Ids<()>,
    known: FxHashSet<u64>,
    /// What is to be looked for in the next one.
    next: Vec<u64>,
    /// By object: what it refers to of those that are known.
    from: FxHashMap<u64, Vec<(u64, Via)>>,
    /// By object: who refers to it on its way from a root.
    routes: FxHashMap<u64, Option<(u64, Via)>>,
    /// Objects on ways from a root of which it was learnt in this pass that they refer to more.
    again: Vec<u64>,
    /// By object: the static field that refers to it.
    statics: FxHashMap<u64, (u64, u64)>,
    /// Objects with a cleaner or a finalizer, and what they refer to.
    ended: FxHashSet<u64>,
    grows_at_once: bool,
    is_cut: bool,
}

impl Ways {
    fn begin(&mut self, objects: impl Iterator<Item = u64>) {
        for object in objects {
            if self.known.insert(object) {
                self.next.push(object);
            }
        }
        for class in self.classes.all() {
            for (name, kind, value) in &class.statics {
                if *kind == OBJECT && *value != 0 {
                    self.statics.entry(*value).or_insert((class.id, *name));
                }
            }
        }
        self.settle();
    }

    /// Turns to what is not on a way from a root yet.
    fn aim(&mut self) {
        self.wanted = Ids::new();
        for object in std::mem::take(&mut self.next) {
            self.wanted.insert(object, ());
        }
    }

    /// Whether a root refers to an object itself.
    fn is_rooted(&self, object: u64) -> bool {
        self.statics.contains_key(&object) || self.roots.contains_key(&object)
    }

    /// Follows the ways back from what roots refer to. What is on one is not looked for any more.
    fn settle(&mut self) {
        let is_new = |object: &&u64| !self.routes.contains_key(*object) && self.is_rooted(**object);
        let mut queue: std::collections::VecDeque<u64> = self.known.iter().filter(is_new).copied().collect();
        queue.iter().for_each(|object| _ = self.routes.insert(*object, None));
        queue.extend(std::mem::take(&mut self.again));
        while let Some(object) = queue.pop_front() {
            for (child, via) in self.from.get(&object).into_iter().flatten() {
                if !self.routes.contains_key(child) {
                    self.routes.insert(*child, Some((object, *via)));
                    queue.push_back(*child);
                }
            }
        }
        let routes = &self.routes;
        self.next.retain(|object| !routes.contains_key(object));
    }

    /// What an object with a cleaner leads to is freed with it.
    fn spread_ends(&mut self) {
        let mut open: Vec<u64> = self.ended.iter().copied().collect();
        while let Some(object) = open.pop() {
            for (child, _) in self.from.get(&object).into_iter().flatten() {
                if self.ended.insert(*child) {
                    open.push(*child);
                }
            }
        }
    }

    fn refers(&mut self, from: u64, to: u64, via: Via) {
        if self.known.len() >= MOST_OBJECTS {
            self.is_cut = true;
            return;
        }
        let children = self.from.entry(from).or_default();
        if !children.iter().any(|(child, _)| *child == to) {
            children.push((to, via));
            // An owner may hold others: a thread has the address of its own native part.
            if self.routes.contains_key(&from) {
                self.again.push(from);
            }
        }
        if self.known.insert(from) {
            if self.grows_at_once && !self.is_rooted(from) {
                self.wanted.insert(from, ());
            }
            self.next.push(from);
        }
    }

    fn owner(&self, found: &Found, is_open: bool, names: &Text) -> Owner {
        let class = self.classes.class_name(found.class);
        let place = match found.name {
            Some(name) if found.is_static => format!("static {class}.{}", self.classes.name(name)),
            Some(name) => format!("{class}.{}", self.classes.name(name)),
            None => "long[]".to_owned(),
        };
        let reach = match () {
            () if found.is_static => Reach::By(place.clone(), Vec::new()),
            () if self.routes.contains_key(&found.object) => self.way(found.object, names),
            () if is_open => Reach::Unknown,
            () => Reach::Not,
        };
        let is_note = found.name.is_none() || class == "java.lang.Long";
        let is_cleaned = self.ended.contains(&found.object);
        let (block, offset, is_part) = (found.block, found.offset, found.is_part);
        Owner { block, offset, is_part, is_note, is_cleaned, place, reach }
    }

    /// The root of an object and what leads from there to it.
    fn way(&self, object: u64, names: &Text) -> Reach {
        let (mut at, mut steps) = (object, Vec::new());
        while let Some(Some((from, via))) = self.routes.get(&at) {
            steps.push(match via {
                Via::Field(name, class) => {
                    format!("{}.{}", self.classes.class_name(*class), self.classes.name(*name))
                }
                Via::Element(class) => self.classes.class_name(*class),
            });
            at = *from;
        }
        steps.reverse();
        let root = match (self.statics.get(&at), self.roots.get(&at)) {
            (Some((class, name)), _) => {
                format!("static {}.{}", self.classes.class_name(*class), self.classes.name(*name))
            }
            (None, Some(RootKind::Thread)) => match names.of_thread(at) {
                Some(name) => format!("thread \"{name}\""),
                None => "a thread".to_owned(),
            },
            (None, Some(RootKind::Local)) => "a local variable of a thread".to_owned(),
            (None, Some(RootKind::JniGlobal)) => "a global reference of native code (JNI)".to_owned(),
            (None, Some(RootKind::Monitor)) => "a monitor that a thread holds".to_owned(),
            (None, _) => "a root of the collector".to_owned(),
        };
        Reach::By(root, steps)
    }
}

impl Listener for Ways {
    fn object(&mut self, id: u64, class: u64, values: &[u8]) {
        let id_bytes = self.id_bytes;
        let Some(layout) = self.classes.layout(class, id_bytes) else { return };
        let mut hits: Vec<(u64, u64)> = Vec::new();
        for slot in &layout.references {
            let Some(value) = values.get(slot.at..slot.at + id_bytes).map(number) else { continue };
            if self.wanted.get(value).is_some() {
                hits.push((value, slot.name));
            }
        }
        for slot in &layout.ends {
            let Some(value) = values.get(slot.at..slot.at + id_bytes).map(number) else { continue };
            if self.wanted.get(value).is_some() {
                self.ended.insert(value);
            }
        }
        hits.into_iter().for_each(|(to, name)| self.refers(id, to, Via::Field(name, class)));
    }

    fn references(&mut self, id: u64, class: u64, _first: u64, elements: &[u8]) {
        let mut hits: Vec<u64> = Vec::new();
        for value in elements.chunks_exact(self.id_bytes).map(number) {
            if self.wanted.get(value).is_some() {
                hits.push(value);
            }
        }
        hits.into_iter().for_each(|to| self.refers(id, to, Via::Element(class)));
    }
}

/// The names of threads that are roots of ways.
#[derive(Debug, Default)]
struct Text {
    /// By thread: the object of its name.
    names: FxHashMap<u64, u64>,
    /// By string: the array of its letters.
    letters: FxHashMap<u64, u64>,
    /// By array: what it says.
    texts: FxHashMap<u64, String>,
}

impl Text {
    /// Two more passes, where a thread is a root.
    fn read<R: Read + Seek>(
        records: &mut Records<R>,
        threads: &FxHashMap<u64, u64>,
        ways: &mut Ways,
        passes: &mut usize,
    ) -> io::Result<Text> {
        let is_named = |(thread, _): &(&u64, &u64)| {
            ways.routes.contains_key(*thread) && ways.roots.get(*thread) == Some(&RootKind::Thread)
        };
        let names = threads.iter().filter(is_named).map(|(thread, name)| (*thread, *name)).collect();
        let mut text = Text { names, ..Text::default() };
        if text.names.is_empty() {
            return Ok(text);
        }
        let wanted = text.names.values().copied().collect();
        let (classes, id_bytes) = (&mut ways.classes, ways.id_bytes);
        records.pass(&mut Strings { wanted, text: &mut text, classes, id_bytes }, &mut |_, _| ())?;
        let mut letters = Letters { wanted: text.letters.values().copied().collect(), text: &mut text };
        records.pass(&mut letters, &mut |_, _| ())?;
        *passes += 2;
        Ok(text)
    }

    fn of_thread(&self, thread: u64) -> Option<&str> {
        let text = self.texts.get(self.letters.get(self.names.get(&thread)?)?)?;
        Some(text.as_str())
    }
}

/// Finds the letters of strings: a string's one reference.
struct Strings<'a> {
    wanted: FxHashSet<u64>,
    text: &'a mut Text,
    classes: &'a mut Classes,
    id_bytes: usize,
}

impl Listener for Strings<'_> {
    fn object(&mut self, id: u64, class: u64, values: &[u8]) {
        if self.wanted.contains(&id) {
            let slot = self.classes.layout(class, self.id_bytes).and_then(|layout| layout.references.first().copied());
            let value = slot.and_then(|slot| values.get(slot.at..slot.at + self.id_bytes)).map_or(0, number);
            self.text.letters.insert(id, value);
        }
    }
}

/// Reads letters.
struct Letters<'a> {
    wanted: FxHashSet<u64>,
    text: &'a mut Text,
}

impl Listener for Letters<'_> {
    fn letters(&mut self, id: u64, letters: &str) {
        if self.wanted.contains(&id) {
            self.text.texts.insert(id, letters.to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
