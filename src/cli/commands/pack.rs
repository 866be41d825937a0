//! `heaptap pack FILES… -o FILE`: one file that a colleague can read without this machine.

use super::inputs::Inputs;
use super::naming::Symbols;
use super::output::Output;
use crate::cli::attach::pack::{self, Contents};
use crate::cli::attach::{files, lives, region};
use crate::cli::profile::series::Series;
use crate::cli::render::layout::clean;
use crate::cli::render::units;
use crate::cli::symbolize::recorded::Recorded;
use crate::wire::dump_name::{DumpKind, DumpName};
use anyhow::{Context, Result, bail};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Put the dumps of a process and the names of everything in them into one file
///
/// All other commands read that file, on any machine: heaptap report shop.heaptap.tgz.
/// It is a gzipped tar archive: `heaptap-pack` (version), `symbols` (names, as text), `dumps/` and `java/`
/// (files as they were, for a stock jeprof).
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Dumps (*.heap), directories that hold them, or the pid of a running or killed process
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,

    /// Pack this process, when the files are of several (default: the one with most live bytes)
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,

    #[command(flatten)]
    symbols: Symbols,

    /// The pack [default: PROGRAM.PID.heaptap.tgz]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let staged = Staged::new(&arguments.files)?;
    let inputs = Inputs {
        files: staged.files.clone(),
        pid: arguments.pid,
        symbols: arguments.symbols.clone(),
        ..Inputs::default()
    };
    let opened = inputs.open()?;
    let dumps: Vec<PathBuf> = opened.series.dumps.iter().map(|dump| dump.path.clone()).collect();
    if let Some(inside) = dumps.iter().find(|path| !path.is_file()) {
        bail!("{} is in a pack already, or came through a pipe: name dump files", inside.display());
    }
    let symbols = Recorded::of(&opened.series.profile, &opened.modules);
    let contents = Contents { dumps: &dumps, sidecars: &sidecars(&opened.series), symbols: &symbols };
    let path = arguments.output.clone().unwrap_or_else(|| default_name(&opened.series));
    let output = Output { output: Some(path.clone()) };
    output.write_binary(|out| pack::write(&contents, out))?;
    if path != Path::new("-") {
        let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
        let shown = clean(&path.to_string_lossy());
        eprintln!("heaptap: wrote {shown}: {} dumps, {}", dumps.len(), units::bytes(bytes as f64));
        eprintln!("heaptap: it is read on any machine with\n  heaptap report {shown}");
    }
    Ok(ExitCode::SUCCESS)
}

fn default_name(series: &Series) -> PathBuf {
    let program = series.profile.program().and_then(|path| path.rsplit('/').next()).unwrap_or("heap");
    let program: String = program.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(60).collect();
    let pid = series.pid().map_or(String::new(), |pid| format!(".{pid}"));
    PathBuf::from(format!("{program}{pid}.heaptap.tgz"))
}

/// The side-cars that the dumps name and that are still there.
fn sidecars(series: &Series) -> Vec<PathBuf> {
    let named = series.profile.mappings.iter().map(|mapping| PathBuf::from(&mapping.path));
    let mut paths: Vec<PathBuf> =
        named.filter(|path| path.to_string_lossy().ends_with(".java.so") && path.is_file()).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// The arguments, regions among them written as dumps: what they hold must not change between the names
/// and the packing.
struct Staged {
    files: Vec<PathBuf>,
    folder: Option<PathBuf>,
}

impl Staged {
    fn new(arguments: &[PathBuf]) -> Result<Staged> {
        let mut notes = Vec::new();
        let mut staged = Staged { files: Vec::new(), folder: None };
        for path in files::expand(arguments, &mut notes)? {
            let file = if region::is_region(&path) { staged.dump(&path)? } else { path };
            staged.files.push(file);
        }
        notes.iter().for_each(|note| eprintln!("heaptap: {}", clean(note)));
        Ok(staged)
    }

    fn dump(&mut self, path: &Path) -> Result<PathBuf> {
        let folder = match &self.folder {
            Some(folder) => folder.clone(),
            None => {
                let folder = std::env::temp_dir().join(format!("heaptap-pack-{}", std::process::id()));
                let made = DirBuilder::new().mode(0o700).create(&folder);
                made.with_context(|| format!("cannot make {}", folder.display()))?;
                self.folder.insert(folder).clone()
            }
        };
        let found = lives::of_file(path);
        let pid = region::snapshot(&found)?.pid;
        let seq = self.files.len() as u64;
        let name = DumpName { prefix: folder.join("live"), pid, seq, kind: DumpKind::Manual(seq) };
        let file = PathBuf::from(name.to_string());
        let (dump, told) = region::dump(&found)?;
        told.iter().for_each(|note| eprintln!("heaptap: {}", clean(note)));
        std::fs::write(&file, dump).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}
