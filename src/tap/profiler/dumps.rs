//! What the profiler does for files: dumps, mirror, adoption, the leak summary. Never for threads that are inside an
//! allocation; all of it gives up rather than fail.

use super::{Profiler, STOP};
use crate::tap::dump::{Mirror, Occasion, Reason};
use crate::tap::os::{signals, spare_stack, sys};
use crate::tap::unwind;
use crate::wire::live::snapshot::Snapshot;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

impl Profiler {
    /// Says once in a life what is profiled and where the dumps go.
    pub(crate) fn announce(&self) {
        let Some(settings) = self.settings() else { return };
        let exe = std::fs::read_link("/proc/self/exe").map_or_else(|_| "?".into(), |path| path.display().to_string());
        let prefix = std::path::Path::new(std::ffi::OsStr::from_bytes(settings.prefix()));
        let prefix = std::path::absolute(prefix).unwrap_or_else(|_| prefix.to_path_buf());
        let (pid, period) = (self.pid(), self.period.load(Ordering::Relaxed));
        let text = format!(
            "heaptap: profiling pid {pid} ({exe}), a sample every {period} bytes; dumps: {}.{pid}.*.heap",
            prefix.display()
        );
        sys::say(&[text.as_bytes()]);
    }

    /// Writes a dump, if there is memory for it. Not for threads that are inside an allocation.
    pub(crate) fn dump(&self, reason: Reason) -> Option<PathBuf> {
        self.carefully(|| self.dumper.write(self.open_store()?, self.settings()?, reason, &self.occasion())).flatten()
    }

    /// Writes a dump to this file, in place of what is there. Not for threads that are inside an allocation.
    pub(crate) fn dump_to(&self, path: &Path) -> Option<()> {
        let work = || self.dumper.write_to(self.open_store()?, self.settings()?, path, &self.occasion());
        self.carefully(work).flatten()
    }

    /// Estimated bytes, objects and call stacks of what is live. For the leak summary at the end.
    pub(crate) fn live_totals(&self) -> Option<(u64, u64, usize)> {
        let count = || {
            let snapshot = Snapshot::take(self.store()?.region()).ok()?;
            let samples = snapshot.samples.iter();
            let (bytes, objects) = samples.fold((0, 0.0), |(bytes, objects), sample| {
                (bytes + sample.weight_bytes, objects + sample.weight_objects())
            });
            let stacks: BTreeSet<u32> = snapshot.samples.iter().map(|sample| sample.stack).collect();
            Some((bytes, objects.round() as u64, stacks.len()))
        };
        self.carefully(count).flatten()
    }

    /// Runs work that allocates and writes files: with room on the stack, giving up when there is no memory,
    /// and without the signals that writing may raise.
    fn carefully<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        if self.may_not_open() {
            return None;
        }
        let result = signals::shielded(|| spare_stack::with_room(work));
        if result.is_none() {
            self.dumper.let_go();
        }
        result
    }

    /// Brings up to date what readers of the region find besides samples. For the keeper.
    pub(crate) fn refresh(&self) {
        if let (Some(store), Some(settings)) = (self.store(), self.settings()) {
            self.carefully(|| self.dumper.refresh(store, settings, &self.occasion()));
        }
    }

    /// Writes the dumps that killed processes of this user could not write. For the keeper.
    pub(crate) fn adopt(&self) {
        if let (Some(store), Some(settings)) = (self.store(), self.settings()) {
            self.carefully(|| self.dumper.adopt(store, settings, || self.triggers.load(Ordering::Relaxed) & STOP != 0));
        }
    }

    /// Writes the mirror, if one is due. For the keeper.
    pub(crate) fn mirror(&self, mirror: &mut Mirror) {
        if let (Some(store), Some(settings)) = (self.store(), self.settings()) {
            self.carefully(|| self.dumper.mirror(store, settings, mirror));
        }
    }

    /// Removes what is only for processes that end without their final dump.
    pub(crate) fn leave_nothing(&self) {
        if let (Some(store), Some(settings)) = (self.store(), self.settings()) {
            self.carefully(|| self.dumper.leave_nothing(store, settings));
        }
    }

    fn occasion(&self) -> Occasion {
        if unwind::objects_are_stale() {
            unwind::refresh_objects();
        }
        Occasion { uptime_ns: self.uptime_ns(), java: self.hotspot.to_string() }
    }
}
