//! A heap dump's bytes from its beginning to its end, again and again, without holding it in memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

/// A file of bytes that is read in order; what is skipped is not read where it can be jumped over.
pub(crate) struct Stream<R> {
    from: R,
    buffer: Vec<u8>,
    at: usize,
    /// Where in the file the buffer ends.
    end: u64,
    length: u64,
}

impl Stream<File> {
    /// Of a file, from its beginning.
    pub(crate) fn of_file(file: File) -> io::Result<Stream<File>> {
        let length = file.metadata()?.len();
        Stream::new(file, length)
    }
}

impl<R: Read + Seek> Stream<R> {
    /// Of `length` bytes.
    pub(crate) fn new(mut from: R, length: u64) -> io::Result<Stream<R>> {
        from.seek(SeekFrom::Start(0))?;
        Ok(Stream { from, buffer: Vec::new(), at: 0, end: 0, length })
    }

    /// How many bytes there are.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Where the next byte is.
    pub(crate) fn place(&self) -> u64 {
        self.end - (self.buffer.len() - self.at) as u64
    }

    /// Goes back to the beginning.
    pub(crate) fn rewind(&mut self) -> io::Result<()> {
        self.from.seek(SeekFrom::Start(0))?;
        self.buffer.clear();
        (self.at, self.end) = (0, 0);
        Ok(())
    }

    /// The next bytes, as many as are asked for; an error at the end.
    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> io::Result<&[u8]> {
        if self.buffer.len() - self.at < count {
            self.fill(count)?;
        }
        let start = self.at;
        self.at += count;
        self.buffer.get(start..start + count).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Goes on behind so many bytes.
    pub(crate) fn skip(&mut self, count: u64) -> io::Result<()> {
        let here = (self.buffer.len() - self.at) as u64;
        if count <= here {
            self.at += count as usize;
            return Ok(());
        }
        let to = self.place().checked_add(count).filter(|to| *to <= self.length);
        let to = to.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.from.seek(SeekFrom::Start(to))?;
        self.buffer.clear();
        (self.at, self.end) = (0, to);
        Ok(())
    }

    #[cold]
    fn fill(&mut self, count: usize) -> io::Result<()> {
        // Never more than the file has: a length in it may claim anything.
        if count as u64 > self.length - self.place().min(self.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let had = self.buffer.len();
        self.buffer.resize(had.max(count).max(BUFFER), 0);
        let mut filled = had;
        while filled < count {
            match self.from.read(self.buffer.get_mut(filled..).unwrap_or_default()) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.buffer.truncate(filled);
        self.end += (filled - had) as u64;
        if filled < count { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn bytes_come_in_order_however_they_are_taken() {
        let bytes: Vec<u8> = (0..3 * BUFFER).map(|n| (n / 7) as u8).collect();
        let mut stream = Stream::new(Cursor::new(&bytes), bytes.len() as u64).unwrap();
        assert_eq!(stream.take(5).unwrap(), &bytes[..5]);
        stream.skip(BUFFER as u64).unwrap();
        assert_eq!((stream.place(), stream.take(9).unwrap()), (BUFFER as u64 + 5, &bytes[BUFFER + 5..BUFFER + 14]));
        let rest = bytes.len() - BUFFER - 14;
        assert_eq!(stream.take(rest).unwrap(), &bytes[BUFFER + 14..]);
        assert!(stream.take(1).is_err() && stream.skip(1).is_err());
        stream.rewind().unwrap();
        assert_eq!(stream.take(3).unwrap(), &bytes[..3]);
        assert!(stream.take(usize::MAX / 2).is_err());
    }
}
