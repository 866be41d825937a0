//! What a heap dump says of classes: names, fields, and where in an object the references and longs lie.

use super::records::{Class, LONG, OBJECT, width};
use rustc_hash::FxHashMap;

/// Bytes of all names that are kept.
const MOST_NAMES: usize = 512 << 20;
/// Classes that one extends, at most.
const MOST_ABOVE: usize = 256;

/// A field of an object that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Where in the values it lies.
    pub(crate) at: usize,
    /// [`OBJECT`] or [`LONG`].
    pub(crate) kind: u8,
    /// Id of its name.
    pub(crate) name: u64,
}

/// What an object of a class is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    /// Its longs.
    pub(crate) longs: Vec<Slot>,
    /// Its references that keep what they lead to alive.
    pub(crate) references: Vec<Slot>,
    /// Its references to what it frees, or does, when the collector has found an object.
    pub(crate) ends: Vec<Slot>,
    /// Whether it is a thread; then where its name's reference lies.
    pub(crate) thread_name: Option<usize>,
    /// Where the reference lies by which a buffer tells that it is a part of another.
    pub(crate) attachment: Option<usize>,
}

/// Names and classes.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    names: FxHashMap<u64, Box<str>>,
    name_bytes: usize,
    class_names: FxHashMap<u64, u64>,
    classes: FxHashMap<u64, Class>,
    layouts: Vec<Layout>,
    /// Which of them is a class's.
    layout_of: FxHashMap<u64, usize>,
    /// The class that was asked for last, and its: objects of one class often lie side by side.
    last: Option<(u64, usize)>,
}

impl Classes {
    /// Keeps a name.
    pub(crate) fn add_name(&mut self, id: u64, name: &[u8]) {
        self.name_bytes += name.len() + 48;
        if self.name_bytes < MOST_NAMES {
            self.names.insert(id, String::from_utf8_lossy(name).into());
        }
    }

    /// Keeps which name a class has.
    pub(crate) fn add_class_name(&mut self, class: u64, name: u64) {
        self.class_names.insert(class, name);
    }

    /// Keeps a class.
    pub(crate) fn add_class(&mut self, class: Class) {
        self.classes.insert(class.id, class);
    }

    /// All classes.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Class> {
        self.classes.values()
    }

    /// A name, as it stands there.
    pub(crate) fn name(&self, id: u64) -> &str {
        self.names.get(&id).map_or("?", |name| name)
    }

    /// What a class is called in Java: `java.util.HashMap$Node[]`.
    pub(crate) fn class_name(&self, class: u64) -> String {
        let name = self.class_names.get(&class).map_or("?", |name| self.name(*name));
        let dimensions = name.bytes().take_while(|byte| *byte == b'[').count();
        let element = name.get(dimensions..).unwrap_or(name);
        let element = match element.strip_prefix('L').filter(|_| dimensions > 0) {
            Some(class) => class.trim_end_matches(';').to_owned(),
            None if dimensions > 0 => primitive(element).to_owned(),
            None => element.to_owned(),
        };
        element.replace('/', ".") + &"[]".repeat(dimensions)
    }

    /// What an object of a class is made of; `None`: the class is not known.
    pub(crate) fn layout(&mut self, class: u64, id_bytes: usize) -> Option<&Layout> {
        let last = self.last.filter(|(last, _)| *last == class).map(|(_, number)| number);
        let number = match last.or_else(|| self.layout_of.get(&class).copied()) {
            Some(number) => number,
            None => {
                let layout = self.lay_out(class, id_bytes)?;
                self.layouts.push(layout);
                self.layout_of.insert(class, self.layouts.len() - 1);
                self.layouts.len() - 1
            }
        };
        self.last = Some((class, number));
        self.layouts.get(number)
    }

    /// Whether a class is one of that name or extends it.
    pub(crate) fn extends(&self, class: u64, name: &str) -> bool {
        self.above(class).any(|class| self.class_names.get(&class.id).is_some_and(|id| self.name(*id) == name))
    }

    fn above(&self, class: u64) -> impl Iterator<Item = &Class> {
        let first = self.classes.get(&class);
        std::iter::successors(first, |class| self.classes.get(&class.superclass)).take(MOST_ABOVE)
    }

    fn lay_out(&self, class: u64, id_bytes: usize) -> Option<Layout> {
        self.classes.get(&class)?;
        let (mut layout, mut at) = (Layout::default(), 0);
        // What a phantom reference leads to runs when its object is gone: that keeps nothing alive that anybody uses.
        let is_phantom = self.extends(class, "java/lang/ref/PhantomReference");
        // Finalizers, and weak references of libraries that wait for their queue, free something, too.
        let is_platforms = self.class_names.get(&class).is_some_and(|name| self.name(*name).starts_with("java/"));
        let is_finalizer = self.extends(class, "java/lang/ref/FinalReference");
        let ends = is_phantom || is_finalizer || (!is_platforms && self.extends(class, "java/lang/ref/Reference"));
        for of in self.above(class) {
            let owner = self.class_names.get(&of.id).map_or("", |name| self.name(*name));
            for (name, kind) in &of.fields {
                let slot = Slot { at, kind: *kind, name: *name };
                let called = self.name(*name);
                // Weak, soft and phantom ones: the collector clears them.
                let is_weak = owner == "java/lang/ref/Reference" && called != "queue";
                if ends && *kind == OBJECT && (called == "referent" || owner != "java/lang/ref/Reference") {
                    layout.ends.push(slot);
                }
                match *kind {
                    LONG => layout.longs.push(slot),
                    OBJECT if called == "name" && owner == "java/lang/Thread" => {
                        layout.thread_name = Some(at);
                        layout.references.push(slot);
                    }
                    OBJECT if is_weak || is_phantom => {}
                    OBJECT => {
                        if called == "att" && owner == "java/nio/DirectByteBuffer" {
                            layout.attachment = Some(at);
                        }
                        layout.references.push(slot);
                    }
                    _ => {}
                }
                at += width(*kind, id_bytes)?;
            }
        }
        Some(layout)
    }
}

fn primitive(letter: &str) -> &str {
    match letter {
        "Z" => "boolean",
        "B" => "byte",
        "C" => "char",
        "S" => "short",
        "I" => "int",
        "J" => "long",
        "F" => "float",
        "D" => "double",
        other => other,
    }
}
