//! The life of the process: its first call, fork, and its end.

pub(crate) mod credentials;
#[cfg(not(test))]
mod exec;
pub(crate) mod exit;
mod first_call;
#[cfg(not(test))]
mod foreign_malloc;
mod fork;
mod leak;
#[cfg(not(test))]
mod linked_jemalloc;
pub(crate) mod mapping_calls;
pub(crate) mod new_image;
#[cfg(not(test))]
mod next_allocator;
pub(crate) mod sandbox;
mod signal;

pub(crate) use first_call::{ensure_started, is_starting};

/// Runs when the loader initialises this library. Nothing relies on it but what needs an initialised
/// libc: handlers for the end of the process and for fork.
#[cfg(not(test))]
extern "C" fn constructor() {
    first_call::start();
    // jemalloc registers its fork handlers when it boots; ours must be registered after them.
    super::backend::boot();
    crate::tap::os::find_libcs();
    new_image::find_all();
    mapping_calls::find_all();
    fork::register();
    exit::register();
    super::keeper::register();
    foreign_malloc::yield_to();
    exec::leave_children_alone();
    signal::register();
    find_objects();
    linked_jemalloc::silence();
}

/// The first samples come before the keeper looks at the mappings.
#[cfg(not(test))]
fn find_objects() {
    let is_profiled = super::profiler::PROFILER.settings().is_some_and(|settings| settings.options.prof);
    if is_profiled && !super::unwind::loader_finds_objects() {
        super::errand::Errand::run(super::dump::tell_unwinder);
    }
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
static DESTRUCTOR: extern "C" fn() = linked_jemalloc::hush;
