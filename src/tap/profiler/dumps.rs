//! The profiler's files: dumps, mirror, adoption, the leak summary. Never for threads that are inside an
//! allocation; all of it gives up rather than fail.

use super::profiler::{Profiler, STOP};
use crate::tap::dump::{self, Mirror, Occasion, Reason};
use crate::tap::errand::Errand;
use crate::tap::jvm::Memory;
use crate::tap::os::{shared, stderr, sys};
use crate::wire::live::counters::Counter;
use crate::wire::live::records;
use crate::wire::live::snapshot::Snapshot;
use crate::wire::live::text::Text;
use crate::wire::order;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// From so many files on that a user has on tmpfs, three a life, a confined process of that user adds none.
const MOST_CONFINED_FILES: usize = 30;

impl Profiler {
    /// Writes a line to stderr: what is profiled, and where the dumps go.
    pub(crate) fn announce(&self) {
        let Some(settings) = self.settings() else { return };
        let exe = dump::executable_path().map_or_else(|| "?".into(), |path| path.display().to_string());
        let prefix = std::path::Path::new(std::ffi::OsStr::from_bytes(settings.prefix()));
        let prefix = std::path::absolute(prefix).unwrap_or_else(|_| prefix.to_path_buf());
        let (pid, period) = (self.pid(), self.period.load(Ordering::Relaxed));
        let text = format!(
            "heaptap: profiling pid {pid} ({exe}), a sample every {period} bytes; dumps: {}.{pid}.*.heap",
            prefix.display()
        );
        stderr::say(&[text.as_bytes()]);
        self.dumper.probe(settings, pid);
        if self.store().is_some_and(|store| store.region().path().is_none()) && shared::is_kept_out() {
            stderr::say(&[b"heaptap: other users have taken its names in /dev/shm; this profile is in its dumps only"]);
        }
    }

    /// Writes a dump, if there is memory for it. Not for threads that are inside an allocation.
    pub(crate) fn dump(&'static self, reason: Reason) -> Option<PathBuf> {
        self.dump_or_why(reason).ok()
    }

    /// The same, or the reason why there is none, in words for whoever asked.
    pub(crate) fn dump_or_why(&'static self, reason: Reason) -> Result<PathBuf, String> {
        let none = || Err("files may not be opened in it, or there is no memory for the work".to_owned());
        self.errand(|errand| self.dump_on(errand, reason)).unwrap_or_else(none)
    }

    /// The same on an errand that is under way.
    pub(crate) fn dump_on(&'static self, errand: &Errand, reason: Reason) -> Result<PathBuf, String> {
        let (Some(store), Some(settings)) = (self.open_store(), self.settings()) else {
            return Err("there is no memory for a profile".to_owned());
        };
        self.look_after_threads();
        self.dumper.write(errand, store, settings, reason, &self.occasion())
    }

    /// Writes a dump to this file, in place of what is there. Not for threads that are inside an allocation.
    pub(crate) fn dump_to(&'static self, path: &Path) -> Option<()> {
        let work = |errand: &Errand| {
            self.dumper.write_to(errand, self.open_store()?, self.settings()?, path, &self.occasion())
        };
        self.errand(work).flatten()
    }

    /// Estimated bytes, objects and call stacks of what is live. For the leak summary at the end.
    pub(crate) fn live_totals(&self, _: &Errand) -> Option<(u64, u64, usize)> {
        let snapshot = Snapshot::of(self.store()?.region()).ok()?;
        let samples = snapshot.samples.iter();
        let (bytes, objects) = samples
            .fold((0, 0), |(bytes, objects), sample| (bytes + sample.weight_bytes, objects + sample.scaled_objects()));
        let stacks = order::distinct(snapshot.samples.iter().map(|sample| sample.stack.into()));
        Some((bytes, records::objects(objects).round() as u64, stacks.len()))
    }

    /// Work with files, where files may be opened. A vfork child has our memory and another pid, and leaves its
    /// parent's files alone.
    fn errand<T>(&self, work: impl FnOnce(&Errand) -> T) -> Option<T> {
        if self.may_not_open() || sys::process_id() != self.pid() {
            return None;
        }
        Errand::run(work)
    }

