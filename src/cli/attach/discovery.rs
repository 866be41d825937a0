//! Tapped processes and what they left: regions on tmpfs, mirrors beside the dumps.
//!
//! A process is alive if it has its region mapped (found through `/proc`, also in other containers), or, where its
//! pid means nothing here, if somebody holds the lock on its claim (`wire::liveness`). A region is
//! newer than its mirror, so the mirror counts where there is no region.
//!
//! A file speaks for its owner: lives of one pid are told apart by user, and only root sees those of others.

use super::openat;
use super::process::Process;
use crate::cli::open;
use crate::wire::claim::Claim;
use crate::wire::identity::Identity;
use crate::wire::live::layout::{Head, OTHER_USER};
use crate::wire::liveness::lock;
use crate::wire::liveness::{self, Liveness, Signs};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where tapped processes keep their regions, one directory a user.
const PLACE: &str = "/dev/shm";
/// Inode of the pid namespace that the machine begins with (`PROC_PID_INIT_INO`): all processes are seen from it.
const FIRST_PID_NAMESPACE: u64 = 0xeffffffc;

/// A region or mirror, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The file.
    pub(crate) path: PathBuf,
    /// Process id as the process sees itself.
    pub(crate) pid: u32,
    /// Token of its life; 0: the file's name does not tell.
    pub(crate) token: u64,
    /// The user whom the file belongs to.
    pub(crate) owner: u32,
    /// Whether the process lives.
    pub(crate) state: Liveness,
    /// Its pid as we see it, where it lives and can be told.
    pub(crate) process: Option<u32>,
}

impl Found {
    /// Whether the process lives.
    pub(crate) fn is_alive(&self) -> bool {
        self.state == Liveness::Alive
    }

    /// Whether it is dead for certain.
    pub(crate) fn is_dead(&self) -> bool {
        self.state == Liveness::Dead
    }
}

/// Tapped processes that live: by owner and token of their region.
type Living = BTreeMap<(u32, u64), Found>;

/// The region of a process: of the living one, else of the last one of that pid that ended without its final dump;
/// else its mirror in one of the folders. Of several users' processes of that pid, our own.
pub(crate) fn of_process(pid: u32, folders: &[PathBuf]) -> Result<Found> {
    if let Some(found) = living(pid) {
        return Ok(found);
    }
    // Among them may be a living one whom we may not look at, and whose lock says that it lives: its region lies in
    // the /dev/shm that we see, or its mirror in a folder.
    let left: Vec<Found> = all(folders).into_iter().filter(|found| found.pid == pid && !is_elsewhere(found)).collect();
    let mut owners: BTreeSet<u32> = left.iter().map(|found| found.owner).collect();
    if owners.contains(&open::reader()) {
        owners = BTreeSet::from([open::reader()]);
    }
    if owners.len() > 1 {
        let lines = left.iter().map(|found| format!("\n  user {}: {}", found.owner, found.path.display()));
        bail!("processes {pid} of several users were killed; name one of these files:{}", lines.collect::<String>());
    }
    let its = left.into_iter().filter(|found| owners.contains(&found.owner));
    if let Some(mut found) = its.max_by_key(|found| (found.is_alive(), began_ns(&found.path))) {
        if found.is_dead() && maps(pid).is_ok_and(|maps| liveness::is_marked(&maps)) {
            bail!(
                "process {pid} lives and is profiled, and its profile cannot be read (`heaptap status {pid}` tells why); \
                 an earlier life of that pid left {}",
                found.path.display()
            )
        }
        found.process =
            found.process.or_else(|| found.is_alive().then_some(pid).filter(|_| is_of_our_namespace(&found)));
        return Ok(found);
    }
    if !Path::new(&format!("/proc/{pid}")).exists() {
        bail!("there is no process {pid}, and no profile of one that was killed; `heaptap ps` lists what there is")
    }
    if fs::read(format!("/proc/{pid}/maps")).is_err() {
        bail!("{}", refused(pid))
    }
    bail!(
        "process {pid} has no live profile: not started under heaptap, nothing sampled yet, or no tmpfs at {PLACE} \
         (`heaptap status {pid}` tells which; its dumps can still be read: heaptap report FILES)"
    )
}

