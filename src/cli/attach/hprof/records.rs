//! The records of a heap dump of the HotSpot JVM (heapDumper.cpp, "JAVA PROFILE 1.0.2"): names, classes with their
//! fields, objects, and what the collector begins with.
//!
//! One pass tells each record to a listener. What a record claims is checked against what the file has; a dump that
//! ends early gives what came before, with a word.

use super::stream::Stream;
use std::io::{self, Read, Seek};

const UTF8: u8 = 0x01;
const LOAD_CLASS: u8 = 0x02;
const HEAP_DUMP: u8 = 0x0c;
const HEAP_DUMP_SEGMENT: u8 = 0x1c;
/// Longest name.
const MOST_NAME: u32 = 1 << 16;

/// Type of a value.
pub(crate) const OBJECT: u8 = 2;
/// Type of a value of 64 bits.
pub(crate) const LONG: u8 = 11;

/// What the collector begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RootKind {
    /// A global reference of native code.
    JniGlobal,
    /// A local variable of a thread, in Java or native code.
    Local,
    /// A class that is never unloaded.
    SystemClass,
    /// A monitor that a thread holds.
    Monitor,
    /// A thread.
    Thread,
    /// Another one.
    Other,
}

/// A field: its name's id, and its type.
pub(crate) type Field = (u64, u8);

/// A class.
#[derive(Debug, Default)]
pub(crate) struct Class {
    /// Its object.
    pub(crate) id: u64,
    /// The class that it extends, 0: none.
    pub(crate) superclass: u64,
    /// Static fields: name's id, type, value.
    pub(crate) statics: Vec<(u64, u8, u64)>,
    /// Its own fields of objects.
    pub(crate) fields: Vec<Field>,
}

/// Hears how far a pass is: bytes of bytes.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Hears what a dump holds.
pub(crate) trait Listener {
    /// A name.
    fn name(&mut self, _id: u64, _name: &[u8]) {}
    /// The name of a class, by its id.
    fn class_name(&mut self, _class: u64, _name: u64) {}
    /// A class.
    fn class(&mut self, _class: Class) {}
    /// A root.
    fn root(&mut self, _id: u64, _kind: RootKind) {}
    /// An object with the values of its fields: its class's own first, then those that it extends.
    fn object(&mut self, _id: u64, _class: u64, _values: &[u8]) {}
    /// Some elements of an array of references, from the one of that number on.
    fn references(&mut self, _id: u64, _class: u64, _first: u64, _elements: &[u8]) {}
    /// Some elements of an array of longs.
    fn longs(&mut self, _id: u64, _first: u64, _elements: &[u8]) {}
    /// A short array of bytes or letters, as text.
    fn letters(&mut self, _id: u64, _letters: &str) {}
}

/// Longest array of letters that is told.
const MOST_LETTERS: u64 = 64;
/// Elements of an array that are told at once.
const PIECE: u64 = 8192;
/// Records between two words on progress.
const BEAT: u32 = 1 << 16;

/// A dump that is read.
pub(crate) struct Records<R> {
    stream: Stream<R>,
    id_bytes: usize,
}

impl<R: Read + Seek> Records<R> {
    /// Of a file that begins as heap dumps do.
    pub(crate) fn open(stream: Stream<R>) -> io::Result<Records<R>> {
        let mut records = Records { stream, id_bytes: 8 };
        records.header()?;
        Ok(records)
    }

    /// Bytes of the file.
    pub(crate) fn length(&self) -> u64 {
        self.stream.length()
    }

    /// Bytes of an id, 4 or 8.
    pub(crate) fn id_bytes(&self) -> usize {
        self.id_bytes
    }

