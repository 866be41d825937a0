//! Where the resident memory of a process is: classes that sum up to it.
//!
//! The kernel says of each mapping what is resident and how it was made (`/proc/<pid>/smaps`), but not for whom. The
//! keeper and the CLI read that text by one code: [`areas::Areas`] are the mappings, [`known::Known`] is what the
//! process says of itself (the Java VM's ranges, what the allocator has), [`sums::Sums`] are the classes.
//! Nothing here reads a file.

pub(crate) mod areas;
pub(crate) mod class;
pub(crate) mod known;
pub(crate) mod sums;
