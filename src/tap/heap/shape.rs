//! The shape of a block that is asked for: size, alignment, zeroed or not.

/// Bytes that an object can have: at most `isize::MAX`. A larger request fails and is no allocation, so nothing counts
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(usize);

impl Size {
    /// `None`: no object is that large.
    #[inline]
    pub(crate) const fn new(bytes: usize) -> Option<Size> {
        if bytes > isize::MAX as usize { None } else { Some(Size(bytes)) }
    }

    /// How many bytes.
    #[inline]
    pub(crate) const fn bytes(self) -> usize {
        self.0
    }
}

/// The shape of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Bytes asked for.
    pub(crate) size: Size,
    /// Alignment asked for, a power of two; 1 where none was.
    pub(crate) alignment: usize,
    /// Whether memory that the program has not had yet must read as zeros.
    pub(crate) zeroed: bool,
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn no_object_is_larger_than_half_the_address_space() {
        assert_eq!(Size::new(isize::MAX as usize).map(Size::bytes), Some(isize::MAX as usize));
        assert_eq!([1 << 63, usize::MAX, i32::MIN as usize].map(Size::new), [None; 3]);
    }
}
