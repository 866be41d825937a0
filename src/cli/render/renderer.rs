//! What every format of the output is: a way to write an answer.

use std::io::{self, Write};

/// A format for answers of type `T`.
pub(crate) trait Renderer<T> {
    /// Writes the whole output; stops at the first error (a closed pipe is one).
    fn render(&self, answer: &T, out: &mut dyn Write) -> io::Result<()>;
}
