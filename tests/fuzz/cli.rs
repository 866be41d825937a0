//! The rooms of the CLI that read files, by their own paths.

#[path = "cli_attach.rs"]
pub(crate) mod attach;
#[path = "../../src/cli/open.rs"]
pub(crate) mod open;
#[path = "../../src/cli/profile/mod.rs"]
pub(crate) mod profile;
#[path = "cli_symbolize.rs"]
pub(crate) mod symbolize;
