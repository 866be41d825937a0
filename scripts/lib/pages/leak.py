"""Leaks compressors: python3 leak.py SECONDS. Each second a megabyte is kept, and twenty come and go."""
import sys
import time
import zlib

kept = []


def forget() -> None:
    """A compressor that is never ended: 256 KiB of zlib's memory."""
    kept.append(zlib.compressobj())


def work() -> None:
    """One that is."""
    zlib.compressobj().compress(b"x" * 1000)


for _ in range(int(sys.argv[1]) * 10):
    forget()
    for _ in range(8):
        work()
    time.sleep(0.1)
