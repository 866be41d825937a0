//! libdatadog's heap sampler as a library to preload: a sample every 128 KiB, frees recorded. It takes no stacks:
//! whoever listens to its probes does.

extern "C" fn begin() {
    libdd_profiling_heap_gotter::set_default_sampling_distance(1 << 17);
    if !libdd_profiling_heap_gotter::install_heap_overrides() {
        std::process::abort();
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = begin;
