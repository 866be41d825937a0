//! `heaptap man`: the manual page, made from the table of arguments that is parsed.

use super::help;
use super::output::Output;
use crate::cli::render::layout::Layout;
use crate::wire::whole_file;
use anyhow::{Context, Result};
use clap::Command;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Columns of a page that is not filled by `man`.
const PAGE_WIDTH: usize = 76;

/// Write the manual page: heaptap man | man -l -
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Write the pages of all commands into this directory
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Writes the page, or all pages.
pub(crate) fn run(arguments: &Arguments, program: Command) -> Result<ExitCode> {
    match &arguments.output {
        Some(directory) => {
            let context = || format!("cannot write manual pages to {}", directory.display());
            std::fs::create_dir_all(directory).with_context(context)?;
            generate(program, directory).with_context(context)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(program).render(&mut page)?;
            Output::default().write_plain(|out| out.write_all(&page))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The page about `MALLOC_CONF`: what `heaptap help options` prints, as it is.
fn options() -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    help::write_options(Layout { width: PAGE_WIDTH, has_colour: false }, &mut text)?;
    let mut page =
        String::from(".TH heaptap-options 7\n.SH NAME\nheaptap-options \\- what MALLOC_CONF says to heaptap\n.nf\n");
    for line in String::from_utf8_lossy(&text).lines() {
        // `\&` is nothing, and keeps a point or an apostrophe from being a command.
        page += &format!("\\&{}\n", line.replace('\\', "\\e").replace('-', "\\-"));
    }
    Ok(page.into_bytes())
}

/// In a folder of our own first: what lies at a page's name already is replaced, and never written through.
fn generate(program: Command, directory: &Path) -> io::Result<()> {
    let own = directory.join(format!(".heaptap-man-{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&own)?;
    let made = clap_mangen::generate_to(program, &own).and_then(|()| {
        whole_file::replace(&own.join("heaptap-options.7"), &mut |page| page.write_all(&options()?))?;
        for page in fs::read_dir(&own)? {
            let page = page?;
            fs::rename(page.path(), directory.join(page.file_name()))?;
        }
        Ok(())
    });
    made.and(fs::remove_dir_all(&own))
}