    /// Brings up to date what readers of the region find besides samples. For the keeper.
    pub(crate) fn refresh(&'static self) {
        if let (Some(store), Some(settings)) = (self.store(), self.settings()) {
            self.errand(|errand| self.dumper.refresh(errand, store, settings, &self.occasion()));
        }
    }

    /// The process is about to leave the places that it knows (chroot, another mount namespace): its region is made
    /// and explains itself as long as both can be done.
    pub(crate) fn settle_here(&'static self) {
        let is_profiling = self.settings().is_some_and(|settings| settings.options.prof) && self.heap.is_ready();
        if is_profiling && !self.may_not_open() && self.is_our_own() {
            self.open_store();
            self.refresh();
        }
    }

    /// What the region of this life says of the process.
    pub(crate) fn known_text(&self) -> Option<Text> {
        self.store().map(|store| store.region().text())
    }

    /// A life that begins behind a wall: its region is made now, and says of the process what was known before.
    ///
    /// Nobody of that user may be able to remove it after a kill, if all that the user runs is confined: so there are
    /// never many.
    pub(crate) fn begin_confined(&'static self, known: Option<Text>) {
        if shared::own_files() >= MOST_CONFINED_FILES {
            return;
        }
        if let (Some(store), Some(mut text)) = (self.open_store(), known) {
            text.metadata.extend(self.occasion().since.map(|since| ("since".to_owned(), since.to_owned())));
            store.region().set_text(&text.to_bytes());
        }
    }

    /// Says why a process that somebody may wonder about leaves no dump: at its end, to whom sits before it or asked
    /// for dumps by the second, and not of what a tapped process started (a shell's helpers).
    pub(crate) fn tell_why_none(&self, _: &Errand) {
        let (Some(settings), Some(store)) = (self.settings(), self.store()) else { return };
        let options = &settings.options;
        let is_something =
            self.uptime_ns() >= 1_000_000_000 || store.region().counter(Counter::AllocatedBytes) >= 1 << 20;
        let is_wanted = options.prof_final && !settings.prefix().is_empty() && is_something;
        if !is_wanted || !(options.prof_dump_seconds > 0 || stderr::is_terminal()) || dump::is_parent_tapped() {
            return;
        }
        let exe = dump::executable_path().map_or_else(|| "?".into(), |path| path.display().to_string());
        let text = format!(
            "heaptap: pid {} ({exe}) was too short and small to leave a dump (prof_min_seconds:{}, prof_min_bytes:{}); \
             with prof_min_seconds:0, or under `heaptap run`, it leaves one",
            self.pid(),
            options.prof_min_seconds,
            options.prof_min_bytes
        );
        stderr::say(&[text.as_bytes()]);
    }

    /// Writes the dumps that killed processes of this user could not write. For the keeper.
    pub(crate) fn adopt(&'static self) {
        if let (Some(store), Some(settings)) = (self.store(), self.settings()) {
            let is_wanted = || self.triggers.load(Ordering::Relaxed) & STOP != 0;
            self.errand(|errand| self.dumper.adopt(errand, store, settings, &is_wanted));
        }
    }

    /// Writes the mirror, if one is due. For the keeper.
    pub(crate) fn mirror(&'static self, mirror: &mut Mirror) {
        if let (Some(store), Some(settings)) = (self.store(), self.settings()) {
            self.errand(|errand| self.dumper.mirror(errand, store, settings, mirror));
        }
    }

    /// Removes what is only for processes that end without their final dump.
    pub(crate) fn leave_nothing(&'static self, errand: &Errand) {
        if let (Some(store), Some(settings)) = (self.store(), self.settings()) {
            self.dumper.leave_nothing(errand, store, settings);
        }
    }

    /// What memory the Java machine of this process has for itself. For the keeper: it allocates.
    pub(crate) fn java_memory(&self) -> Option<Memory> {
        self.hotspot.memory()
    }

    /// Bytes of the Java heap that are in use.
    pub(crate) fn java_used(&self) -> Option<u64> {
        self.hotspot.java_used()
    }

    fn occasion(&self) -> Occasion {
        let since = self.life.has_changed_user().then_some("credentials changed");
        Occasion { uptime_ns: self.uptime_ns(), java: self.hotspot.to_string(), since }
    }
}
