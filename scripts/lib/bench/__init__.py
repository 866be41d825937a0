"""Benchmarks: what heaptap costs, beside its peers and over a floor, which is the same jemalloc without profiling.

The data's way: peers (what to preload) x workloads (what to run) -> instructions (callgrind, exact), rounds (CPU time,
interleaved) and figures (resident set, stalls, one sample's cost) -> raw JSON -> table.
Only Python's standard library; peers come from apt, Maven Central and the jemalloc source that cargo has fetched.
"""
