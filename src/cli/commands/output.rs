//! Where a result goes: stdout, or a file that appears whole.

use super::pager;
use crate::cli::render::Renderer;
use crate::cli::render::json::Json;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// `-o FILE`.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct Output {
    /// Write to this file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

impl Output {
    /// Has `render` write text to the place.
    pub(crate) fn write(&self, render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        match self.output.as_deref().filter(|path| *path != Path::new("-")) {
            Some(path) => write_file(path, render),
            None => Ok(pager::page(render)?),
        }
    }

    /// Writes an answer: as JSON where that is asked for, else as text.
    pub(crate) fn answer<T: Serialize>(&self, answer: &T, as_json: bool, text: &dyn Renderer<T>) -> Result<()> {
        let renderer = if as_json { &Json } else { text };
        self.write(|out| renderer.render(answer, out))
    }

    /// As [`Output::write`], for what is made to be read by a program: no pager.
    pub(crate) fn write_plain(&self, render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        if self.output.is_some() {
            return self.write(render);
        }
        let mut out = BufWriter::new(io::stdout().lock());
        render(&mut out)?;
        Ok(out.flush()?)
    }

    /// As [`Output::write`], for what no terminal should get.
    pub(crate) fn write_binary(&self, render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        if self.output.is_none() && io::stdout().is_terminal() {
            bail!("this format is not for a terminal: name a file with -o");
        }
        self.write(render)
    }
}

/// Under another name first, so that nobody finds half a file.
fn write_file(path: &Path, render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut name = path.file_name().with_context(|| format!("{} is no file name", path.display()))?.to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = File::create(&temporary).and_then(|file| {
        let mut out = BufWriter::new(file);
        render(&mut out)?;
        out.flush()?;
        std::fs::rename(&temporary, path)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}
