//! Answers for programs: one JSON object. The types' own heads say what is promised.

use super::Renderer;
use crate::cli::inert::Inert;
use serde::Serialize;
use std::io::{self, Write};

/// Writes any answer as JSON.
pub(crate) struct Json;

impl<T: Serialize> Renderer<T> for Json {
    fn render(&self, answer: &T, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(Inert::json(&mut *out), answer)?;
        out.write_all(b"\n")
    }
}
