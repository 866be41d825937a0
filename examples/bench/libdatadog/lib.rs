//! libdatadog's heap sampler as a library to preload: a sample every 128 KiB, frees recorded. The sampler only fires
//! probes; an eBPF profiler that is attached to them takes the stacks.

extern "C" fn begin() {
    libdd_profiling_heap_gotter::set_default_sampling_distance(1 << 17);
    if !libdd_profiling_heap_gotter::install_heap_overrides() {
        std::process::abort();
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = begin;
