//! The part of the tap that the models run.

#[path = "../../src/tap/code_address.rs"]
pub(crate) mod code_address;
#[path = "../../src/tap/hash.rs"]
pub(crate) mod hash;
#[path = "jvm.rs"]
pub(crate) mod jvm;
#[path = "os.rs"]
pub(crate) mod os;
#[path = "../../src/tap/stack.rs"]
pub(crate) mod stack;
#[path = "store.rs"]
pub(crate) mod store;
#[path = "unwind.rs"]
pub(crate) mod unwind;
