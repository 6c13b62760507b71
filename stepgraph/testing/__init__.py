"""Runs graphs in memory, without Temporal, for tests of graphs.

Owns the runner and the threads that it holds. Refuses to know Temporal: what a graph means comes from
`stepgraph.engine` and `stepgraph.execution`, which run it on Temporal, too. Nothing is durable here.

Read first: `memory_runner` (the methods of a graph), then `memory_run` (the loop over super-steps).
"""

from stepgraph.testing.memory_runner import MemoryRunner

__all__ = ["MemoryRunner"]
