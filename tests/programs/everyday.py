"""Everyday Python: containers, text, threads, compression, subprocesses, fork: the same output each time."""
import collections
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import zlib

words = [f"word{i * i % 997}" for i in range(20_000)]
print(collections.Counter(words).most_common(3))

document = {"rows": [{"id": i, "name": f"n{i}", "tags": ["x"] * (i % 7)} for i in range(3_000)]}
text = json.dumps(document)
assert json.loads(text) == document
packed = zlib.compress(text.encode(), 9)
print(len(text), hashlib.sha256(zlib.decompress(packed)).hexdigest())
print(len(re.findall(r'"n\d*7"', text)))

sums = [0] * 4


def fill(slot: int) -> None:
    buffers = [bytearray(1 + (i * 131) % 5_000) for i in range(4_000)]
    sums[slot] = sum(map(len, buffers))


threads = [threading.Thread(target=fill, args=(i,)) for i in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sums)

print(subprocess.run(["sh", "-c", "echo child; exit 5"], stdout=subprocess.PIPE, text=True))
sys.stdout.flush()
pid = os.fork()
if pid == 0:
    print("forked", len([object() for _ in range(50_000)]), flush=True)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print("to stderr", file=sys.stderr)
