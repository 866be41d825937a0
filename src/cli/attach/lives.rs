//! Tapped processes and what they left: regions on tmpfs, mirrors beside the dumps.
//!
//! A process is alive if it has its region mapped (found through `/proc`, also in other containers), or, where its
//! pid means nothing here, if somebody holds the lock on its file (`wire::life_lock`). A region is
//! newer than its mirror, so the mirror counts where there is no region.

use super::beneath;
use crate::wire::life_lock;
use crate::wire::life_name::LifeName;
use crate::wire::live::layout::Head;
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where tapped processes keep their regions, one directory a user.
const PLACE: &str = "/dev/shm";

/// A region or mirror, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The file.
    pub(crate) path: PathBuf,
    /// Process id as the process sees itself.
    pub(crate) pid: u32,
    /// Token of its life; 0: the file's name does not tell.
    pub(crate) token: u64,
    /// Whether the process lives.
    pub(crate) is_alive: bool,
    /// Its pid as we see it, where it lives and can be told.
    pub(crate) process: Option<u32>,
}

/// Tapped processes that live: by token, pid and region.
type Living = BTreeMap<u64, (u32, PathBuf)>;

/// The region of a process: of the living one, else of the last one of that pid that ended without its final dump;
/// else its mirror in one of the folders.
pub(crate) fn of_process(pid: u32, folders: &[PathBuf]) -> Result<Found> {
    if let Some(path) = mapped_by(pid) {
        return Ok(living(pid, path));
    }
    let left = all(folders).into_iter().filter(|found| found.pid == pid && !found.is_alive);
    if let Some(found) = left.max_by_key(|found| began_ns(&found.path)) {
        return Ok(found);
    }
    if !Path::new(&format!("/proc/{pid}")).exists() {
        bail!("there is no process {pid}, and no profile of one that was killed; `heaptap ps` lists what there is")
    }
    if fs::read(format!("/proc/{pid}/maps")).is_err() {
        bail!("process {pid} belongs to another user: only that user and root may look at it")
    }
    bail!(
        "process {pid} has no live profile: not started under heaptap, nothing sampled yet, or no tmpfs at {PLACE} \
         (`heaptap status {pid}` tells which; its dumps can still be read: heaptap report FILES)"
    )
}

/// Everything that can be seen: processes that live, regions of dead ones, and mirrors in these folders whose
/// region is gone.
pub(crate) fn all(folders: &[PathBuf]) -> Vec<Found> {
    let alive = tapped();
    let mut found: Vec<Found> = alive.values().map(|(pid, path)| living(*pid, path.clone())).collect();
    let known = |found: &[Found], token: u64| found.iter().any(|other| other.token == token);
    for path in users().iter().flat_map(|directory| files(directory)) {
        let Some(life) = LifeName::of_region(&path).filter(|life| !known(&found, life.token)) else { continue };
        let is_alive = is_locked(&path);
        found.push(Found { path, pid: life.pid, token: life.token, is_alive, process: None });
    }
    for path in folders.iter().flat_map(|folder| files(folder)) {
        let Some(life) = LifeName::of_mirror(&path).filter(|life| !known(&found, life.token)) else { continue };
        let is_alive = is_locked(&path);
        found.push(Found { path, pid: life.pid, token: life.token, is_alive, process: None });
    }
    found.sort_by(|a, b| (a.pid, &a.path).cmp(&(b.pid, &b.path)));
    found
}

/// A region or mirror by its path.
pub(crate) fn of_file(path: &Path) -> Found {
    let inside = path.strip_prefix("/proc").ok().and_then(|rest| rest.iter().next()?.to_str()?.parse().ok());
    let life = LifeName::of_region(path).or_else(|| LifeName::of_mirror(path));
    let (pid, token) = life.map_or((0, 0), |life| (life.pid, life.token));
    let process = inside
        .or_else(|| Some(pid).filter(|&pid| mapped_by(pid).is_some_and(|other| other.ends_with(file_name(path)))));
    Found { path: path.to_path_buf(), pid, token, is_alive: process.is_some() || is_locked(path), process }
}

