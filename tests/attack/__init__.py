"""Attacks on every public entry, with one oracle for all.

A `Program` (`programs.py`) is a thread in some situation, and the calls that then reach it. `values.py` and
`strategies.py` draw calls that no well-meaning user makes; `calls.py` makes them; `oracle.py` says what must hold of
each call and of the thread afterwards. There is a test module for each kind of entry. `found.py` has the programs that
have once shown a fault.

`make attack ATTACK=500` runs 500 random programs for each kind; the test suite runs a few, the same ones every time.
"""
