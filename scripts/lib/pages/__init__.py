"""Pages of heaptap, memray and async-profiler side by side.

`main` runs the leaks and makes the pages, `leak.py` and `Leak.java` are the leaks, `look.js` opens each page in a browser: its size,
how long it takes, what it asks the network for, and a picture.
"""
