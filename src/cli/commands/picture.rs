//! What `page` and `flame` have in common: the page, its heading, and where it was written.

use super::output::Output;
use crate::cli::analyze::groups::Rows;
use crate::cli::analyze::report::Report;
use crate::cli::analyze::sites;
use crate::cli::inert::{clean, say};
use crate::cli::profile::mapped;
use crate::cli::profile::metric::Metric;
use crate::cli::profile::series::{Dump, Series};
use crate::cli::profile::timestamp;
use crate::cli::render::Renderer;
use crate::cli::render::page::{Material, Page, Tab};
use crate::cli::render::symbols::Modules;
use crate::cli::render::units;
use crate::cli::render::words::called;
use crate::cli::symbolize::Module;
use anyhow::{Context, Result};
use std::path::Path;

/// Writes the page.
pub(super) fn page(series: &Series, modules: &[Module], tab: Tab, is_comparison: bool, output: &Output) -> Result<()> {
    let report = Report::by(series, modules, Rows::default());
    let modules = Modules::of(modules);
    let page = Page { title: title(series), subtitle: subtitle(series), tab, is_comparison };
    // Of two states only malloc's memory is compared.
    let mapped = |metric| (!is_comparison).then(|| mapped::series(series, metric))?;
    let (mapped, resident) = (mapped(Metric::Mapped), mapped(Metric::Resident));
    let material = Material { series, report: &report, modules: &modules, mapped, resident };
    output.write_binary(|out| page.render(&material, out))
}

/// `java (pid 4711)`.
pub(super) fn title(series: &Series) -> String {
    clean(&called(series.profile.title().unwrap_or("heap"), series.pid()))
}

/// What the picture shows, in a sentence.
fn subtitle(series: &Series) -> String {
    let live = |dump: Option<&Dump>| units::bytes(dump.map_or(0.0, |dump| dump.total.bytes));
    let time =
        series.last().and_then(Dump::time).map_or(String::new(), |time| format!(", {}", timestamp::display(time)));
    let place = sites::biggest(series).filter(|(_, bytes)| *bytes > 0.0);
    let most =
        place.map_or(String::new(), |(place, bytes)| format!("; most, {}, in {}", units::bytes(bytes), place.label()));
    match series.dumps.len() {
        0 | 1 => format!("{} live{time}{most}", live(series.last())),
        many => {
            format!(
                "{} live{time}; {} in the first of {many} dumps{most}",
                live(series.last()),
                live(series.dumps.first())
            )
        }
    }
}

/// Says where it was written.
pub(super) fn tell(path: &Path) -> Result<()> {
    if path == Path::new("-") {
        return Ok(());
    }
    let absolute = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
    say(&format!("wrote {}", absolute.display()));
    Ok(())
}
