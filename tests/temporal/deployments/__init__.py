"""Deployments against live threads: the cells of the table in ``docs/deployments.md``.

A `Change` (`changes`) is one line of the table: two versions of a graph's code, and what becomes of a thread in each
state when workers of the second version take over. `Deployment` (`deployment`) makes all changes of a test module
together: one worker of the first version, then one of the second, then one of mended code. `Trial` (`trial`) is one
thread in it.
"""
