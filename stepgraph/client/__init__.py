"""Clients of threads: start and resume them, read their state and history. Needs a graph's name, never its code."""

from stepgraph.client.graph_client import GraphClient
from stepgraph.client.graph_run import GraphRun

__all__ = ["GraphClient", "GraphRun"]