/// What is best read for a mirror: the region of the same life, if that is there.
pub(crate) fn region_of(mirror: &Path) -> Option<PathBuf> {
    let life = LifeName::of_mirror(mirror)?;
    let name = format!("{}.{:016x}.region", life.pid, life.token);
    users().into_iter().map(|directory| directory.join(&name)).find(|path| path.is_file())
}

/// The folders where mirrors are looked for when none is named.
pub(crate) fn usual_folders() -> Vec<PathBuf> {
    let given = std::env::var_os("HEAPTAP_DIR").map(PathBuf::from);
    [Some(PathBuf::from(".")), given].into_iter().flatten().collect()
}

fn living(process: u32, path: PathBuf) -> Found {
    let life = LifeName::of_region(&path);
    let (pid, token) = life.map_or((process, 0), |life| (life.pid, life.token));
    Found { path, pid, token, is_alive: true, process: Some(process) }
}

/// All processes whose maps we may read and that have a region mapped.
fn tapped() -> Living {
    let pids = files(Path::new("/proc")).into_iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok());
    let found = pids.filter_map(|pid: u32| {
        let path = mapped_by(pid)?;
        Some((LifeName::of_region(&path)?.token, (pid, path)))
    });
    found.collect()
}

fn users() -> Vec<PathBuf> {
    let is_ours = |path: &PathBuf| file_name(path).to_string_lossy().starts_with("heaptap-");
    files(Path::new(PLACE)).into_iter().filter(is_ours).collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn file_name(path: &Path) -> &Path {
    Path::new(path.file_name().unwrap_or_default())
}

/// When the life of a region or mirror began; of two lives of one pid (a shell and what it became) the later counts. The
/// time of the file would not tell: what is stored through a mapping does not change it.
fn began_ns(path: &Path) -> Option<u64> {
    let mut word = [0; 8];
    let at = Head::StartMonotonicNs as u64 * 8;
    beneath::open(path, false).and_then(|file| file.read_exact_at(&mut word, at)).ok()?;
    Some(u64::from_ne_bytes(word))
}

fn is_locked(path: &Path) -> bool {
    beneath::open(path, false).is_ok_and(|file| life_lock::is_held(&file))
}

/// The region that a process has mapped, by a path that leads into its mount namespace.
pub(crate) fn mapped_by(pid: u32) -> Option<PathBuf> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let line = maps.lines().find(|line| line.ends_with(".region") && line.contains("/heaptap-"))?;
    let path = line.get(line.find('/')?..)?;
    Some(PathBuf::from(format!("/proc/{pid}/root{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_without_a_region_are_told_apart() {
        let own = of_process(std::process::id(), &[]).unwrap_err().to_string();
        assert!(own.contains("has no live profile"), "{own}");
        let none = of_process(u32::MAX, &[]).unwrap_err().to_string();
        assert!(none.contains("there is no process"), "{none}");
    }

    #[test]
    fn mirrors_are_found_in_the_folders_that_are_named() {
        let home = std::env::temp_dir().join(format!("heaptap-lives-{}", std::process::id()));
        fs::create_dir_all(&home).unwrap();
        let name = LifeName { prefix: home.join("x"), pid: u32::MAX, token: 0xfeed };
        fs::write(name.mirror(), "").unwrap();
        let found = of_process(u32::MAX, std::slice::from_ref(&home)).unwrap();
        assert_eq!((found.token, found.is_alive, found.path), (0xfeed, false, name.mirror()));
        assert_eq!(region_of(&name.mirror()), None);
        let lock = fs::File::open(name.mirror()).unwrap();
        assert!(life_lock::take(&lock) && of_file(&name.mirror()).is_alive);
        fs::remove_dir_all(home).unwrap();
    }
}
