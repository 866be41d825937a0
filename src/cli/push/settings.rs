//! What an agent is told.

use crate::cli::send::client::Target;
use crate::cli::send::labels::Label;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What an agent is told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where profiles go; `None`: metrics only.
    pub(crate) target: Option<Target>,
    /// Folders of dumps.
    pub(crate) folders: Vec<PathBuf>,
    /// How often each life is read.
    pub(crate) every: Duration,
    /// Where spool and cursor lie.
    pub(crate) state: PathBuf,
    /// What the spool may hold.
    pub(crate) spool_bytes: u64,
    /// The oldest profile that is sent.
    pub(crate) most_age: Duration,
    /// Labels of each profile.
    pub(crate) labels: Vec<Label>,
    /// Whether processes are left alone.
    pub(crate) dumps_only: bool,
    /// Also lives that are not worth a dump.
    pub(crate) all: bool,
    /// One round, and what can be sent of it.
    pub(crate) once: bool,
    /// Where metrics are served.
    pub(crate) metrics: Option<SocketAddr>,
    /// Places that are named in them, a life.
    pub(crate) places: usize,
}
