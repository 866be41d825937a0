"""JSON back and forth: churn.py ROUNDS (run with PYTHONMALLOC=malloc, so that each object is a malloc)."""
import json
import sys

DOCUMENT = {"rows": [{"number": n, "name": f"name {n}", "words": [str(n * k) for k in range(8)]} for n in range(200)]}

for _ in range(int(sys.argv[1])):
    DOCUMENT = json.loads(json.dumps(DOCUMENT))
