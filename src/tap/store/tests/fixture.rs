//! What tests of the store, and of what stands on it, begin with.

use crate::tap::stack::StackTrace;
use crate::tap::store::{Origin, Region, Sampled, Store};
use crate::wire::stack_end::StackEnd;

/// An empty store in memory, with so many bytes and a period of 1024.
pub(crate) fn store(bytes: usize) -> Store {
    let origin = Origin { pid: 7, token: 8, wall_ns: 9, monotonic_ns: 10, period: 1024, pid_namespace: 0 };
    Store::new(Region::anonymous(bytes, &origin).unwrap(), false).unwrap()
}

/// A stack of these frames that was walked to its root.
pub(crate) fn trace(pcs: impl IntoIterator<Item = u64>) -> StackTrace {
    let mut trace = StackTrace::new(512);
    pcs.into_iter().for_each(|pc| assert!(trace.push(pc)));
    trace.set_end(StackEnd::Root);
    trace
}

/// A sample that stands for 1000 bytes.
pub(crate) fn sampled(address: u64) -> Sampled {
    Sampled { address, usable: 112, requested: 100, birth_ns: 5, weight_bytes: 1000, period: 1024 }
}