/// Why a process cannot be looked at, and what would help: Linux asks for the same user *and group*, or for a
/// capability that root in a container need not have.
pub(crate) fn refused(pid: u32) -> String {
    let process = Process { pid };
    let (own, user) = (open::reader(), process.users().first().copied());
    let group = process.groups().first().copied();
    let ids = |user: Option<u32>, group: Option<u32>| Some((user?, group?));
    let Some((user, group)) = ids(user, group) else { return format!("process {pid} cannot be looked at") };
    let as_it = format!("setpriv --reuid {user} --regid {group} --clear-groups heaptap …");
    if own != 0 && own != user {
        return format!(
            "process {pid} belongs to another user ({user}): only that user and root may look at it (sudo heaptap …)"
        );
    }
    format!(
        "process {pid} cannot be looked at: that takes its user and group ({user}:{group}) or the capability \
         SYS_PTRACE, and no region or mirror of it lies here. In a container: {as_it} (docker exec -u {user}:{group}); \
         or from the host, as root"
    )
}

/// Whether a living process is not the one that this pid means here.
fn is_elsewhere(found: &Found) -> bool {
    found.is_alive() && !is_of_our_namespace(found) && Identity::of_mirror(&found.path).is_none()
}

fn is_of_our_namespace(found: &Found) -> bool {
    let here = fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino());
    claim(found).is_ok_and(|claim| claim.terms().pid_namespace == here)
}

/// Everything that can be seen: processes that live, regions of dead ones, and mirrors in these folders whose
/// region is gone. Of other users: for root only.
pub(crate) fn all(folders: &[PathBuf]) -> Vec<Found> {
    let mut known = tapped();
    for directory in Directory::all() {
        for region in directory.regions() {
            known.entry((region.owner, region.token)).or_insert(region);
        }
    }
    for path in folders.iter().flat_map(|folder| files(folder)) {
        let Some(life) = Identity::of_mirror(&path) else { continue };
        let Some((owner, state)) = of_mirror(&path).filter(|(owner, _)| may_see(*owner)) else { continue };
        let found = Found { path, pid: life.pid, token: life.token, owner, state, process: None };
        known.entry((owner, life.token)).or_insert(found);
    }
    let mut found: Vec<Found> = known.into_values().collect();
    found.sort_by(|a, b| (a.pid, &a.path).cmp(&(b.pid, &b.path)));
    found
}

/// A region or mirror by its path.
pub(crate) fn of_file(path: &Path) -> Found {
    let inside = path.strip_prefix("/proc").ok().and_then(|rest| rest.iter().next()?.to_str()?.parse().ok());
    let life = Identity::of_region(path).or_else(|| Identity::of_mirror(path));
    let (pid, token) = life.map_or((0, 0), |life| (life.pid, life.token));
    let owner = openat::open(path, false).and_then(|file| file.metadata()).map_or(0, |metadata| metadata.uid());
    let mut found = Found { path: path.to_path_buf(), pid, token, owner, state: Liveness::Dead, process: None };
    let of_its = inside.or(Some(pid)).and_then(living).filter(|other| file_name(&other.path) == file_name(path));
    (found.state, found.process) = match of_its.filter(|other| inside.is_some() || other.owner == owner) {
        Some(living) => (Liveness::Alive, living.process),
        None if Identity::of_mirror(path).is_some() => {
            (of_mirror(path).map_or(Liveness::Dead, |(_, state)| state), None)
        }
        None => (claim(&found).map_or(Liveness::Dead, |claim| state(&claim, path)), None),
    };
    found
}

/// The claim of a life: what must be held to write or remove anything for it.
pub(crate) fn claim(found: &Found) -> Result<Claim> {
    let path = &found.path;
    let looking = || format!("{}: nothing tells what may be done for it", path.display());
    if Identity::of_mirror(path).is_some() {
        return openat::open(path, false).and_then(|file| Claim::of_mirror(file, path)).with_context(looking);
    }
    let directory = Directory::around(path).with_context(looking)?;
    directory.claim(&Path::new(file_name(path)).with_extension("claim")).with_context(looking)
}

/// What is best read for a mirror: the region of the same life, if that is there.
pub(crate) fn region_of(mirror: &Path) -> Option<PathBuf> {
    let life = Identity::of_mirror(mirror)?;
    let owner = openat::open(mirror, false).and_then(|file| file.metadata()).ok()?.uid();
    let name = life.file_name("region");
    let its = Directory::all().into_iter().filter(|directory| directory.owner == owner);
    its.map(|directory| directory.path.join(&name)).find(|path| path.is_file())
}

/// The folders where mirrors are looked for when none is named.
pub(crate) fn usual_folders() -> Vec<PathBuf> {
    let given = std::env::var_os("HEAPTAP_DIR").map(PathBuf::from);
    [Some(PathBuf::from(".")), given].into_iter().flatten().collect()
}

/// A directory of somebody's regions, held open: one that only its owner can enter.
pub(crate) struct Directory {
    file: File,
    path: PathBuf,
    /// Whose it is.
    pub(crate) owner: u32,
}

