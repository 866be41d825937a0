//! What a dump says about its process besides samples: code mappings, and who, when, why.

use super::maps;
use crate::tap::os::{cgroup, clock};
use crate::tap::settings::Settings;
use crate::tap::unwind;
use crate::wire::live::text::Text;
use crate::wire::time;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// In what state of things a dump is written.
pub(crate) struct Occasion {
    /// Nanoseconds since the process's first call.
    pub(crate) uptime_ns: u64,
    /// What is known about a Java virtual machine.
    pub(crate) java: String,
}

/// Everything but the samples.
pub(crate) fn text(reason: &str, occasion: &Occasion, settings: &Settings) -> Text {
    let mut metadata = process(reason, occasion, settings);
    if let Some((used, limit)) = cgroup::memory() {
        metadata.push(("memory_used_bytes".into(), used.to_string()));
        metadata.push(("memory_limit_bytes".into(), limit.to_string()));
    }
    unwind::modules(&mut |module| {
        if !module.build_id.is_empty() && module.path.starts_with(b"/") {
            let id: String = module.build_id.iter().map(|byte| format!("{byte:02x}")).collect();
            metadata.push(("build_id".into(), format!("{id} {}", String::from_utf8_lossy(module.path))));
        }
    });
    Text { maps: maps::executable(), metadata }
}

fn process(reason: &str, occasion: &Occasion, settings: &Settings) -> Vec<(String, String)> {
    let exe = std::fs::read_link("/proc/self/exe").map_or_else(|_| "?".into(), |path| path.display().to_string());
    let rss = maps::resident_bytes().map_or_else(|| "?".into(), |bytes| bytes.to_string());
    let prefix = Path::new(OsStr::from_bytes(settings.prefix()));
    // A relative one is of no use to whoever reads this elsewhere.
    let prefix = std::path::absolute(prefix).ok().map(|path| ("prefix", path.display().to_string()));
    let pairs = [
        ("reason", reason.into()),
        ("exe", exe),
        ("time", time::rfc3339(clock::wall_ns())),
        ("uptime_ns", occasion.uptime_ns.to_string()),
        ("java_vm", occasion.java.clone()),
        ("rss_bytes", rss),
        ("heaptap_version", env!("CARGO_PKG_VERSION").into()),
    ];
    // `heaptap run` finds by this what its program's processes left.
    let run = settings.run_report.map(|report| ("run", String::from_utf8_lossy(report).into_owned()));
    pairs.into_iter().chain(prefix).chain(run).map(|(key, value): (&str, String)| (key.into(), value)).collect()
}
