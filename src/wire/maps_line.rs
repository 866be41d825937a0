//! A line of `/proc/PID/maps`: which file lies where in a process. Allocates nothing, and believes nothing.

/// The deletion mark that the kernel puts behind a name.
const DELETED: &[u8] = b" (deleted)";

/// One mapping: `7f5390dff000-7f5390e03000 r-xp 00001000 fe:01 12   /a/b.so`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapsLine<'a> {
    /// First address.
    pub(crate) start: u64,
    /// One past the last address.
    pub(crate) end: u64,
    /// Four letters: `rwxp`, `-` where not.
    pub(crate) permissions: &'a [u8],
    /// Where in the file it begins.
    pub(crate) offset: u64,
    /// The file's name without the kernel's ` (deleted)`, or `[a name of the kernel's]`; empty for anonymous memory.
    pub(crate) path: &'a [u8],
    /// The file was unlinked or replaced.
    pub(crate) is_deleted: bool,
}

impl<'a> MapsLine<'a> {
    /// Reads a line without its newline; `None` if it is of another shape.
    pub(crate) fn read(line: &'a [u8]) -> Option<MapsLine<'a>> {
        let mut fields = line.trim_ascii_start().splitn(6, |&byte| byte == b' ');
        let mut range = fields.next()?.splitn(2, |&byte| byte == b'-');
        let (start, end) = (hexadecimal(range.next()?)?, hexadecimal(range.next()?)?);
        let (permissions, offset) = (fields.next()?, hexadecimal(fields.next()?)?);
        let _device = fields.next()?;
        let name = fields.nth(1).unwrap_or_default().trim_ascii_start();
        let path = name.strip_suffix(DELETED);
        let (path, is_deleted) = (path.unwrap_or(name), path.is_some());
        (start < end).then_some(MapsLine { start, end, permissions, offset, path, is_deleted })
    }

    /// Every mapping of a file of them.
    pub(crate) fn all(maps: &'a [u8]) -> impl Iterator<Item = MapsLine<'a>> {
        maps.split(|&byte| byte == b'\n').filter_map(MapsLine::read)
    }

    /// Whether its memory may be executed.
    pub(crate) fn is_code(&self) -> bool {
        self.permissions.get(2) == Some(&b'x')
    }
}

/// The executable lines, which are all that readers of dumps look at; a data node has tens of thousands of others. The
/// mark on deleted files is taken off, as jeprof wants to see a path that ends in `.so`.
pub(crate) fn code_lines(maps: &[u8]) -> Vec<u8> {
    let lines = maps.split(|&byte| byte == b'\n');
    let code = lines.filter(|line| MapsLine::read(line).is_some_and(|line| line.is_code()));
    code.flat_map(|line| [line.strip_suffix(DELETED).unwrap_or(line), b"\n"]).flatten().copied().collect()
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let (first, rest) = digits.split_first()?;
    let digit = |byte: u8| char::from(byte).to_digit(16).map(u64::from);
    rest.iter().try_fold(digit(*first)?, |number, &byte| number.checked_mul(16)?.checked_add(digit(byte)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let read = |line: &'static str| MapsLine::read(line.as_bytes());
        let line = read("7f5390dff000-7f5390e03000 r-xp 00001000 fe:01 12   /a b/c.so (deleted)").unwrap();
        assert_eq!((line.start, line.end, line.offset), (0x7f53_90df_f000, 0x7f53_90e0_3000, 0x1000));
        assert_eq!((line.path, line.is_deleted, line.is_code()), (&b"/a b/c.so"[..], true, true));
        assert_eq!(read("1-2 rw-p 0 00:00 0 ").map(|line| (line.path, line.is_code())), Some((&b""[..], false)));
        assert_eq!(read("1-2 rw-p 0 00:00 0    [heap]").map(|line| line.path), Some(&b"[heap]"[..]));
        assert_eq!(read("  1-2 r-xp 0 00:00 0").map(|line| line.path), Some(&b""[..]));
    }

    #[test]
    fn other_lines_are_none() {
        let others = ["", "-", "1-", "-2 r-xp 0 0:0 0 /a", "2-1 r-xp 0 0:0 0 /a", "1-2", "1-2 r-xp", "1-2 r-xp x 0 0"];
        assert_eq!(others.map(|line| MapsLine::read(line.as_bytes())), [None; 8]);
        assert_eq!(MapsLine::read(b"11111111111111111-2 r-xp 0 0:0 0 /a"), None);
        assert_eq!((MapsLine::read(b"Rss:  4 kB"), MapsLine::read(&[0xff; 40])), (None, None));
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel what Miri does not know")]
    fn code_lines_are_kept_and_deletion_marks_are_not() {
        let maps = b"1-2 r-xp 0 00:00 0 /a/b.so\n2-3 rw-p 0 00:00 0 /a/b.so\n3-4 r-xp 0 00:00 0 /c.so (deleted)\n";
        assert_eq!(code_lines(maps), b"1-2 r-xp 0 00:00 0 /a/b.so\n3-4 r-xp 0 00:00 0 /c.so\n");
        let own = std::fs::read("/proc/self/maps").unwrap();
        assert!(MapsLine::all(&code_lines(&own)).all(|line| line.is_code()) && MapsLine::all(&own).count() > 3);
    }
}
