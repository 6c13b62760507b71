"""What tests of graphs use: `MemoryRunner` runs one in this process's memory, without Temporal."""

from stepgraph.testing.memory_runner import MemoryRunner

__all__ = ["MemoryRunner"]