impl Directory {
    /// Those of the users whose lives we may see.
    fn all() -> Vec<Directory> {
        let is_named_so = |path: &PathBuf| file_name(path).to_string_lossy().starts_with("heaptap-");
        let found = files(Path::new(PLACE)).into_iter().filter(is_named_so);
        found.filter_map(|path| Directory::open(path).ok()).filter(|directory| may_see(directory.owner)).collect()
    }

    /// The one that a file lies in.
    pub(crate) fn around(file: &Path) -> Result<Directory> {
        Directory::open(file.parent().unwrap_or(Path::new("")).to_path_buf())
    }

    fn open(path: PathBuf) -> Result<Directory> {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let there = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
        let file = match openat::folder(there) {
            Ok(file) => file,
            Err(_) if there.starts_with("/proc") => bail!("{} cannot be entered", path.display()),
            Err(_) => OpenOptions::new().read(true).custom_flags(flags).open(there)?,
        };
        let metadata = file.metadata()?;
        if metadata.mode() & 0o077 != 0 {
            bail!("others than its owner can enter {}", path.display());
        }
        Ok(Directory { file, path, owner: metadata.uid() })
    }

    fn regions(&self) -> Vec<Found> {
        let mut found = Vec::new();
        for inside in files(&openat::below(&self.file, Path::new(""))) {
            let path = self.path.join(file_name(&inside));
            let Some(life) = Identity::of_region(&path) else { continue };
            let metadata = openat::open(&inside, false).and_then(|file| file.metadata());
            if !metadata.is_ok_and(|metadata| metadata.uid() == self.owner) {
                continue;
            }
            // Without a claim: it was killed while it began. It can be read.
            let claim = self.claim(Path::new(&life.file_name("claim")));
            let state = claim.map_or(Liveness::Dead, |claim| state(&claim, &inside));
            found.push(Found { path, pid: life.pid, token: life.token, owner: self.owner, state, process: None });
        }
        found
    }

    fn claim(&self, name: &Path) -> Result<Claim> {
        let file = openat::open(&openat::below(&self.file, name), false)?;
        Ok(Claim::of(file, name.as_os_str(), &self.file.metadata()?)?)
    }

    /// Removes what a life has left here. Its region is the first that must go.
    pub(crate) fn remove(&self, claim: &Claim) -> std::io::Result<()> {
        let life = Identity { prefix: PathBuf::new(), pid: claim.terms().pid, token: claim.terms().token };
        let remove = |kind: &str| fs::remove_file(openat::below(&self.file, Path::new(&life.file_name(kind))));
        match remove("region") {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (_, _) = (remove("control"), remove("claim"));
        Ok(())
    }
}

fn may_see(owner: u32) -> bool {
    let own = open::reader();
    own == 0 || own == owner
}

/// The process of that pid, if it has a region mapped that is its own, or keeps its profile in its own memory and a
/// mirror of that beside its dumps.
fn living(process: u32) -> Option<Found> {
    let maps = maps(process).ok()?;
    let Some(path) = mapped_by(process, &maps) else {
        return liveness::is_marked(&maps).then(|| mirrored(Process { pid: process })).flatten();
    };
    let owners = Process { pid: process }.users();
    let owner = match openat::open(&path, false).and_then(|file| file.metadata()) {
        // Somebody else's region says nothing of this process.
        Ok(metadata) if !owners.contains(&metadata.uid()) => return None,
        Ok(metadata) => metadata.uid(),
        Err(_) => *owners.first()?,
    };
    let life = Identity::of_region(&path);
    let (pid, token) = life.map_or((process, 0), |life| (life.pid, life.token));
    Some(Found { path, pid, token, owner, state: Liveness::Alive, process: Some(process) })
}

/// The mirror of a living process, wherever its dumps go. That it is this very process's, its pid tells, and where that
/// counts, and that somebody holds the lock.
fn mirrored(process: Process) -> Option<Found> {
    let (pid, namespace) = (process.own_pid()?, process.pid_namespace()?);
    process.dump_folders().iter().flat_map(|folder| files(folder)).find_map(|path| {
        let life = Identity::of_mirror(&path).filter(|life| life.pid == pid)?;
        let claim = openat::open(&path, false).and_then(|file| Claim::of_mirror(file, &path)).ok()?;
        let owner = claim.owner();
        let is_its = word_at(&path, Head::PidNamespace) == Some(namespace)
            && process.users().contains(&owner)
            && lock::is_held(claim.file());
        let (token, state, process) = (life.token, Liveness::Alive, Some(process.pid));
        is_its.then_some(Found { path, pid, token, owner, state, process })
    })
}

/// All processes whose maps we may read and that have a region mapped.
fn tapped() -> Living {
    let pids = files(Path::new("/proc")).into_iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok());
    pids.filter_map(living).map(|found| ((found.owner, found.token), found)).collect()
}

