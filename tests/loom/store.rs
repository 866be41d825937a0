//! The tap's store, with memory that loom watches.

#[path = "../../src/tap/store/chunks.rs"]
pub(crate) mod chunks;
#[path = "entries.rs"]
pub(crate) mod entries;
#[path = "../../src/tap/store/index.rs"]
pub(crate) mod index;
#[path = "../../src/tap/store/methods.rs"]
pub(crate) mod methods;
#[path = "../../src/tap/store/publication.rs"]
pub(crate) mod publication;
#[path = "queue.rs"]
pub(crate) mod queue;
#[path = "region.rs"]
pub(crate) mod region;
#[path = "../../src/tap/store/slots.rs"]
pub(crate) mod slots;
#[path = "../../src/tap/store/stacks.rs"]
pub(crate) mod stacks;