    fn header(&mut self) -> io::Result<()> {
        let other =
            || io::Error::new(io::ErrorKind::InvalidData, "it does not begin as heap dumps do (JAVA PROFILE …)");
        self.stream.rewind()?;
        let mut name = Vec::new();
        loop {
            match self.u8().map_err(|_| other())? {
                0 => break,
                byte if name.len() < 32 => name.push(byte),
                _ => return Err(other()),
            }
        }
        if !name.starts_with(b"JAVA PROFILE 1.0.") {
            return Err(other());
        }
        self.id_bytes = match self.u32()? {
            4 => 4,
            8 => 8,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "its ids have neither 4 nor 8 bytes")),
        };
        self.stream.skip(8)
    }

    /// Tells everything from the beginning on. `Ok(false)`: the dump ends early or is damaged; what came before is
    /// told.
    pub(crate) fn pass(&mut self, listener: &mut dyn Listener, progress: Progress<'_>) -> io::Result<bool> {
        self.header()?;
        let length = self.length();
        while self.stream.place() < length {
            if let Err(error) = self.record(listener, progress) {
                return match error.kind() {
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Ok(false),
                    _ => Err(error),
                };
            }
        }
        Ok(true)
    }

    fn record(&mut self, listener: &mut dyn Listener, progress: Progress<'_>) -> io::Result<()> {
        let tag = self.u8()?;
        self.stream.skip(4)?;
        let length = self.u32()?;
        match tag {
            UTF8 => {
                let id = self.id()?;
                let length = length.checked_sub(self.id_bytes as u32).ok_or(io::ErrorKind::InvalidData)?;
                if length > MOST_NAME {
                    return self.stream.skip(u64::from(length));
                }
                listener.name(id, self.stream.take(length as usize)?);
            }
            LOAD_CLASS => {
                self.stream.skip(4)?;
                let class = self.id()?;
                self.stream.skip(4)?;
                listener.class_name(class, self.id()?);
                let told = 8 + 2 * self.id_bytes as u32;
                self.stream.skip(u64::from(length.saturating_sub(told)))?;
            }
            HEAP_DUMP | HEAP_DUMP_SEGMENT => {
                // 0: it goes on to the end of the file.
                let end = self.stream.place() + u64::from(length);
                let end = if length == 0 && tag == HEAP_DUMP { self.length() } else { end };
                self.segment(end, listener, progress)?;
            }
            _ => self.stream.skip(u64::from(length))?,
        }
        Ok(())
    }

    fn segment(&mut self, end: u64, listener: &mut dyn Listener, progress: Progress<'_>) -> io::Result<()> {
        let mut count = 0u32;
        while self.stream.place() < end {
            if count.is_multiple_of(BEAT) {
                progress(self.stream.place(), self.length());
            }
            count = count.wrapping_add(1);
            match self.u8()? {
                0x01 => self.root(RootKind::JniGlobal, self.id_bytes as u64, listener)?,
                0x02 | 0x03 => self.root(RootKind::Local, 8, listener)?,
                0x04 => self.root(RootKind::Local, 4, listener)?,
                0x05 => self.root(RootKind::SystemClass, 0, listener)?,
                0x06 => self.root(RootKind::Local, 4, listener)?,
                0x07 => self.root(RootKind::Monitor, 0, listener)?,
                0x08 => self.root(RootKind::Thread, 8, listener)?,
                0xff => self.root(RootKind::Other, 0, listener)?,
                0x20 => self.class(listener)?,
                0x21 => {
                    let id = self.id()?;
                    self.stream.skip(4)?;
                    let class = self.id()?;
                    let bytes = self.u32()? as usize;
                    listener.object(id, class, self.stream.take(bytes)?);
                }
                0x22 => {
                    let id = self.id()?;
                    self.stream.skip(4)?;
                    let count = u64::from(self.u32()?);
                    let class = self.id()?;
                    let width = self.id_bytes;
                    self.elements(count, width, &mut |first, bytes| listener.references(id, class, first, bytes))?;
                }
                0x23 => {
                    let id = self.id()?;
                    self.stream.skip(4)?;
                    let count = u64::from(self.u32()?);
                    match self.u8()? {
                        LONG => self.elements(count, 8, &mut |first, bytes| listener.longs(id, first, bytes))?,
                        kind @ (5 | 8) if count <= MOST_LETTERS => {
                            let bytes = self.stream.take(count as usize * self.width(kind)?)?;
                            listener.letters(id, &letters(bytes, kind));
                        }
                        kind => self.stream.skip(count.saturating_mul(self.width(kind)? as u64))?,
                    }
                }
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(())
    }

    fn root(&mut self, kind: RootKind, more: u64, listener: &mut dyn Listener) -> io::Result<()> {
        let id = self.id()?;
        self.stream.skip(more)?;
        listener.root(id, kind);
        Ok(())
    }

    fn elements(&mut self, count: u64, width: usize, each: &mut dyn FnMut(u64, &[u8])) -> io::Result<()> {
        let mut first = 0;
        while first < count {
            let here = (count - first).min(PIECE);
            each(first, self.stream.take(here as usize * width)?);
            first += here;
        }
        Ok(())
    }

    fn class(&mut self, listener: &mut dyn Listener) -> io::Result<()> {
        let id = self.id()?;
        self.stream.skip(4)?;
        let superclass = self.id()?;
        // Loader, signers, protection domain, two reserved ids, bytes of an object.
        self.stream.skip(5 * self.id_bytes as u64 + 4)?;
        let mut class = Class { id, superclass, ..Class::default() };
        for _ in 0..self.u16()? {
            self.stream.skip(2)?;
            let kind = self.u8()?;
            let width = self.width(kind)?;
            self.stream.skip(width as u64)?;
        }
        for _ in 0..self.u16()? {
            let (name, kind) = (self.id()?, self.u8()?);
            let width = self.width(kind)?;
            class.statics.push((name, kind, number(self.stream.take(width)?)));
        }
        for _ in 0..self.u16()? {
            class.fields.push((self.id()?, self.u8()?));
        }
        listener.class(class);
        Ok(())
    }

    /// Bytes of a value of a type.
    fn width(&self, kind: u8) -> io::Result<usize> {
        width(kind, self.id_bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn u8(&mut self) -> io::Result<u8> {
        Ok(number(self.stream.take(1)?) as u8)
    }

    fn u16(&mut self) -> io::Result<u16> {
        Ok(number(self.stream.take(2)?) as u16)
    }

    fn u32(&mut self) -> io::Result<u32> {
        Ok(number(self.stream.take(4)?) as u32)
    }

    fn id(&mut self) -> io::Result<u64> {
        Ok(number(self.stream.take(self.id_bytes)?))
    }
}

/// What an array of bytes (ISO 8859-1) or of letters says.
fn letters(bytes: &[u8], kind: u8) -> String {
    match kind {
        8 => bytes.iter().map(|byte| char::from(*byte)).collect(),
        _ => {
            let units: Vec<u16> = bytes.chunks_exact(2).map(|unit| number(unit) as u16).collect();
            String::from_utf16_lossy(&units)
        }
    }
}

/// Bytes of a value of a type; `None`: there is none of that number.
pub(crate) fn width(kind: u8, id_bytes: usize) -> Option<usize> {
    Some(match kind {
        OBJECT => id_bytes,
        4 | 8 => 1,
        5 | 9 => 2,
        6 | 10 => 4,
        7 | LONG => 8,
        _ => return None,
    })
}

/// A number as heap dumps have it: the highest byte first.
#[inline]
pub(crate) fn number(bytes: &[u8]) -> u64 {
    match bytes.try_into() {
        Ok(whole) => u64::from_be_bytes(whole),
        Err(_) => bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
    }
}
