//! The report for programs: one JSON object, see `analyze::report` for its promise.

use super::{Renderer, View};
use std::io::{self, Write};

/// Writes the report as JSON.
pub(crate) struct Json;

impl Renderer for Json {
    fn render(&self, view: View<'_>, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, view.report)?;
        out.write_all(b"\n")
    }
}
