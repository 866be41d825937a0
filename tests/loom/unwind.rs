//! The cache of unwind rules: the pair of words that an entry is.

#[path = "../../src/tap/unwind/pair.rs"]
mod pair;

#[path = "unwind_models.rs"]
mod models;
