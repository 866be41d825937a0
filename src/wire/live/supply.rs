//! What gave the memory that a call stack counts: malloc, or something beside it.

/// What gave the memory that a stack record counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Supply {
    /// The malloc family: samples.
    #[default]
    Malloc = 0,
    /// mmap, mremap.
    Mapping = 1,
    /// pthread_create: the stacks of threads that it started.
    Thread = 2,
}

impl Supply {
    /// The supply of that number; what is unknown is nothing of malloc's.
    pub(crate) fn of_number(number: u8) -> Supply {
        match number {
            0 => Supply::Malloc,
            2 => Supply::Thread,
            _ => Supply::Mapping,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_not_mallocs() {
        assert_eq!([0, 1, 2, 77].map(Supply::of_number).map(|supply| supply as u8), [0, 1, 2, 1]);
    }
}
