"""Layouts of HotSpot by build id, read from the tables that a running libjvm.so exports about itself.

They have to be read while it runs: most offsets are filled in by the library's constructors. The result is
src/tap/jvm/layouts.txt, which the tap asks where a libjvm exports no tables.
"""
