//! The walker's cache, of one set each.

#[path = "../../src/tap/jvm/cache.rs"]
mod cache;
#[path = "jvm_models.rs"]
mod models;

/// One set of each table: all keys meet in it.
pub(crate) mod cache_size {
    pub(crate) const METHOD_SETS: usize = 1;
    pub(crate) const FRAME_SETS: usize = 1;
}

/// Words that stay: a few for each run of a model.
pub(crate) mod memory {
    use loom::sync::atomic::AtomicU64;

    pub(crate) fn lasting_words(count: usize) -> Option<&'static [AtomicU64]> {
        Some((0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak())
    }
}
