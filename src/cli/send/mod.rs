//! What leaves the machine: profiles on their way into the engines that people run (Pyroscope, Parca, a Collector).
//!
//! The one floor that opens a connection, only outward, and only when it is told to. A payload knows no engine: it
//! waits in the spool as pprof with its labels, and becomes a request when it is sent. A payload is sent once: again
//! only where the server said that it did not take it, or cannot have the whole of it.

mod authority;
pub(crate) mod client;
pub(crate) mod credentials;
pub(crate) mod cursor;
pub(crate) mod engine;
pub(crate) mod labels;
mod otlp;
pub(crate) mod payload;
pub(crate) mod spool;
