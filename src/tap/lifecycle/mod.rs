//! Floor 6: the life of the process: its first call, fork, and its end.

#[cfg(not(test))]
mod exec;
pub(crate) mod exit;
mod first_call;
mod fork;
mod leak;
#[cfg(not(test))]
mod rival;
pub(crate) mod sandbox;
#[cfg(not(test))]
mod sibling;
mod signal;

pub(crate) use first_call::ensure_started;

/// Runs when the loader initialises this library. Nothing relies on it but what needs an initialised
/// libc: handlers for the end of the process and for fork.
#[cfg(not(test))]
extern "C" fn constructor() {
    ensure_started();
    // jemalloc registers its fork handlers when it boots; ours must be registered after them.
    super::backend::boot();
    fork::register();
    exit::register();
    rival::yield_to();
    exec::leave_children_alone();
    signal::register();
    sibling::silence();
}

#[cfg(not(test))]
#[used]
#[unsafe(link_section = ".init_array")]
#[allow(unsafe_code)]
static CONSTRUCTOR: extern "C" fn() = constructor;

#[cfg(not(test))]
#[used]
#[unsafe(link_section = ".fini_array")]
#[allow(unsafe_code)]
static DESTRUCTOR: extern "C" fn() = sibling::hush;
