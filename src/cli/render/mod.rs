//! Answers as bytes. One trait, one file per format.

pub(crate) mod base64;
pub(crate) mod callers;
pub(crate) mod collected;

pub(crate) mod document;
pub(crate) mod exposition;
pub(crate) mod fleet;
pub(crate) mod folded;
pub(crate) mod growth;
pub(crate) mod headline;
pub(crate) mod history;
pub(crate) mod holders;
pub(crate) mod info;
pub(crate) mod json;
mod kept;
pub(crate) mod layout;
pub(crate) mod leaks;
mod mapped;
pub(crate) mod markdown;
pub(crate) mod page;
pub(crate) mod parquet;
pub(crate) mod plot;
pub(crate) mod pprof;
pub(crate) mod profile_json;
pub(crate) mod protobuf;
pub(crate) mod refusals;
mod renderer;
pub(crate) mod rss;
pub(crate) mod sampling;
pub(crate) mod sentences;
pub(crate) mod speedscope;
pub(crate) mod svg;
pub(crate) mod symbols;
pub(crate) mod termination;
pub(crate) mod text;
pub(crate) mod top;
pub(crate) mod tree;
pub(crate) mod units;
pub(crate) mod watch;
pub(crate) mod words;

pub(crate) use renderer::Renderer;
