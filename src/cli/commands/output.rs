//! Where a result goes: stdout, or a file that appears whole.

use super::{pager, terminal};
use crate::cli::inert::Inert;
use crate::cli::open::{self, Target};
use crate::cli::render::Renderer;
use crate::cli::render::json::Json;
use crate::wire::whole_file;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// `-o FILE`.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct Output {
    /// Write to this file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

impl Output {
    /// Has `render` write text to the place, harmless whatever names stand in it.
    pub(crate) fn write(&self, render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        let has_weight = self.file().is_none() && terminal::layout().has_colour;
        let render = |out: &mut dyn Write| render(&mut Inert::text(out, has_weight));
        match self.file() {
            Some(path) => write_file(path, render),
            None => Ok(pager::page(render)?),
        }
    }

    fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != Path::new("-"))
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
        render(&mut Inert::text(&mut out, false))?;
        Ok(out.flush()?)
    }

    /// For what no terminal should get, and nothing may change.
    pub(crate) fn write_binary(&self, render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        match self.file() {
            Some(path) => write_file(path, render),
            None if self.output.is_none() && io::stdout().is_terminal() => {
                bail!("this format is not for a terminal: name a file with -o")
            }
            None => {
                let mut out = BufWriter::new(io::stdout().lock());
                render(&mut out)?;
                Ok(out.flush()?)
            }
        }
    }
}

/// Under another name first, so that nobody finds half a file; readable by its owner only, as dumps are, unless the
/// user gave the file that he replaces another mode. Links, pipes and devices are written through and stay.
fn write_file(path: &Path, render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let mut render = Some(render);
    let mut write = |file: &mut File| {
        let mut out = BufWriter::new(file);
        render.take().map_or(Ok(()), |render| render(&mut out))?;
        out.flush()
    };
    let path = match open::target(path).with_context(failed)? {
        Target::Through(mut file) => return write(&mut file).with_context(failed),
        Target::Name(name) => name,
    };
    let mut name = path.file_name().with_context(|| format!("{} is no file name", path.display()))?.to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let mode = open::mode_of_ours(&path).unwrap_or(0o600);
    let written = whole_file::replace_by(&path.with_file_name(name), &path, &mut |file| {
        file.set_permissions(Permissions::from_mode(mode))?;
        write(file)
    });
    written.map(drop).with_context(failed)
}