/// Whether the process of a claim lives, whom nobody was found to be. `region`: what it left.
fn state(claim: &Claim, region: &Path) -> Liveness {
    let head = |word: Head| word_at(region, word).unwrap_or(0);
    if head(Head::Ending) == OTHER_USER {
        return Liveness::Dead;
    }
    let is_locked = lock::is_held(claim.file());
    Liveness::of(Signs { is_mapped: is_mapped(claim), is_guarded: head(Head::Guarded) != 0, is_locked })
}

/// Whether the process of a claim has its region mapped; `None`: its pid means nothing here, or it may not be looked
/// at.
fn is_mapped(claim: &Claim) -> Option<bool> {
    let terms = claim.terms();
    let here = fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino());
    if terms.pid_namespace != here {
        // Who sees all processes has looked at them all.
        return (here == FIRST_PID_NAMESPACE && open::reader() == 0).then_some(false);
    }
    let name = Identity { prefix: PathBuf::new(), pid: terms.pid, token: terms.token }.file_name("region");
    match maps(terms.pid) {
        Ok(maps) => Some(liveness::maps_hold(&maps, &name)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(false),
        Err(_) => None,
    }
}

/// Whose a mirror is, and whether its process holds the lock on it.
fn of_mirror(path: &Path) -> Option<(u32, Liveness)> {
    let claim = openat::open(path, false).and_then(|file| Claim::of_mirror(file, path)).ok()?;
    let is_held = lock::is_held(claim.file());
    Some((claim.owner(), if is_held { Liveness::Alive } else { Liveness::Dead }))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn file_name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

/// When the life of a region or mirror began; of two lives of one pid (a shell and what it became) the later counts.
/// The time of the file would not tell: what is stored through a mapping does not change it.
fn began_ns(path: &Path) -> Option<u64> {
    word_at(path, Head::StartMonotonicNs)
}

fn word_at(path: &Path, word: Head) -> Option<u64> {
    let mut bytes = [0; 8];
    openat::open(path, false).and_then(|file| file.read_exact_at(&mut bytes, word as u64 * 8)).ok()?;
    Some(u64::from_ne_bytes(bytes))
}

/// The region that a process has mapped, by a path that leads into its mount namespace; where it has another root since
/// (chroot), by the same path seen from here.
fn mapped_by(pid: u32, maps: &str) -> Option<PathBuf> {
    let path = liveness::region_in(maps)?;
    let inside = PathBuf::from(format!("/proc/{pid}/root{path}"));
    let inode = maps.lines().find(|line| line.ends_with(path)).and_then(|line| line.split_whitespace().nth(4));
    let inode: Option<u64> = inode.and_then(|inode| inode.parse().ok());
    let is_it = |path: &PathBuf| {
        openat::open(path, false).and_then(|file| file.metadata()).is_ok_and(|meta| Some(meta.ino()) == inode)
    };
    let here = Some(PathBuf::from(path)).filter(|here| !is_it(&inside) && is_it(here));
    Some(here.unwrap_or(inside))
}

/// What a process has mapped. One whose main thread has ended shows no maps, its other threads do.
pub(crate) fn maps(pid: u32) -> std::io::Result<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    if !maps.is_empty() {
        return Ok(maps);
    }
    let threads = files(Path::new(&format!("/proc/{pid}/task")));
    let of = |path: &PathBuf| fs::read_to_string(format!("/proc/{pid}/task/{}/maps", file_name(path).display())).ok();
    Ok(threads.iter().filter_map(of).find(|maps| !maps.is_empty()).unwrap_or_default())
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
        let name = Identity { prefix: home.join("x"), pid: u32::MAX, token: 0xfeed };
        fs::write(name.mirror(), "").unwrap();
        let found = of_process(u32::MAX, std::slice::from_ref(&home)).unwrap();
        assert_eq!((found.token, found.state, &found.path), (0xfeed, Liveness::Dead, &name.mirror()));
        assert_eq!((found.owner, region_of(&name.mirror())), (open::reader(), None));
        assert_eq!(claim(&found).unwrap().life(), Some(name.clone()));
        let lock = File::open(name.mirror()).unwrap();
        assert!(lock::take(&lock) && of_file(&name.mirror()).is_alive());
        fs::remove_dir_all(home).unwrap();
    }
}
