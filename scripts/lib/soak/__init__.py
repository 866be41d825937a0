"""A soak: programs that do all that is hard for a profiler, again and again, with and without the tap; what differs is counted.

The data's way: builds (compile the storms) and machines (which Java VMs there are) -> cells (what to run, in which
order) -> life (one process, to its end or its deadline) -> judge (crash, hang, difference?) -> table.
The storms are in tests/soak and, native ones, in tests/host. Only Python's standard library.
"""
