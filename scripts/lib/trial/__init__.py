"""Trials: a real JVM server under a preloaded profiler, with a load, a leak of known size, and checks.

The data's way: products (what to run) -> run (start, load, stop) -> dumps and jeprof (what it left)
-> checks (is it right?). `quickstart` shows one server at length, `servers` many in a table.
Only Python's standard library; nothing is fetched but through mvn; only loopback is used.
"""
