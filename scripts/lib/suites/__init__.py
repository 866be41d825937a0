"""Other people's test suites, run plainly and under the tap: what passes plainly must pass under it.

`packages` fetches them from Debian, into the cache and never into the tree; `cpython` and `glibc` know how one is run;
`main` compares and prints. Only Python's standard library.
"""
