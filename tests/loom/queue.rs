//! The queue of mappings' events, with as many words as it asks for.

#[path = "cells.rs"]
mod entries;
#[path = "../../src/tap/store/event_queue.rs"]
pub(crate) mod event_queue;
