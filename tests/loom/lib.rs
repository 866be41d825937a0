//! Models of the lock-free protocols of the store and of the caches: loom runs them under every order that the memory
//! model allows, with at most a few preemptions. The protocols are the tap's own files; only memory and atomics are
//! loom's.
//!
//! ```text
//! cargo test --manifest-path tests/loom/Cargo.toml
//! ```
#![cfg(test)]
#![allow(dead_code)]

#[path = "../../src/wire/mod.rs"]
mod wire;

mod models;
mod queue_models;
mod tap;
