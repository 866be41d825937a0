//! The rooms of the tap that read foreign memory, by their own paths.

#[path = "../../src/tap/code_address.rs"]
pub(crate) mod code_address;
#[path = "../../src/tap/hash.rs"]
pub(crate) mod hash;
#[path = "tap_jvm.rs"]
pub(crate) mod jvm;
#[path = "tap_os.rs"]
pub(crate) mod os;
#[path = "../../src/tap/stack.rs"]
pub(crate) mod stack;
#[path = "tap_unwind.rs"]
pub(crate) mod unwind;
