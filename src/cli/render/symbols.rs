//! Which file's names came from where, for people: what has least names is what to look at.

use super::Renderer;
use super::layout::{Layout, clean, cut_middle};
use crate::cli::symbolize::{Module, Source};
use serde::Serialize;
use std::io::{self, Write};

/// The list; its JSON form is the same.
#[derive(Debug, Serialize)]
pub(crate) struct Modules {
    /// Version of this form: fields may be added, none changes its meaning.
    pub(crate) schema: u32,
    /// Most places first.
    pub(crate) modules: Vec<Row>,
}

/// One file.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// Its path in the process.
    pub(crate) path: String,
    /// The build id that the process had mapped.
    pub(crate) build_id: Option<String>,
    /// Different places of the profile in it.
    pub(crate) places: usize,
    /// How many of them have a name.
    pub(crate) named: usize,
    /// Where the names came from, in words.
    pub(crate) source: String,
    /// The file that was found is not the one that the process had.
    pub(crate) is_refused: bool,
    /// Something the user should know.
    pub(crate) warning: Option<String>,
    /// What would give more names.
    pub(crate) advice: Option<String>,
}

impl Modules {
    /// The list of what was looked at.
    pub(crate) fn of(modules: &[Module]) -> Modules {
        Modules { schema: 1, modules: modules.iter().map(row).collect() }
    }

    /// Whether a file was refused because it is not the one that the process had.
    pub(crate) fn has_refusal(&self) -> bool {
        self.modules.iter().any(|row| row.is_refused)
    }
}

fn row(module: &Module) -> Row {
    let id = module.build_id.as_deref().and_then(|id| id.split_at_checked(2));
    let debug_file = id.map(|(folder, file)| format!("/usr/lib/debug/.build-id/{folder}/{file}.debug"));
    let advice = match &module.source {
        Source::Exports => Some(match debug_file {
            Some(file) => format!("install its debug symbols ({file}), or name their directory with --debug-dir"),
            None => "install its debug symbols (on Debian: the -dbgsym package)".to_owned(),
        }),
        Source::Nothing(_) => {
            Some("copy the file here and name the directory that stands for / with --sysroot".to_owned())
        }
        _ => None,
    };
    Row {
        path: module.path.clone(),
        build_id: module.build_id.clone(),
        places: module.places,
        named: module.named,
        source: module.source.to_string(),
        is_refused: module.warning.is_some() && matches!(module.source, Source::Nothing(_)),
        warning: module.warning.clone(),
        advice,
    }
}

/// Writes the list.
#[derive(Clone, Debug)]
pub(crate) struct SymbolsText {
    /// The page.
    pub(crate) layout: Layout,
}

impl Renderer<Modules> for SymbolsText {
    fn render(&self, modules: &Modules, out: &mut dyn Write) -> io::Result<()> {
        let width = self.layout.width;
        writeln!(out, "{}", self.layout.dim(&format!("{:>8} {:>8}  file", "places", "named")))?;
        for row in &modules.modules {
            let figures = format!("{:>8} {:>8}  ", row.places, row.named);
            writeln!(out, "{figures}{}", self.layout.bold(&cut_middle(&clean(&row.path), width.saturating_sub(19))))?;
            let id = row.build_id.as_deref().map_or(String::new(), |id| format!("   build id {}", clean(id)));
            writeln!(out, "{:19}{}{id}", "", clean(&row.source))?;
            // A refusal is the source's own words.
            for note in row.warning.iter().filter(|_| !row.is_refused).chain(&row.advice) {
                writeln!(out, "{:19}{}", "", self.layout.dim(&format!("=> {}", clean(note))))?;
            }
        }
        Ok(())
    }
}
