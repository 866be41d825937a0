//! Packs and heap dumps.

#[path = "../../src/cli/attach/hprof/mod.rs"]
pub(crate) mod hprof;
#[path = "../../src/cli/attach/pack.rs"]
pub(crate) mod pack;
#[path = "../../src/cli/attach/tar.rs"]
pub(crate) mod tar;
#[path = "../../src/cli/attach/redacted_dump.rs"]
pub(crate) mod redacted_dump;
#[path = "../../src/cli/attach/redaction.rs"]
pub(crate) mod redaction;
