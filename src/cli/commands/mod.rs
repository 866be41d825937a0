//! Floor 6 of the CLI: one file per command. A command opens its input, asks the floors below and
//! writes one result to stdout; talk goes to stderr.

mod after_gc;
pub(crate) mod callers;
pub(crate) mod completions;
pub(crate) mod control;
pub(crate) mod convert;
pub(crate) mod diff;
mod filters;
pub(crate) mod flame;
pub(crate) mod growth;
pub(crate) mod info;
mod inputs;
pub(crate) mod leaks;
pub(crate) mod man;
mod naming;
mod output;
pub(crate) mod pack;
mod pager;
pub(crate) mod ps;
pub(crate) mod recover;
pub(crate) mod report;
pub(crate) mod rss;
pub(crate) mod run;
mod shell;
pub(crate) mod status;
pub(crate) mod symbols;
mod terminal;
pub(crate) mod top;
pub(crate) mod tree;
mod view;
