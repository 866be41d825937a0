//! The metadata of a dump: code mappings, the process, the time, the reason.

use super::maps;
use crate::tap::backend::keep;
use crate::tap::os::{cgroup, clock};
use crate::tap::settings::Settings;
use crate::tap::unwind;
use crate::wire::live::text::Text;
use crate::wire::maps_line::code_lines;
use crate::wire::{time, title};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// In what state of things a dump is written.
pub(crate) struct Occasion {
    /// Nanoseconds since the process's first call.
    pub(crate) uptime_ns: u64,
    /// The Java virtual machine, as far as it is known.
    pub(crate) java: String,
    /// How this life began, if not with the process.
    pub(crate) since: Option<&'static str>,
}

/// Everything but the samples. `maps`: the mappings of this process.
pub(super) fn text(reason: &str, occasion: &Occasion, settings: &Settings, maps: &[u8]) -> Text {
    let mut metadata = process(reason, occasion, settings);
    #[cfg(feature = "faults")]
    metadata.push(("faults".into(), crate::tap::os::faults::count().to_string()));
    if let Some(limit) = cgroup::memory() {
        metadata.push(("memory_used_bytes".into(), limit.used_bytes.to_string()));
        metadata.push(("memory_limit_bytes".into(), limit.limit_bytes.to_string()));
    }
    unwind::modules(maps, &mut |module| {
        if let Some(id) = module.build_id().filter(|_| module.path.starts_with(b"/")) {
            let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            metadata.push(("build_id".into(), format!("{id} {}", String::from_utf8_lossy(module.path))));
        }
    });
    Text { maps: code_lines(maps), metadata }
}

/// Where /proc is not to be had any more (chroot, another mount namespace): what was known before stays.
pub(super) fn keep(text: &mut Text, before: Text) {
    text.maps = before.maps;
    for (key, value) in before.metadata {
        match text.metadata.iter_mut().find(|(other, _)| *other == key) {
            _ if key == "build_id" => text.metadata.push((key, value)),
            Some((_, unknown)) if unknown == "?" => *unknown = value,
            _ => {}
        }
    }
}

fn process(reason: &str, occasion: &Occasion, settings: &Settings) -> Vec<(String, String)> {
    let exe = maps::executable_path().map_or_else(|| "?".into(), |path| path.display().to_string());
    let title = if exe == "?" { "?".into() } else { title::of(&exe, &maps::command()) };
    let rss = maps::resident_bytes().map_or_else(|| "?".into(), |bytes| bytes.to_string());
    let prefix = Path::new(OsStr::from_bytes(settings.prefix()));
    // A relative path means nothing in another working directory.
    let prefix = std::path::absolute(prefix).ok().map(|path| ("prefix", path.display().to_string()));
    let pairs = [
        ("reason", reason.into()),
        ("exe", exe),
        ("title", title),
        ("time", time::rfc3339(clock::wall_ns())),
        ("uptime_ns", occasion.uptime_ns.to_string()),
        ("java_vm", occasion.java.clone()),
        ("rss_bytes", rss),
        ("heaptap_version", env!("CARGO_PKG_VERSION").into()),
    ];
    // `heaptap run` finds by this what its program's processes left.
    let run = settings.run_report.map(|report| ("run", String::from_utf8_lossy(report).into_owned()));
    let usage = keep::last();
    let allocator = [
        ("allocator", keep::next_name().map(str::to_owned)),
        ("allocator_in_use_bytes", usage.in_use.map(|bytes| bytes.to_string())),
        ("allocator_kept_bytes", usage.kept.map(|bytes| bytes.to_string())),
        ("allocator_arenas", usage.arenas.map(|arenas| arenas.to_string())),
    ];
    let allocator = allocator.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let since = occasion.since.map(|since| ("since", since.to_owned()));
    pairs
        .into_iter()
        .chain(since)
        .chain(allocator)
        .chain(prefix)
        .chain(run)
        .map(|(key, value): (&str, String)| (key.into(), value))
        .collect()
}
