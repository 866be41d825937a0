"""Servers as people run them, under the user's own string: one small table of what held and what did not.

`server` is what all of them share, `native` and `java` know each one's usual way, `client` puts the load on them,
`examine` asks heaptap about a running one and looks at what it left; `main` prints the table. Only loopback is used,
one server runs at a time, and what is started is ended by its pid.
"""
